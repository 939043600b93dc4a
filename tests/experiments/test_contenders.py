"""Several runs and controllers on one scenario: how they are named, paired and written."""

import csv
import json
import shutil

import numpy as np
import pytest
from trained_runs import NAME, trained
from typer.testing import CliRunner

from dss_marl import load_scenario
from dss_marl.cli.app import app
from dss_marl.experiments.contenders import found_contenders, paired_differences
from dss_marl.experiments.evaluation import ComparisonTable

pytest.importorskip("stable_baselines3")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds, and a copy of the first in a folder of the same name."""
    place = tmp_path_factory.mktemp("runs")
    one, two = trained(place / "one", 0), trained(place / "two", 1)
    return one, two, shutil.copytree(one, place / "old" / "one")


def evaluated(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "160", "NO_COLOR": "1"})


def test_runs_and_controllers_play_the_same_days_in_pairs(runs, tmp_path):
    result = evaluated(runs[0], "no_control", runs[1], NAME, "--episodes", 2, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert f"{NAME}: 2 test days" in text and "minus that of one on the same days" in text
    assert not (runs[0] / "table.md").exists()  # a table of several belongs to none of them
    rows = list(csv.DictReader((tmp_path / "days.csv").open()))
    assert [(row["controller"], row["day"]) for row in rows] == [
        ("one", "4"), ("one", "13"), ("no_control", "4"), ("no_control", "13"), ("two", "4"), ("two", "13"),
    ]  # fmt: skip
    returns = np.array([float(row["team_return"]) for row in rows]).reshape(3, 2)
    paired = list(csv.DictReader((tmp_path / "paired.csv").open()))
    assert [row["controller"] for row in paired] == ["no_control", "two"]
    assert float(paired[0]["difference"]) == pytest.approx((returns[1] - returns[0]).mean(), rel=1e-5)

    data = json.loads((tmp_path / "marl_eval.json").read_text())["dss_marl"][NAME]
    assert {name: list(own) for name, own in data.items()} == {"one": ["seed_0", "seed_1"], "no_control": ["run_0"]}
    learned = data["one"]["seed_1"]
    assert learned["step_0"]["step_count"] == 24 and data["no_control"]["run_0"]["step_0"]["step_count"] == 0
    assert learned["absolute_metrics"]["return"] == pytest.approx(returns[2].tolist(), rel=1e-5)


def test_the_scenario_is_that_of_the_first_run_if_none_is_named(runs):
    scenario, found, remarks = found_contenders([str(runs[0]), str(runs[2]), "droop"])
    assert scenario.name == NAME and scenario.training["n_envs"] == 1
    assert [one.name for one in found] == [f"{runs[0].parent.name}/one", "old/one", "droop"]  # no two alike
    assert not [text for text in remarks if "another scenario" in text or "other days" in text]


def test_a_run_of_another_scenario_is_remarked(runs):
    _, _, remarks = found_contenders([str(runs[0]), "ieee13_legacy"])
    assert any("one was trained on another scenario than 'ieee13_legacy': " in text for text in remarks)
    assert any("on other days than those of 'ieee13_legacy'" in text for text in remarks)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["droop", "no_control"], "name a scenario too"),
        ([NAME, "ieee34_volt_var", "droop"], "evaluate plays one scenario; got ieee13_volt_var, ieee34_volt_var"),
        ([NAME, "nope"], "'nope' is neither a run .* nor a scenario; as a controller: unknown controller 'nope'"),
        (["policy:nope", NAME], "unknown policy 'nope'"),
        ([NAME, "nope:Rule"], "there is no module 'nope'"),
    ],
)
def test_what_a_name_means_is_said_where_it_means_nothing(names, says):
    with pytest.raises(ValueError, match=says):
        found_contenders(names)


def test_options_that_do_not_go_with_several_are_refused(runs):
    for options, says in (
        (["--set", "steps=4"], "--set changes a scenario that is evaluated alone"),
        (["--controllers", "all"], "compared by their names"),
        (["--against", "greedy"], "--against greedy: not among the compared: no_control, droop"),
    ):
        result = evaluated(NAME, "no_control", "droop", *options)
        assert result.exit_code == 2 and says in " ".join(result.output.split()), result.output
    assert "--against pairs several" in " ".join(evaluated(NAME, "--against", "droop").output.split())


def test_differences_are_of_pairs():
    """Days that differ much, and two controllers that differ little: the pairs say so, the intervals alone do not."""
    base = [-1.0, -50.0, -200.0, -3.0, -20.0, -7.0]
    table = ComparisonTable(
        "x", "test", tuple(range(6)),
        {"a": [{"team_return": x} for x in base], "b": [{"team_return": x + 0.1} for x in base],
         "c": [{"team_return": x + (0.1 if k % 2 else -0.1)} for k, x in enumerate(base)]},
    )  # fmt: skip
    better, unclear = paired_differences(table, "a")
    assert (better.better, better.worse, better.verdict) == (6, 0, "better") and better.difference[0] == pytest.approx(
        0.1
    )
    assert (unclear.better, unclear.worse, unclear.verdict) == (3, 3, "no clear difference")
    with pytest.raises(ValueError, match="'d' is not among the compared: a, b, c"):
        paired_differences(table, "d")


def test_one_day_of_several_is_written_with_its_series(runs, tmp_path):
    result = evaluated(runs[0], "no_control", NAME, "--day", 4, "--series", tmp_path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "one" / "voltages.csv").is_file() and (tmp_path / "no_control" / "actions.csv").is_file()
    assert load_scenario(NAME).name in result.output

"""Reports: their numbers are those of the evaluation, names are data, and the page holds all that it shows."""

import importlib.util
import json
import re
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("plotly")

from report_cases import HOSTILE, figure, hostile, read_page, tiny, trained
from typer.testing import CliRunner

import dss_marl
from dss_marl.cli.app import app
from dss_marl.envs.task import build_task
from dss_marl.experiments import compare, evaluate, load_policy, load_run
from dss_marl.experiments.evaluation import ComparisonTable, environment_for, run_day
from dss_marl.experiments.reports.html import write_report
from dss_marl.experiments.reports.html.comparison_rows import comparison
from dss_marl.experiments.reports.html.plays import chosen_days, play
from dss_marl.experiments.reports.html.results import collect
from dss_marl.experiments.reports.html.runs import load_runs, seeds_of
from dss_marl.experiments.reports.html.statistics import interquartile_mean, verdict_of
from dss_marl.experiments.reports.html.terms import zone_terms
from dss_marl.experiments.reports.html.text import number, shortened, with_interval
from dss_marl.experiments.reports.html.verdict import remarks
from dss_marl.experiments.reports.html.where import quantities, slots_of, worst_buses
from dss_marl.mdp.return_statistics import mean_interval

HTML = "dss_marl.experiments.reports.html"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of one scenario, the first evaluated."""
    folder = tmp_path_factory.mktemp("runs")
    folders = [trained(tiny(), folder / f"seed_{seed}", seed) for seed in (0, 1)]
    compare(folders[0], ["no_control", "opendss_controls"], most_days=4)
    return folders


@pytest.fixture
def run(runs, tmp_path):
    """A copy of the evaluated run."""
    return Path(shutil.copytree(runs[0], tmp_path / "run"))


@pytest.fixture(scope="module")
def report(runs):
    """The page of the evaluated run."""
    path = write_report(runs[0], runs[0].parent / "report.html", 3, ["no_control"], stress=True)
    return read_page(path)


class BrokenController:
    """A controller that fails at its second step."""

    circuit_controls = False

    def reset(self, env):
        pass

    def act(self, env, observations):
        if env.now.step:
            raise RuntimeError("my own defect")
        return env.task.encoding.encode(env.task.default_action)


# --- numbers --------------------------------------------------------------------------------------------------------


def test_the_table_has_the_figures_of_an_evaluation(runs):
    loaded = load_runs([runs[0]])
    results = collect(loaded, ["no_control"], 3)
    assert len(results.table.days) == 4 and results.replaced == ()  # the saved ones
    scenario, days = loaded[0].scenario, results.table.days
    for name, controller in (("learned", load_policy(runs[0])), ("no_control", results.references["no_control"])):
        assert results.table.figures[name] == evaluate(controller, scenario, days)
    heads, rows = comparison(results, loaded)
    own = {row.name: row for row in rows}["learned"]
    losses = own.cells[[head.name for head in heads].index("losses")]
    mean, low, high = mean_interval(results.table.column("learned", "loss_kwh"))
    assert losses.value == pytest.approx(mean)
    assert f"{losses.text} ({losses.ends})" == with_interval(mean, low, high)


def test_the_page_prints_the_numbers_of_the_table(report, runs):
    saved = json.loads((runs[0] / "table.json").read_text())
    mean, *ends = mean_interval([row["team_return"] for row in saved["figures"]["learned"]])
    cells = [float(own["data-value"]) for tag, own in report.tags if tag == "td" and own.get("data-value")]
    assert any(np.isclose(cell, mean, atol=1e-8) for cell in cells)
    assert f"returns {with_interval(mean, *ends)} a day" in " ".join(report.text)


def test_a_saved_table_that_no_longer_holds_is_played_again(run):
    path = run / "table.json"
    table = json.loads(path.read_text())
    true = table["figures"]["learned"][0]["team_return"]
    for row in table["figures"]["learned"]:
        row["team_return"] += 1
    path.write_text(json.dumps(table))
    loaded = load_runs([run])
    results = collect(loaded, ["no_control"], 3)
    assert results.replaced == ("learned",)
    assert results.table.column("learned", "team_return")[0] == pytest.approx(true)
    assert any("did not hold for learned" in remark.text for remark in remarks(results, loaded))
    path.write_text("[1]")  # of no version
    assert collect(load_runs([run]), ["no_control"], 2).replaced == ()


def test_reward_terms_by_zone_add_up_to_the_return(runs):
    scenario = load_runs([runs[0]])[0].scenario
    task, controllers = build_task(scenario), {"learned": load_policy(runs[0])}
    plays, failed = play(scenario, controllers, "test", [4, 184], lambda items, what: items)
    assert not failed
    terms = zone_terms("rewards", plays["learned"], list(task.rewards))
    returns = [plays["learned"][day].figures[0]["team_return"] for day in (4, 184)]
    np.testing.assert_allclose(terms.values.sum((1, 2)), returns, rtol=1e-9)
    assert terms.zones == tuple(zone.name for zone in task.zones)


def test_hours_outside_are_those_of_the_states():
    scenario = dss_marl.load_scenario("ieee34_volt_var").replace(steps=12, start_hour=10.0, dt_h=0.5)
    task = build_task(scenario)
    env = environment_for(dss_marl.controllers.NoControl(), scenario, "test")
    scored = set(np.concatenate([zone.scored_nodes for zone in task.zones]).tolist())
    wanted = np.zeros((6, len(task.feeder.buses)))

    def watch(state):
        out = {
            task.feeder.node_bus[node]
            for node in np.flatnonzero(state.solution.excursion(task.band) > 0)
            if node in scored
        }
        wanted[int(state.hour) - 10, list(out)] += 0.5 / 2

    for day in (157, 364):
        run_day(env, dss_marl.controllers.NoControl(), day, watch)
    env.close()
    controllers = {"no_control": dss_marl.controllers.NoControl()}
    plays, _ = play(scenario, controllers, "test", [157, 364], lambda items, what: items)
    found = quantities(task, plays)
    times = found[0].times["no_control"]
    assert wanted.sum() > 1
    np.testing.assert_allclose(np.nan_to_num(times.by_slot), wanted)
    np.testing.assert_allclose(np.nan_to_num(times.in_all), wanted.sum(0))
    assert slots_of(task)[0].tolist() == [10, 11, 12, 13, 14, 15]
    worst = worst_buses(found[0], "no_control")
    assert len(worst) == 10 and times.in_all[worst[0]] == wanted.sum(0).max()
    source = task.feeder.bus_index[task.feeder.source_bus]
    assert np.isnan(times.in_all[source])  # not scored


def test_errors_of_estimates_are_those_of_the_figures():
    scenario = dss_marl.load_scenario("ieee123_state_estimation").replace(steps=4, start_hour=10.0)
    task = build_task(scenario)
    controllers = {"no_control": dss_marl.controllers.NoControl()}
    plays, _ = play(scenario, controllers, "test", [4], lambda items, what: items)
    recording = plays["no_control"][4]
    off = recording["estimate_errors"].values
    assert np.sqrt(np.mean(off**2)) == pytest.approx(recording.figures[0]["estimation_error_pu"])
    assert quantities(task, plays)[0].key == "error"


def test_the_three_days_are_the_worst_the_median_and_the_best():
    figures = {"learned": [{"team_return": value} for value in (-5.0, -1.0, -9.0, -2.0, -3.0)]}
    table = ComparisonTable("x", "test", (4, 13, 22, 31, 40), figures)
    chosen = chosen_days(table, "learned", 4)
    assert (chosen.worst, chosen.median, chosen.best) == (22, 40, 13)
    assert len(chosen.every) == 4 and {22, 40, 13} < set(chosen.every)
    assert len(chosen_days(table, "learned", 1).every) == 3


def test_interquartile_means_leave_out_the_ends():
    assert interquartile_mean([-3.68, -3.48, -3.93, -4.02, -3.73])[0] == pytest.approx(-(3.68 + 3.93 + 3.73) / 3)
    mean, low, high = interquartile_mean([1.0, 2.0])
    assert (mean, low, high) == (1.5, 1.0, 2.0)
    assert interquartile_mean([2.0])[1:] == (2.0, 2.0)
    assert [verdict_of(ends) for ends in ((2, 1, 3), (-2, -3, -1), (0, -1, 1))] == [
        "better", "worse", "no clear difference"
    ]  # fmt: skip


def test_numbers_read_well():
    assert number(-1234.5) == "\N{MINUS SIGN}1,234" and number(0.0) == "0" and number(float("nan")) == ""
    assert number(-0.00001) == "0.0000" and number(12.345) == "12.3"
    assert with_interval(-3.6789, -4.1, -3.3) == "\N{MINUS SIGN}3.68 (\N{MINUS SIGN}4.10 to \N{MINUS SIGN}3.30)"
    assert shortened("inverter_of_a_long_name_7", 12) == "invert…ame_7"


# --- several runs ---------------------------------------------------------------------------------------------------


def test_seeds_get_a_row_and_variants_are_told_apart(runs, tmp_path):
    rewards = {**tiny().rewards, "loss": 2 * tiny().rewards["loss"]}
    other = trained(tiny(rewards=rewards), tmp_path / "variant")
    loaded = load_runs([*runs, other])
    assert [[run.label for run in group] for group in seeds_of(loaded)] == [["seed_0", "seed_1"], ["variant"]]
    results = collect(loaded, ["no_control"], 2)
    _, rows = comparison(results, loaded)
    seeds = [row for row in rows if row.kind == "seeds"]
    assert len(seeds) == 1 and seeds[0].name == "2 seeds: seed_0 and seed_1"
    returns = [results.table.column(name, "team_return").mean() for name in ("seed_0", "seed_1")]
    assert seeds[0].cells[0].value == pytest.approx(np.mean(returns))
    texts = [remark.text for remark in remarks(results, loaded)]
    assert any("different rewards" in text for text in texts)
    assert any("Only 2 test days" not in text and "test days were played" in text for text in texts)
    page = read_page(write_report([*runs, other], tmp_path / "three.html", 1, ["no_control"], stress=False))
    assert "seed_0" in " ".join(page.text) and "variant" in " ".join(page.text)


def test_runs_without_common_days_are_refused(runs, tmp_path):
    other = trained(tiny(dt_h=0.5), tmp_path / "other")
    with pytest.raises(ValueError, match="have no days in common: dt_h of their scenarios differ"):
        load_runs([runs[0], other])
    with pytest.raises(ValueError, match="is given twice"):
        load_runs([runs[0], runs[0]])
    with pytest.raises(ValueError, match="is no run"):
        load_runs([tmp_path])
    with pytest.raises(ValueError, match="at least one run"):
        load_runs([])


def test_equal_policies_under_two_names_are_pointed_out(run, runs):
    loaded = load_runs([run, runs[0]])
    assert any("hold the same policy" in remark.text for remark in remarks(collect(loaded, [], 1), loaded))


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_reference_that_fails_is_told_of(run, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    name = f"{Path(__file__).stem}:BrokenController"
    text = " ".join(read_page(write_report(run, tmp_path / "r.html", 1, [name], stress=False)).text)
    assert f"{name} is left out, as it failed: my own defect." in text


def test_a_run_without_evaluation_is_played_on_some_days(runs, tmp_path):
    text = " ".join(read_page(write_report(runs[1], tmp_path / "r.html", 2, ["no_control"], stress=False)).text)
    assert "Only 2 of 41 test days were played" in text
    assert "so the policy kept is the untrained one" in text or load_run(runs[1]).improved
    assert "best_known" not in text or "No score" in text


def test_stale_plans_and_droop_are_warned_of(run):
    loaded = load_runs([run])
    texts = [remark.text for remark in remarks(collect(loaded, None, 2), loaded) if remark.level == "warning"]
    assert any("best_known is left out" in text and "before it was changed" in text for text in texts)
    assert any(text.startswith("Only 1 seed") for text in texts)


def test_arguments_are_checked_before_work(run, tmp_path):
    with pytest.raises(ValueError, match="at least one day"):
        write_report(run, tmp_path / "r.html", 0)
    with pytest.raises(ValueError, match=r"such as \['droop'\]"):
        write_report(run, tmp_path / "r.html", 1, "droop")
    with pytest.raises(ValueError, match="at most 3 references"):
        write_report(run, tmp_path / "r.html", 1, ["a", "b", "c", "d"])


# --- the page -------------------------------------------------------------------------------------------------------


def test_the_page_loads_nothing(report):
    places = [value for _, own in report.tags for key, value in own.items() if key in ("src", "href", "action", "data")]
    assert places and all(value.startswith("#") for value in places)
    assert not [tag for tag, _ in report.tags if tag in ("link", "iframe", "object", "embed", "img", "base")]
    policy = [own["content"] for tag, own in report.tags if own.get("http-equiv") == "Content-Security-Policy"]
    assert policy and policy[0].startswith("default-src 'none'")
    style = " ".join(report.text)
    assert "@import" not in style and "url(" not in style
    assert sum("plotly.js v" in code for code in report.scripts.values()) == 1  # once


def test_every_figure_and_section_is_there(report):
    drawn = {own["data-figure"] for _, own in report.tags if "data-figure" in own}
    assert drawn == {key[7:] for key in report.scripts if key.startswith("figure-")}
    assert {"learning", "map", "terms", "stress"} < drawn and sum(name.startswith("day-") for name in drawn) == 3
    ids = {own["id"] for tag, own in report.tags if tag == "section"}
    links = {own["href"][1:] for tag, own in report.tags if tag == "a"}
    assert ids == links and len(ids) == 8


def test_the_day_has_named_devices(report):
    name = next(key[7:] for key in report.scripts if key.startswith("figure-day-"))
    labels = [axis.get("ticktext", []) for key, axis in figure(report, name)["layout"].items() if "yaxis" in key]
    assert any(any(text.startswith("inverter_634") for text in own) for own in labels)


def test_names_are_data(tmp_path):
    run = trained(hostile(), tmp_path / "runs" / "<b>run & co")
    path = write_report(run, tmp_path / "r.html", 1, ["no_control"], stress=False)
    page = read_page(path)
    assert HOSTILE in page.text  # as text
    assert not [own for tag, own in page.tags if tag in ("img", "b") and own] and "onerror" not in str(page.tags)
    raw = path.read_text(encoding="utf-8")
    assert "<b>run" not in raw and HOSTILE not in raw
    drawn = json.dumps([figure(page, key[7:]) for key in page.scripts if key.startswith("figure-")], default=str)
    assert "pv&lt;b&gt;x&lt;/b&gt;&amp;lt;" in drawn and "pv<b>" not in drawn


def test_a_missing_library_is_named_with_its_cure(run, tmp_path, monkeypatch):
    for module in [name for name in sys.modules if name.startswith(HTML)]:
        monkeypatch.delitem(sys.modules, module)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "plotly" else found(name))
    result = CliRunner().invoke(app, ["report", str(run), "--out", str(tmp_path / "page.html")])
    assert result.exit_code == 2 and "a report needs plotly: pip install 'dss_marl[report]'" in result.output


def test_the_command_writes_the_page_and_replaces_no_other_file(run, tmp_path):
    out = tmp_path / "page.html"
    asked = ["report", str(run), "--out", str(out), "--days", "1", "--controllers", "no_control", "--no-stress"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0 and f"saved {out}" in result.output.replace("\n", ""), result.output
    text = " ".join(read_page(out).text)
    commands = re.search(r"dss-marl train .*", text)[0]
    assert commands.startswith("dss-marl train ieee13_volt_var.yaml --seed 0 --num-cpus 0 --out runs/")
    assert "--days 1 --controllers no_control --no-stress" in text
    out.write_text("my notes")
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2 and "is no page; it is not replaced" in re.sub(r"\s+", " ", result.output)
    assert out.read_text() == "my notes"


def test_the_wheel_contains_the_templates(tmp_path):
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder
    root = Path(dss_marl.__file__).parents[1]
    if not (root / "pyproject.toml").is_file():
        pytest.skip("not a checkout")
    wheel = next(builder(str(root)).build(directory=str(tmp_path), versions=["standard"]))
    names = set(zipfile.ZipFile(wheel).namelist())
    folder = "dss_marl/experiments/reports/html/templates"
    assert {f"{folder}/report.{suffix}" for suffix in ("html", "css", "js")} <= names

"""The picture of a day: which controllers play, what is drawn, and for a run as for a scenario."""

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("matplotlib")

import dss_marl
from dss_marl import plots
from dss_marl.cli.app import app
from dss_marl.controllers import reference
from dss_marl.experiments import day_picture
from dss_marl.experiments.day_picture import record_side_by_side, telling_controllers

SCENARIO = dss_marl.load_scenario("case33_volt_var").replace(steps=4)


def test_without_names_no_control_a_rule_and_the_reference_play_the_same_day():
    played = record_side_by_side(dss_marl.load_scenario("ieee13_microgrid"), day=166)
    assert [one.controller for one in played] == ["no_control", "rationing", "best_known"]
    demand = played[0]["kw_available"].values
    assert all(one.days == (166,) and np.array_equal(one["kw_available"].values, demand) for one in played)


def test_a_scenario_without_plans_still_has_a_picture(tmp_path):
    changed = SCENARIO.replace(name="nobody_planned")
    played = record_side_by_side(changed)
    assert [one.controller for one in played] == ["no_control", "tuned_droop"]
    assert played[0].days[0] in dss_marl.make(changed, split="test").days
    path = day_picture.picture(changed, tmp_path / "day.svg")
    assert b"<svg" in path.read_bytes()[:500]


def test_without_the_solver_of_plans_the_others_play(monkeypatch):
    def lacking(name, scenario):
        if name == "best_known":
            raise ImportError("clarabel is missing")
        return reference(name, scenario)

    monkeypatch.setattr("dss_marl.experiments.evaluation.reference", lacking)
    assert list(telling_controllers(SCENARIO, 184)) == ["no_control", "tuned_droop"]


def test_a_day_that_nobody_can_play_says_why():
    with pytest.raises(ValueError, match=r"'case33_volt_var', day 9999: .*9999"):
        telling_controllers(SCENARIO, 9999)


def test_what_does_the_same_is_drawn_once():
    bare = dss_marl.load_scenario("case33_reconfiguration").replace(steps=3, name="case33_bare")
    assert [one.controller for one in record_side_by_side(bare, day=4)] == ["no_control"]  # no taps to control


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_command_draws_chosen_controllers_in_each_format(tmp_path, ending, monkeypatch):
    drawn = []
    kept = plots.operation_figure
    monkeypatch.setattr(plots, "operation_figure", lambda recordings: drawn.append(recordings) or kept(recordings))
    out = tmp_path / f"day.{ending}"
    asked = ["picture", "ieee13_legacy", "--day", "4", "--controller", "no_control", "--controller", "random"]
    for _ in range(2):  # a picture is replaced
        result = CliRunner().invoke(app, [*asked, "--out", str(out)])
        assert result.exit_code == 0, result.output
    assert [one.controller for one in drawn[0]] == ["no_control", "random"] and drawn[0][0].days == (4,)
    assert out.read_bytes()[:4] in (b"\x89PNG", b"%PDF", b"<?xm")


def test_what_is_no_picture_is_not_replaced(tmp_path):
    mine = tmp_path / "day.svg"
    mine.write_text("<?xml version='1.0'?><gpx/>")
    result = CliRunner().invoke(app, ["picture", "ieee13_legacy", "--out", str(mine)])
    assert result.exit_code == 2 and "exists and is no picture" in result.output
    assert "gpx" in mine.read_text()


def test_learned_needs_a_run(tmp_path):
    asked = ["picture", "ieee13_legacy", "--controller", "learned", "--out", str(tmp_path / "day.png")]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code != 0 and "give a run's folder" in result.output


@pytest.mark.slow
def test_a_run_is_drawn_beside_the_references(tmp_path):
    pytest.importorskip("stable_baselines3")
    from dss_marl.experiments import train

    settings = {"agent_steps": 64, "evaluation_days": 1, "n_envs": 1}
    train(dss_marl.load_scenario("ieee13_microgrid").replace(training=settings), tmp_path / "run", 0, 0)
    played = record_side_by_side(tmp_path / "run", day=166)
    assert [one.controller for one in played] == ["learned", "rationing", "best_known"]

"""Returns that end with the day, and copies whose rollouts stay as they were given."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from common import ROOT

import dss_marl
from dss_marl.cli.arguments import sized
from dss_marl.envs.task import build_task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.shipped.learned_table import HEADS, learned_table
from dss_marl.experiments.study.results import load_results
from dss_marl.experiments.training.learners import new_learner
from dss_marl.integrations.sb3 import to_sb3


@pytest.mark.parametrize("engine", [None, "batched"])
@pytest.mark.parametrize("go_on", [True, False])
def test_the_time_limit_is_flagged_only_where_days_go_on(engine, go_on):
    make = functools.partial(dss_marl.make, "ieee13_volt_var", steps=3)
    venv = to_sb3(make, n_envs=2, engine=engine)
    venv.days_go_on = go_on
    venv.reset()
    flags = []
    for _ in range(6):
        _, _, dones, infos = venv.step(np.zeros((venv.num_envs, *venv.action_space.shape), np.float32))
        flags += [infos[row]["TimeLimit.truncated"] for row in np.flatnonzero(dones)]
    venv.close()
    assert len(flags) == 2 * venv.num_envs and set(flags) == {go_on}


def settings_of(scenario):
    return TrainingSettings.model_validate(scenario.training)


@pytest.mark.parametrize("engine", ["opendss", "batched"])
def test_a_number_of_copies_that_is_given_keeps_its_rollouts(engine):
    scenario = dss_marl.load_scenario("ieee13_legacy").replace(training={"n_envs": 96, "n_steps": 24})
    kept = settings_of(sized(scenario, None, 1000, engine, None, ["training.n_envs=96"]))
    assert (kept.n_envs, kept.n_steps, kept.agent_steps) == (96, 24, 1000)


def test_a_recipe_keeps_its_rollouts_and_copies_changes_them():
    recipe = "cloned_plans"
    scenario = dss_marl.load_scenario("ieee13_legacy").replace(
        training=dss_marl.experiments.load_recipe(recipe).training
    )
    assert settings_of(sized(scenario, None, None, "batched", recipe)).n_steps == 24
    changed = settings_of(sized(scenario, 192, None, "batched", recipe))
    assert (changed.n_envs, changed.n_steps) == (192, 12)


@pytest.mark.parametrize("sharing", ["all", "per_kind"])
@pytest.mark.parametrize("go_on", [True, False])
def test_the_setting_reaches_the_copies(sharing, go_on):
    task = build_task(dss_marl.load_scenario("ieee13_volt_var").replace(steps=3, agents="kind"))
    settings = TrainingSettings(sharing=sharing, days_go_on=go_on)
    place = {"n_envs": 1, "num_cpus": 0, "route": "native", "seed": 0, "engine": None}
    learner = new_learner(task, settings, place)
    copies = learner._venv.venv if sharing == "all" else learner._game.venv.venv
    assert copies.days_go_on is go_on
    learner.close()


def test_the_table_of_what_was_learned_has_the_figures_of_all_seeds():
    place = ROOT / "policies" / "ieee123_legacy"
    results = load_results(place / "results.json")
    (cells,) = learned_table([place])
    row = dict(zip(HEADS, cells, strict=True))
    returns = np.sort([cell.returns.mean() for cell in results.cells])
    middle = (0.75 * returns[1] + returns[2] + 0.75 * returns[3]) / 2.5  # interquartile mean of five
    assert float(row["return"].split()[0]) == pytest.approx(middle, rel=0.005)
    rule = results.scenarios["ieee123_legacy"].returns_of("voltage_reduction").mean()
    assert row["ahead of it"] == f"{(returns > rule).sum()} of {len(returns)}"
    assert row["best rule"].startswith("voltage_reduction") and row["seeds"] == "5"

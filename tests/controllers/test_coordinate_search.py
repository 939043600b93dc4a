"""The search over whole days: its plans are what the environment replays, and beat what is simpler."""

import numpy as np
import pytest
from common import load_cached, task_of

from dss_marl import build_task, load_scenario
from dss_marl.controllers.planning import coordinate_search
from dss_marl.controllers.planning.solve import choose_planner, play_plan, solve_day

DAY = 13


@pytest.fixture(scope="module")
def task():
    return load_cached("powergym_13", steps=6)


def test_a_plan_beats_holding_and_any_constant_position_of_the_taps(task):
    plan, earned = solve_day(task, DAY, planner="coordinate_search")
    assert play_plan(task, DAY, plan) == earned
    simple = np.tile(task.default_action, (6, 1))
    for position in (None, -0.5, 0.0, 0.25, 0.5):
        if position is not None:
            simple[:, 2:5] = position
        assert play_plan(task, DAY, simple) < earned - 0.01


def test_what_it_counts_on_is_what_the_environment_returns(task):
    replay = coordinate_search._Replay(task, DAY)
    rng = np.random.default_rng(0)
    plans = rng.integers(0, 33, (3, 6, 6)) / 16 - 1
    plans[:, :, :2] = np.where(plans[:, :, :2] > 0, 1.0, -1.0)
    expected = [play_plan(task, DAY, plan) for plan in plans]
    assert replay.returns(plans) == pytest.approx(expected, rel=1e-3)
    replay.close()


def test_it_is_the_last_resort_and_says_what_it_cannot_do():
    assert choose_planner(task_of("powergym_34")) is coordinate_search
    assert choose_planner(task_of("ieee13_volt_var")) is not coordinate_search
    own = build_task(load_scenario("powergym_13").under_circuit_controls())
    assert "own controls" in coordinate_search.unsupported_reason(own)
    assert "faults" in coordinate_search.unsupported_reason(task_of("ieee123_switching"))

"""Polish and challenges of plans: engines that agree, faults that are repaired, and repeatable results."""

import numpy as np
import pytest

import dss_marl
from dss_marl.controllers.planning.energy.storage_fleet import StorageFleet
from dss_marl.controllers.planning.play import play_plan
from dss_marl.controllers.planning.polish import CHALLENGES, challenge
from dss_marl.controllers.planning.polish.plan_entries import PlanEntries, as_kept
from dss_marl.controllers.planning.polish.playing.day_player import DayPlayer
from dss_marl.controllers.planning.polish.polish import polish
from dss_marl.controllers.planning.solve import plan_and_polish
from dss_marl.engines import open_engine
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import build_task

pytest.importorskip("numba")
SUMMER = 175
NEUTRAL, SINGLE, RESTART = CHALLENGES


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DSS_MARL_CACHE", str(tmp_path_factory.getbasetemp() / "tables"))


def short(name, **changes):
    return build_task(dss_marl.load_scenario(name).replace(**changes))


@pytest.fixture(scope="module")
def noon():
    """Two hours around noon on a small feeder, and a good plan of them."""
    task = short("ieee13_volt_var", steps=8, start_hour=11)
    return task, polish(task, SUMMER, [neutral(task)], effort_s=2)


def neutral(task):
    return np.tile(task.default_action, (task.scenario.steps, 1))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("ieee13_volt_var", {"steps": 6, "start_hour": 11}),
        ("ieee123_dispatch", {"steps": 6, "start_hour": 17}),
        ("ieee123_volt_var_attack", {"steps": 3, "start_hour": 12}),
        ("ieee123_hybrid", {"steps": 4, "start_hour": 12}),
        ("ieee123_restoration", {}),
        ("case33_reconfiguration", {"steps": 4}),
    ],
)
def test_many_plans_earn_what_each_earns_on_opendss(name, changes, rng):
    task = short(name, **changes)
    player = DayPlayer(task, SUMMER, copies=3)
    changed = rng.random((2, *player.shape)) < 0.3
    plans = as_kept(np.where(changed, rng.uniform(-1, 1, changed.shape), neutral(task)))
    rewards = player.play(plans)
    player.close()
    for plan, earned in zip(plans, rewards.sum(axis=1), strict=True):
        if np.isfinite(earned):
            assert play_plan(task, SUMMER, plan) == pytest.approx(earned, rel=1e-3, abs=2e-3)
        else:
            with pytest.raises(ValueError, match="power flow"):
                play_plan(task, SUMMER, plan)


@pytest.mark.parametrize("name", ["ieee13_volt_var", "ieee123_dispatch"])
def test_single_intervals_earn_what_they_earn_within_the_plan(name, rng):
    task = short(name, steps=6, start_hour=11)
    player = DayPlayer(task, SUMMER, copies=4)
    plan = as_kept(rng.uniform(-0.5, 0.5, player.shape))
    course = player.course(plan)
    steps = np.array([5, 0, 3, 2, 1])  # more than copies
    np.testing.assert_allclose(player.intervals(course, steps, plan[steps]), course.rewards[steps], atol=1e-9)
    np.testing.assert_allclose(course.rewards, player.play(plan[None])[0], atol=1e-9)
    player.close()


def test_a_planted_fault_is_repaired_and_the_plan_replays(noon):
    task, good = noon
    faulty = good.requests.copy()
    reactive = np.flatnonzero(PlanEntries.of(task).reactive)
    faulty[2:5, reactive] = -1.0
    damage = good.returned - play_plan(task, SUMMER, faulty)
    repaired = polish(task, SUMMER, [faulty], effort_s=2)
    assert damage > 0.01
    assert good.returned - repaired.returned < 0.05 * damage
    assert play_plan(task, SUMMER, repaired.requests) == repaired.returned
    assert np.array_equal(repaired.requests, repaired.requests.astype(np.float16))


def test_a_polished_plan_is_not_worse_than_its_start_and_equal_every_time(noon):
    task, good = noon
    again = [polish(task, SUMMER, [good.requests, neutral(task)], effort_s=0.5) for _ in range(2)]
    assert again[0].returned >= good.returned
    assert np.array_equal(again[0].requests, again[1].requests)


def test_challenges_find_planted_improvements(noon):
    task, good = noon
    reactive = PlanEntries.of(task).reactive
    night = good.requests.copy()
    night[:, reactive] = -1.0
    found = challenge(task, SUMMER, night, samples=60)
    assert found[NEUTRAL] > 0.01
    assert found[SINGLE] > 0.001
    assert found[RESTART] > 0.01
    assert challenge(task, SUMMER, night, samples=60) == found


def test_a_good_plan_withstands_its_challenges(noon):
    task, good = noon
    scale = good.returned - play_plan(task, SUMMER, neutral(task))
    assert max(challenge(task, SUMMER, good.requests, samples=60).values()) < 0.01 * scale


def test_old_plans_of_another_shape_are_left_out_and_of_this_shape_used(noon):
    task, good = noon
    planned = plan_and_polish(task, SUMMER, planner="none", old=good.requests, effort_s=0.2)
    assert planned.returned >= good.returned
    assert plan_and_polish(task, SUMMER, planner="none", old=np.zeros((3, 2)), effort_s=0.2).requests.shape[0] == 8


@pytest.mark.parametrize(("plan", "what"), [(np.zeros((3, 2)), "shape"), (np.full((8, 9), np.nan), "NaN")])
def test_what_is_no_plan_is_refused(noon, plan, what):
    task, good = noon
    plan = plan if what == "shape" else np.full(good.requests.shape, np.nan)
    with pytest.raises(ValueError, match=what):
        challenge(task, SUMMER, plan)


def test_the_day_program_leaves_kvar_alone_where_regulators_answer():
    for controls in (True, False):
        task = short("ieee123_dispatch", circuit_controls=controls, steps=2)
        simulator = Simulator(task, open_engine(task.feeder))
        first = simulator.begin(SUMMER, task.start)
        stores = StorageFleet(task, SUMMER, simulator.fleet.states(first.device_state))
        reactive = PlanEntries.of(task).reactive[stores.places]
        assert (stores.high > stores.low)[:, reactive].any() == (not controls)
        assert (stores.high > stores.low)[:, ~reactive].all()
        simulator.engine.close()


def test_no_group_of_a_polished_plan_is_better_neutral_where_regulators_answer(rng):
    task = short("ieee123_dispatch", steps=6, start_hour=17)
    start = as_kept(rng.uniform(-1, 1, neutral(task).shape))
    assert challenge(task, SUMMER, start, samples=20)[NEUTRAL] > 0.01
    polished = polish(task, SUMMER, [start], effort_s=1)
    assert polished.gained > 0.01
    assert challenge(task, SUMMER, polished.requests, samples=20)[NEUTRAL] <= 0

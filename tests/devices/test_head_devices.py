"""Demand meter and flexibility request: what is kept of the feeder's import, against values by hand."""

import numpy as np
import pytest
from common import task_of

from dss_marl import ZoneEnv, build_task, load_scenario
from dss_marl.controllers import reference
from dss_marl.controllers.base import NoControl
from dss_marl.devices import DemandMeters, FlexibilityRequests
from dss_marl.grid.state import Interval, Setpoints

QUARTER = 0.25


def altered(name, **changes):
    return load_scenario(name).model_copy(update=changes)


def solution(kw, kvar=0.0):
    class Drawn:
        source_kw, source_kvar = np.asarray(kw, float), np.asarray(kvar, float)

    return Drawn()


def request(**changes):
    given = {
        "count": np.array([2]), "kw": np.array([500.0]), "kvar": np.array([[-100.0, 300.0]]),
        "hours": np.array([[1.0, 2.0]]), "tolerance_kw": np.array([20.0]), "tolerance_kvar": np.array([10.0]),
        "kvar_weight": np.array([0.1]), "loss_share": np.array([0.05]),
    }  # fmt: skip
    return FlexibilityRequests(("r",), ("b",), **{**given, **changes})


def with_windows(group, *windows):
    state = group.initial()
    for k, window in enumerate(windows):
        state[0, 4 * k : 4 * k + 4] = window
    return state


def test_the_meter_keeps_the_highest_import_above_its_floor():
    meter = DemandMeters(("m",), ("b",), np.array([100.0]))
    state = meter.initial()
    for drawn, peak in ((80.0, 100.0), (130.0, 130.0), (90.0, 130.0), (-500.0, 130.0), (131.0, 131.0)):
        state, exceeded = meter.check(state, None, solution(drawn))
        assert state.tolist() == [[peak]] and exceeded.tolist() == [0]


def test_the_meter_takes_many_states_at_once():
    meter = DemandMeters(("m",), ("b",), np.array([100.0]))
    state = np.broadcast_to(meter.initial(), (2, 3, 1, 1))
    after, _ = meter.check(state, None, solution([[80, 120, 90], [200, 0, 101]]))
    assert after[..., 0, 0].tolist() == [[100, 120, 100], [200, 100, 101]]


def test_the_demand_charge_of_an_episode_is_that_of_its_peak():
    task = build_task(altered("ieee123_demand_charge", steps=30))
    env = ZoneEnv(task)
    observations, _ = env.reset(seed=1, options={"day": 40})
    controller, drawn = NoControl(circuit_controls=True), []
    while env.agents:
        observations, *_ = env.step(controller.act(env, observations))
        drawn.append(float(env.after.solution.source_kw))
        weight, term = task.rewards["peak_increase"]
        rise = max(drawn[-1] - max([1300.0, *drawn[:-1]]), 0.0)
        assert sum(term(zone, env.before, env.after) for zone in task.zones) == pytest.approx(-rise / 1000, abs=1e-9)
        assert weight == 1200
    assert len(drawn) == 30 and max(drawn) > 1300


def test_a_request_is_a_change_of_the_baseline():
    group = request()
    state = with_windows(group, (1.0, 2.0, 300.0, 50.0), (5.0, 6.5, -200.0, -80.0))
    points = Setpoints(np.array([-900.0, 200.0, -100.0]), np.zeros(3), np.zeros(0, np.int64), np.zeros(0, bool))
    for step, targets in ((3, [0, 0, 0]), (4, [1, 1140, 50]), (7, [1, 1140, 50]), (8, [0, 0, 0]), (21, [1, 640, -80])):
        after, _ = group.act(np.zeros((1, 0)), state, points, Interval(step, 0.0, QUARTER))
        assert group.targets(after)[0].tolist() == pytest.approx(targets)  # 800 kW net load, and 5 % of losses


@pytest.mark.parametrize(
    ("kw", "kvar", "kwh"),
    [
        (1140, 50, 0), (1155, 58, 0), (1240, 50, 80 * QUARTER), (1000, 50, 120 * QUARTER),
        (1140, 100, 0.1 * 40 * QUARTER), (1000, -20, 120 * QUARTER + 0.1 * 60 * QUARTER),
    ],
)  # fmt: skip
def test_what_is_missed_beyond_the_tolerance_is_owed(kw, kvar, kwh):
    group, step = request(), Interval(5, 0.0, QUARTER)
    state = with_windows(group, (1.0, 2.0, 300.0, 50.0))
    points = Setpoints(np.array([-900.0, 200.0, -100.0]), np.zeros(3), np.zeros(0, np.int64), np.zeros(0, bool))
    acted, _ = group.act(np.zeros((1, 0)), state, points, step)
    after, _ = group.check(acted, points, solution(kw, kvar))
    assert group.unmet_kwh(state, after, step).tolist() == pytest.approx([kwh])


def test_outside_requests_nothing_is_owed():
    group, step = request(), Interval(0, 0.0, QUARTER)
    state = with_windows(group, (1.0, 2.0, 300.0, 50.0))
    points = Setpoints(np.array([-900.0]), np.zeros(1), np.zeros(0, np.int64), np.zeros(0, bool))
    acted, _ = group.act(np.zeros((1, 0)), state, points, step)
    after, _ = group.check(acted, points, solution(5000, 5000))
    assert group.unmet_kwh(state, after, step).tolist() == [0]


def test_the_next_request_is_announced():
    group = request()
    state = with_windows(group, (1.0, 2.0, 300.0, 50.0), (5.0, 6.5, -200.0, -80.0))
    told = {k: group.telemetry(state, None, Interval(k, 0.0, QUARTER))[0].tolist() for k in (0, 4, 21)}
    assert told[0] == pytest.approx([0, 0, 0, 1 / 24, 1 / 24, 0.3, 0.05])
    assert told[4] == pytest.approx([1, 0.3, 0.05, 4 / 24, 1.5 / 24, -0.2, -0.08])
    assert told[21] == pytest.approx([1, -0.2, -0.08, 1, 0, 0, 0])
    many = np.broadcast_to(state, (3, *state.shape))
    together = group.telemetry(many, None, Interval(np.array([0, 4, 21]), np.zeros(3), QUARTER))
    assert together[:, 0].tolist() == [pytest.approx(told[k]) for k in (0, 4, 21)]


def test_requests_lie_within_the_day_and_their_ranges(rng):
    group = request(count=np.array([6]), hours=np.array([[1.0, 4.0]]))
    for _ in range(50):
        windows = group.start(rng, False, 0.0)[0, :24].reshape(6, 4)
        begin, end, kw, kvar = windows.T
        assert (begin >= 0).all() and (end <= 24).all() and (begin[1:] >= end[:-1]).all()
        assert ((end - begin >= 1) & (end - begin <= 4)).all()
        assert ((np.abs(kw) >= 150) & (np.abs(kw) <= 500)).all() and ((kvar >= -100) & (kvar <= 300)).all()


@pytest.mark.parametrize("kind", ["demand_meter", "flexibility_request"])
def test_there_is_one_at_most(kind):
    name = {"demand_meter": "ieee123_demand_charge", "flexibility_request": "ieee123_flexibility"}[kind]
    scenario = load_scenario(name)
    twice = [*scenario.devices, *(spec for spec in scenario.devices if spec["kind"] == kind)]
    with pytest.raises(ValueError, match=f"{kind}: 2 .*keep one"):
        build_task(scenario.model_copy(update={"devices": tuple(twice)}))


@pytest.mark.parametrize(
    ("name", "rule"), [("ieee123_demand_charge", "peak_shaving"), ("ieee123_flexibility", "follow_request")]
)
def test_the_rule_of_the_task_earns_more_than_no_control(name, rule):
    scenario = altered(name, **({"steps": 48} if "charge" in name else {}))
    task, earned = build_task(scenario), {}
    for controller in ("no_control", rule):
        env, one = ZoneEnv(task, "test"), reference(controller, scenario)
        observations, _ = env.reset(seed=1, options={"day": 40})
        one.reset(env)
        earned[controller] = 0.0
        while env.agents:
            observations, *_ = env.step(one.act(env, observations))
            earned[controller] += env.team_reward
        env.close()
    assert earned[rule] > earned["no_control"] + 5


@pytest.mark.parametrize(
    ("rule", "needs"), [("peak_shaving", "demand_meter"), ("follow_request", "flexibility_request")]
)
def test_a_rule_says_what_it_lacks(rule, needs):
    env = ZoneEnv(task_of("ieee123_dispatch"))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"{rule} needs a device of kind '{needs}'"):
        reference(rule, env.task.scenario).reset(env)
    env.close()


def test_days_of_an_episode_follow_each_other_and_splits_share_none():
    profiles = task_of("ieee123_demand_charge").profiles
    first, second = profiles.day(100, 24 * 27), profiles.day(101, 0)
    np.testing.assert_array_equal(first.kw[24:48], second.kw)
    train, test = profiles.day(100, 0), profiles.day(7100, 0)
    assert not np.array_equal(train.kw, test.kw) and not np.array_equal(profiles.day(6100, 0).kw, test.kw)
    starts = {split: profiles.days(split) for split in ("train", "validation", "test")}
    assert [len(days) for days in starts.values()] == [365, 13, 30]
    assert {day // 1000 for day in starts["validation"]} == {6} and {day // 1000 for day in starts["test"]} == {7}


def test_an_episode_longer_than_its_days_is_refused():
    with pytest.raises(ValueError, match=r"longer than 28 days; raise profiles.chain_days"):
        build_task(altered("ieee123_demand_charge", steps=673))
    with pytest.raises(ValueError, match=r"longer than a day; set chain_days"):
        build_task(altered("ieee123_dispatch", steps=97))


def test_the_year_after_the_last_day_begins_again():
    profiles = task_of("ieee123_demand_charge").profiles
    np.testing.assert_array_equal(profiles.day(364, 24).kw[24:], profiles.day(0, 0).kw)


def test_a_range_the_wrong_way_round_is_refused():
    scenario = load_scenario("ieee123_flexibility")
    specs = [
        {**spec, "kvar": [500, 100]} if spec["kind"] == "flexibility_request" else spec for spec in scenario.devices
    ]
    with pytest.raises(ValueError, match="lower first"):
        build_task(scenario.model_copy(update={"devices": tuple(specs)}))

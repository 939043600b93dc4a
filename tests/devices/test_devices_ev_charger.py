"""EV chargers: sessions, what cars need, and what they leave without."""

import numpy as np
import pytest
from device_cases import STEP, chargers, setpoints, some_action, switched

from dss_marl import OpenDSSEngine
from dss_marl.devices import EVChargers
from dss_marl.devices import ev_charger as columns
from dss_marl.devices.ev_charger import EVChargerSpec
from dss_marl.grid.state import Interval
from dss_marl.profiles.ev_sessions import EvSessions

QUARTERS = [Interval(t, t / 4, 0.25) for t in range(96)]


def spec(**changes):
    return EVChargerSpec(**{"kind": "ev_charger", "bus": "b", "kw": 10, **changes})


def session(group, arrival, departure, kwh):
    """Device state in which all chargers wait for the same car."""
    state = group.initial()
    state[:, [columns._ARRIVAL, columns._DEPARTURE]] = arrival, departure
    state[:, [columns._DUE, columns._KWH]] = kwh
    return state


def drive(group, state, action, intervals, rng):
    """(T, D) energy into the cars and unmet energy, and the last device state."""
    given, unmet = [], []
    for interval in intervals:
        points, before = setpoints(rng), state
        state, _ = group.act(action(interval), state, points, interval)
        given.append(-points.kw[group.injections] * interval.dt_h * group.efficiency)
        unmet.append(group.unmet_kwh(before, state, interval))
    return np.array(given), np.array(unmet), state


def test_at_midnight_the_cars_of_last_evening_are_there_with_part_of_their_energy_due(rng):
    group, came = chargers(), []
    for _ in range(50):
        state = group.start(rng, False, 0.0)
        telemetry = group.telemetry(state, None, STEP)
        there = telemetry[:, 0] == 1
        came.append(there.mean())
        _, due, left, urgency = telemetry[there].T
        assert ((due > 0) & (due < 1)).all()
        assert ((left > 2 / 24) & (left < 13.1 / 24)).all()
        assert (urgency <= 1 + 1e-9).all()
        assert (telemetry[~there] == 0).all(), "who stayed away shows nothing"
    assert np.mean(came) == pytest.approx(0.85, abs=0.08)


def test_at_noon_the_whole_session_is_to_come(rng):
    group = chargers()
    for _ in range(50):
        state = group.start(rng, False, 12.0)
        waiting = state[:, columns._ARRIVAL] > 0
        assert (state[waiting, columns._DUE] == state[waiting, columns._KWH]).all()
        assert waiting.sum() >= 3  # few have come by then
        there = state[:, columns._ARRIVAL] <= 0
        assert (state[:, columns._DUE][there] < state[:, columns._KWH][there]).all()


@pytest.mark.parametrize("hour", [0.0, 7.5, 12.0, 18.0, 23.0])
def test_uncontrolled_cars_leave_with_all_they_need(hour, rng):
    """A day's energy into the cars is that of the sessions that lie in it; nothing is unmet."""
    group = chargers()
    for _ in range(5):
        state = group.start(rng, True, hour)
        sure = state[:, columns._DUE] * (state[:, columns._DEPARTURE] < 24)
        most = state[:, columns._DUE] + state[:, columns._NEXT_KWH]
        given, unmet, _ = drive(group, state, lambda _: group.default_action(), QUARTERS, rng)
        assert (given.sum(0) >= sure - 1e-6).all()
        assert (given.sum(0) <= most + 1e-6).all()
        assert (unmet < 1e-6).all()


def test_a_car_that_is_never_charged_leaves_with_all_unmet_once(rng):
    group = chargers()
    state = group.start(rng, False, 0.0)
    due, hours = state[:, columns._DUE].copy(), state[:, columns._DEPARTURE].copy()
    _, unmet, _ = drive(group, state, lambda _: np.full((4, 1), -1.0), QUARTERS, rng)
    assert unmet.sum(0) == pytest.approx(due * group.priority)
    assert ((unmet > 0).sum(0) == (group.priority > 0)).all()
    assert (np.argmax(unmet > 0, 0) == np.where(group.priority > 0, np.ceil(hours * 4) - 1, 0)).all()


def test_no_action_pushes_more_into_a_car_than_it_needs(rng):
    group = chargers()
    for _ in range(10):
        state = group.start(rng, False, rng.uniform(0, 24))
        most = state[:, columns._DUE] + state[:, columns._NEXT_KWH]
        given, unmet, _ = drive(group, state, lambda _: some_action(group, rng), QUARTERS, rng)
        assert (given.sum(0) <= most + 1e-9).all()
        assert (given >= 0).all()
        assert (unmet >= 0).all()


def test_energy_given_due_and_unmet_add_up(rng):
    group = chargers()
    state = session(group, 0.0, 5.0, 12.0)
    given, unmet, _ = drive(group, state, lambda _: np.full((4, 1), -0.6), QUARTERS[:40], rng)
    owed = unmet.sum(0) / np.where(group.priority > 0, group.priority, 1)
    expected = np.minimum(0.2 * group.kw * group.efficiency * 5, 12.0)
    assert given.sum(0) == pytest.approx(expected)
    assert owed[group.priority > 0] == pytest.approx((12 - expected)[group.priority > 0])


def test_a_car_that_comes_or_goes_within_an_interval_draws_in_proportion():
    """It is there for 0.1 h of the first quarter hour and 0.05 h of the last."""
    group = chargers()
    state = session(group, 0.15, 0.55, 100.0)
    seen = []
    for interval in QUARTERS[:4]:
        points = setpoints(np.random.default_rng(0))
        state, _ = group.act(np.ones((4, 1)), state, points, interval)
        seen.append(-points.kw[group.injections] / group.kw)
    assert np.array(seen) == pytest.approx(np.array([[0.4] * 4, [1.0] * 4, [0.2] * 4, [0.0] * 4]))


def test_the_next_car_comes_after_the_first():
    group = chargers()
    state = session(group, 0.0, 0.4, 0.1)
    state[:, columns._NEXT] = 1.0, 2.0, 0.5
    given, unmet, last = drive(group, state, lambda _: group.default_action(), QUARTERS[:12], np.random.default_rng(0))
    assert given.sum(0) == pytest.approx([0.6] * 4)
    assert given[:2].sum(0) == pytest.approx([0.1] * 4)
    assert (unmet == 0).all()
    assert (last[:, columns._ARRIVAL] > 1000).all()


def test_a_charger_that_is_held_serves_the_car_that_comes_as_last_asked():
    """Held by its present action, which without a car is the lowest, from the second interval on."""
    group = chargers()
    state, seen = session(group, 0.5, 9.0, 100.0), []
    for interval in QUARTERS[:4]:
        points = setpoints(np.random.default_rng(0))
        action = np.zeros((4, 1)) if interval.step == 0 else group.hold_action(state, points, interval)
        state, _ = group.act(action, state, points, interval)
        seen.append(-points.kw[group.injections] / group.kw)
    assert np.array(seen) == pytest.approx(np.array([[0.0] * 4, [0.0] * 4, [0.5] * 4, [0.5] * 4]))


def test_readings_and_masks_know_nothing_of_cars_to_come(rng):
    group = chargers()
    points = setpoints(rng)
    tried = np.linspace(-1, 1, 11)[:, None, None] * np.ones((4, 1))
    told = []
    for arrival, kwh in ((0.25, 5.0), (3.0, 20.0), (900.0, 1.0)):
        state = session(group, arrival, arrival + 5, kwh)
        state[:, columns._NEXT] = arrival + 9, arrival + 12, kwh
        there = session(group, -1.0, 5.0, 8.0)
        there[:, columns._NEXT] = arrival + 9, arrival + 12, kwh
        for one in (state, there):
            told.append(group.telemetry(one, points, STEP))
            told.append(group.feasible(tried, one, points, STEP))
            told.append(group.hold_action(state, points, STEP))
    for k in range(6):
        assert np.array_equal(told[k], told[k + 6])
        assert np.array_equal(told[k], told[k + 12])
    assert (told[0] == 0).all()


def test_readings_of_a_car_that_is_there():
    """4 of 8 kWh due, six hours left; the 22 kW charger needs 4 / 20.9 h."""
    group = chargers()
    state = session(group, -1.0, 6.0, 8.0)
    state[:, columns._DUE] = 4.0
    assert group.telemetry(state, None, STEP)[3] == pytest.approx([1, 0.5, 0.25, 4 / 20.9 / 6])


def test_opendss_delivers_what_chargers_set(tmp_path):
    feeder, group, points = switched(tmp_path, EVChargers, [spec(), spec(phases=(2,), name="two")])
    assert [row.kind for row in feeder.injections[-2:]] == ["ev_charger", "ev_charger"]
    engine = OpenDSSEngine(feeder, tolerance=1e-9)
    rest = engine.solve(points)
    state = session(group, 0.0, 5.0, 50.0)
    group.act(np.array([[1.0], [0.0]]), state, points, STEP)
    solution = engine.solve(points)
    assert solution.served_kw[group.injections] == pytest.approx([-10, -5])
    more = (solution.source_kw - solution.loss_kw) - (rest.source_kw - rest.loss_kw)
    assert more == pytest.approx(15, abs=1e-3)
    fall = rest.v_pu - solution.v_pu
    assert fall[feeder.node_index["b.2"]] == max(fall)
    engine.close()


def test_nothing_is_charged_from_a_dead_bus(tmp_path):
    """One car stays on, the other leaves in the interval: what it did not get is unmet."""
    feeder, group, points = switched(tmp_path, EVChargers, [spec(), spec(name="two", priority=3.0)])
    engine = OpenDSSEngine(feeder)
    points.closed[:] = False
    state = session(group, 0.0, 5.0, 2.0)
    state[1, columns._DEPARTURE] = 0.25
    after, _ = group.act(group.default_action(), state, points, STEP)
    assert after[0, columns._DUE] < 2
    kept, _ = group.check(after, points, engine.solve(points))
    assert kept[0, columns._DUE] == pytest.approx(2)
    assert group.unmet_kwh(state, kept, STEP) == pytest.approx([0, 6])
    points.closed[:] = True
    fed, _ = group.check(after, points, engine.solve(points))
    assert np.array_equal(fed, after)
    engine.close()


def test_one_car_at_a_time_and_no_more_than_its_stay_allows(monkeypatch):
    """Cars that come at noon and stay for 26 h: each waits for the one before; 3.7 kW give 91 kWh, not 500."""
    every_day = EvSessions(np.full(4, 12.0), np.full(4, 38.0), np.full(4, 500.0))
    monkeypatch.setattr(columns, "ev_sessions", lambda rng, count, weekend: every_day)
    group = chargers()
    state = group.start(np.random.default_rng(0), False, 8.0)
    assert state[:, [columns._ARRIVAL, columns._DEPARTURE]].tolist() == [[-20, 6]] * 4
    assert state[:, [columns._NEXT_ARRIVAL, columns._NEXT_DEPARTURE]].tolist() == [[6, 30]] * 4
    assert state[0, columns._KWH] == pytest.approx(3.7 * 0.95 * 26)
    assert state[:, columns._DUE] == pytest.approx(state[:, columns._KWH] * 6 / 26)
    assert state[0, columns._NEXT_KWH] == pytest.approx(3.7 * 0.95 * 24)


def test_the_days_differ_and_repeat():
    group = chargers()
    one, same, other = (group.start(np.random.default_rng(seed), False, 12.0) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_chargers_are_named_by_their_place():
    assert spec(bus=83, phases=(1,)).label == "ev_charger_83_1"
    with pytest.raises(ValueError, match="less than or equal to 1"):
        spec(efficiency=1.2)

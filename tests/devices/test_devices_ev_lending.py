"""EVs that lend energy to the grid while they are connected."""

import dataclasses

import numpy as np
import pytest
from device_cases import STEP, chargers, setpoints, some_action, switched
from test_devices_ev_charger import QUARTERS, drive, session, spec

from dss_marl import OpenDSSEngine
from dss_marl.devices import EVChargers
from dss_marl.devices import ev_charger as columns

LENT = [8.0, 0.0, 2.0, 20.0]


def lending():
    return chargers(LENT)


def test_without_lending_all_is_as_before(rng):
    """Also in a group in which another EV lends: bit for bit."""
    plain, mixed = chargers(), lending()
    state = plain.start(rng, False, 18.0)
    other = state.copy()
    for interval in QUARTERS:
        action, points = some_action(plain, rng), setpoints(rng)
        also = points.copy()
        assert np.array_equal(
            mixed.feasible(action, other, points, interval)[1], plain.feasible(action, state, points, interval)[1]
        )
        state, limited = plain.act(action, state, points, interval)
        other, mixed_limited = mixed.act(action, other, also, interval)
        assert np.array_equal(state[1], other[1]) and limited[1] == mixed_limited[1]
        assert points.kw[plain.injections[1]] == also.kw[plain.injections[1]]
        assert np.array_equal(
            plain.telemetry(state, points, interval)[1], mixed.telemetry(other, also, interval)[1, :4]
        )


def test_the_action_is_a_share_of_rated_power_with_charging_positive():
    group, points = lending(), setpoints(np.random.default_rng(0))
    state = session(group, 0.0, 8.0, 10.0)
    for a, shares in ((1.0, [1, 1, 1, 1]), (0.0, [0, 0.5, 0, 0]), (-0.5, [-0.5, 0.25, -0.5, -0.5])):
        group.act(np.full((4, 1), a), state, points, STEP)
        assert -points.kw[group.injections] / group.kw == pytest.approx(shares)
        assert group.share(np.full(4, a)) == pytest.approx(shares)
        assert group.entry(group.share(np.full(4, a))) == pytest.approx(a)


def test_an_ev_lends_no_more_than_it_may_and_a_request_beyond_is_cut():
    """The 3.7 kW charger takes 0.974 kWh in a quarter hour; of 8 kWh the ninth quarter has 0.211 left."""
    group, rng = lending(), np.random.default_rng(0)
    state, kw, cut = session(group, 0.0, 20.0, 10.0), [], []
    for interval in QUARTERS[:12]:
        points = setpoints(rng)
        possible = group.feasible(np.full((4, 1), -1.0), state, points, interval)[:, 0]
        state, limited = group.act(np.full((4, 1), -1.0), state, points, interval)
        assert np.array_equal(limited == 0, possible)
        kw.append(points.kw[group.injections])
        cut.append(limited)
    each = 3.7 / 0.95 / 4
    assert np.array(kw)[:, 0] == pytest.approx([3.7] * 8 + [(8 - 8 * each) * 0.95 * 4, 0, 0, 0])
    assert np.array(cut)[:, 0].tolist() == [0] * 8 + [1] * 4
    assert state[:, columns._DUE] == pytest.approx([18, 10, 12, 30])
    assert (np.array(kw)[:, 1] == 0).all()


def test_charged_energy_may_be_lent_too():
    group = lending()
    state = session(group, 0.0, 20.0, 10.0)
    state[:, columns._DUE] = 4.0
    low, _ = group._limits(state, dataclasses.replace(STEP, dt_h=10.0))
    assert low == pytest.approx([-14 * 0.95 / 37, -1, -8 / 110, -26 * 0.95 / 220])


def test_energy_is_conserved_and_stays_within_its_limits(rng):
    """Due at arrival = charged - lent, both by the EV's own meter, + unmet; efficiency counts in both directions."""
    group = lending()
    for _ in range(20):
        state = session(group, 0.0, 6.0, 9.0)
        first, charged, lent, worn, unmet = state[:, columns._DUE].copy(), 0.0, 0.0, 0.0, 0.0
        for interval in QUARTERS[:24]:
            points = setpoints(rng)
            state, _ = group.act(some_action(group, rng), state, points, interval)
            kwh = -points.kw[group.injections] * interval.dt_h
            charged, lent = charged + np.maximum(kwh, 0), lent + np.maximum(-kwh, 0)
            unmet, worn = unmet + state[:, columns._UNMET], worn + group.worn_kwh(state)
            assert (state[:, columns._DUE] >= 0).all()
            assert (state[:, columns._DUE] <= 9.0 + group.v2g_kwh + 1e-9).all()
        assert charged * group.efficiency - lent / group.efficiency + unmet == pytest.approx(first)
        assert worn == pytest.approx(2 * lent)


def test_what_is_not_given_back_is_unmet(rng):
    group = lending()
    state = session(group, 0.0, 3.0, 5.0)
    _, unmet, _ = drive(group, state, lambda _: np.full((4, 1), -1.0), QUARTERS[:16], rng)
    assert unmet.sum(0) == pytest.approx(group.priority * (5 + group.v2g_kwh))


def test_without_an_ev_only_the_idle_entry_is_feasible(rng):
    group, points = lending(), setpoints(rng)
    tried = np.linspace(-1, 1, 5)[:, None, None] * np.ones((4, 1))
    allowed = group.feasible(tried, session(group, 2.0, 9.0, 10.0), points, STEP)[..., 0]
    assert allowed[:, 0].tolist() == [False, False, True, False, False]
    assert allowed[:, 1].tolist() == [True, False, False, False, False]


def test_an_ev_reports_what_it_can_still_lend():
    """Of 20 kWh and the 2 charged, 22 kW lend for 0.95 h of the 6 h left."""
    group, state = lending(), session(lending(), -1.0, 6.0, 8.0)
    state[:, columns._DUE] = 6.0
    told = group.telemetry(state, None, STEP)
    assert told[3] == pytest.approx([1, 6 / 28, 0.25, 6 / 20.9 / 6, 0.95 / 6])
    assert told[1, 4] == 0 and told[1, 1] == 0.75
    assert len(group.telemetry_labels) == told.shape[-1] == 5


def test_the_day_s_sessions_say_what_may_be_due(rng):
    group = lending()
    state = group.start(rng, False, 12.0)
    stays = group.stays(state, 96, 0.25)
    first = stays.most_kwh - group.v2g_kwh[stays.device]
    assert (stays.kwh <= first + 1e-9).all()
    assert set(np.round(first, 9)) <= set(np.round(state[:, [columns._KWH, columns._NEXT_KWH]].ravel(), 9))


def test_opendss_feeds_in_what_evs_lend_but_not_at_a_dead_bus(tmp_path):
    """At the dead bus the EV keeps its energy, and neither wear nor missing energy is counted."""
    feeder, group, points = switched(tmp_path, EVChargers, [spec(v2g_kwh=8), spec(name="two", v2g_kwh=8)])
    engine = OpenDSSEngine(feeder, tolerance=1e-9)
    rest, state = engine.solve(points), session(group, 0.0, 5.0, 5.0)
    state[1, columns._DEPARTURE] = 0.25
    after, _ = group.act(np.full((2, 1), -1.0), state, points, STEP)
    solution = engine.solve(points)
    assert solution.served_kw[group.injections] == pytest.approx([10, 10])
    assert (solution.source_kw - solution.loss_kw) - (rest.source_kw - rest.loss_kw) == pytest.approx(-20, abs=1e-3)
    assert group.worn_kwh(after) == pytest.approx([5, 5])
    points.closed[:] = False
    kept, _ = group.check(after, points, engine.solve(points))
    assert kept[0, columns._DUE] == pytest.approx(5)
    assert group.unmet_kwh(state, kept, STEP) == pytest.approx([0, 5])
    assert (group.worn_kwh(kept) == 0).all()
    engine.close()

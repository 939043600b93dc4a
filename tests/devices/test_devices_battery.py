"""Batteries: energy is conserved, and the store has ends."""

import numpy as np
import pytest
from device_cases import STEP, batteries, setpoints, some_action, switched

from dss_marl import OpenDSSEngine
from dss_marl.devices import Batteries
from dss_marl.devices.battery import BatterySpec
from dss_marl.grid.state import Interval


def spec(**changes):
    return BatterySpec(**{"kind": "battery", "bus": "b", "kw": 100, "kwh": 200, **changes})


def test_energy_is_conserved(rng):
    """Drawn from the grid = stored + lost in conversion + standby, in every interval of any length."""
    group = batteries()
    state = np.tile(group.initial(), (50, 1, 1))
    cut = 0
    for t in range(200):
        points, before = setpoints(rng, 50), state[..., 2]
        dt_h = rng.uniform(0.05, 2)
        state, limited = group.act(some_action(group, rng, 50), state, points, Interval(t, 0.0, dt_h))
        kw = points.kw[..., group.injections] + group.standby_kw
        stored = (state[..., 2] - before) * group.kwh
        lost = np.where(kw > 0, kw * (1 / group.discharging - 1), -kw * (1 - group.charging)) * dt_h
        drawn = -points.kw[..., group.injections] * dt_h
        assert drawn == pytest.approx(stored + lost + group.standby_kw * dt_h, abs=1e-9)
        assert (state[..., 2] >= group.minimum).all()
        assert (state[..., 2] <= group.maximum).all()
        assert (np.hypot(kw, points.kvar[..., group.injections]) <= group.kva * (1 + 1e-12)).all()
        cut += limited.sum()
    assert cut > 1000


def test_a_request_beyond_the_end_is_done_until_there():
    """160 kWh from 10 % to 90 %: at 100 kW and 95 % that is full after 80 / 95 h from the middle."""
    group = batteries()
    state, hour = group.initial()[None], Interval(0, 0.0, 1.0)
    points = setpoints(np.random.default_rng(0), 1)
    action = np.full((1, 4, 2), [-1.0, 0.0])
    state, limited = group.act(action, state, points, hour)
    assert points.kw[0, group.injections[0]] == pytest.approx(-80 / 0.95)
    assert state[0, 0, 2] == pytest.approx(0.9)
    assert limited[0, 0] == 1
    group.hold(state, points, hour)
    assert points.kw[0, group.injections[0]] == pytest.approx(0)


def test_a_round_trip_costs_both_efficiencies():
    group = batteries()
    state = group.initial()
    points = setpoints(np.random.default_rng(0))
    drawn = given = 0.0
    for share in [-0.5] * 4 + [0.5] * 6:
        state, _ = group.act(np.full((4, 2), [share, 0.0]), state, points, STEP)
        kw = points.kw[group.injections[0]]
        drawn, given = drawn + max(-kw, 0) * 0.25, given + max(kw, 0) * 0.25
        if state[0, 2] == pytest.approx(0.5):
            break
    points_left = (state[0, 2] - 0.5) * 200 * 0.95  # what could still be given
    assert (given + points_left) / drawn == pytest.approx(0.95 * 0.95)


def test_the_standby_power_is_drawn_beside_what_is_asked():
    group = batteries()
    points = setpoints(np.random.default_rng(0))
    state, _ = group.act(np.zeros((4, 2)), group.initial(), points, STEP)
    assert points.kw[group.injections].tolist() == [0.0, -0.5, -0.1, -2.0]
    assert state[:, 2].tolist() == group.start_soc.tolist()


def test_reactive_power_is_refused_where_there_is_none():
    group = batteries()
    points = setpoints(np.random.default_rng(0))
    _, limited = group.act(np.full((4, 2), [0.0, 0.5]), group.initial(), points, STEP)
    assert points.kvar[group.injections].tolist() == [50, 0, 3.5, 0]
    assert limited.tolist() == [0, 1, 0, 1]


def test_the_state_of_charge_is_read():
    group = batteries()
    assert group.telemetry(group.initial(), None, STEP)[:, 0].tolist() == [0.5, 0.2, 0.0, 0.9]


def test_opendss_delivers_what_batteries_set(tmp_path):
    """Charging is a load to the grid, and discharging a source; both with their loss."""
    feeder, group, points = switched(
        tmp_path, Batteries, [spec(kva=125, reactive=True, category="none", losses="none")]
    )
    assert [row.kind for row in feeder.injections] == ["load", "load", "battery"]
    engine = OpenDSSEngine(feeder, tolerance=1e-9)
    rest = engine.solve(points)
    for share in (-1.0, -0.3, 0.6):
        group.act(np.array([[share, 0.0]]), group.initial(), points, STEP)
        solution = engine.solve(points)
        assert solution.served_kw[group.injections] == pytest.approx([100 * share])
        more = (solution.source_kw - solution.loss_kw) - (rest.source_kw - rest.loss_kw)
        assert more == pytest.approx(-100 * share, abs=1e-3)
        assert (solution.v_pu[3:] < rest.v_pu[3:]).all() == (share < 0)
    group.act(np.array([[0.75, 1.0]]), group.initial(), points, STEP)  # 75 kW leave 100 kvar of 125 kVA
    given = rest.source_kvar - engine.solve(points).source_kvar
    assert given == pytest.approx(100, rel=0.1)
    engine.close()


def test_nothing_is_stored_from_a_dead_bus(tmp_path):
    feeder, group, points = switched(tmp_path, Batteries, [spec(), spec(name="idle", bus="sourcebus")])
    engine = OpenDSSEngine(feeder)
    points.closed[:] = False
    state, _ = group.act(np.array([[-1.0], [-1.0]]), group.initial(), points, STEP)
    kept, _ = group.check(state, points, engine.solve(points))
    assert state[:, 2] == pytest.approx([0.5 + 25 * 0.95 / 200] * 2)
    assert kept[:, 2] == pytest.approx([0.5, 0.5 + 25 * 0.95 / 200])
    engine.close()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kva": 50}, "kva 50 is below kw 100; raise kva"),
        ({"minimum": 0.9, "maximum": 0.9}, "lower it"),
        ({"initial": 0.05}, "outside minimum 0.1 to maximum 0.9; choose a value in this range"),
        ({"charge_efficiency": 0.0}, "greater than 0"),
        ({"discharge_efficiency": 1.1}, "less than or equal to 1"),
        ({"kw": -5}, "greater than 0"),
        ({"kwh": 0}, "greater than 0"),
    ],
)
def test_a_battery_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        spec(**wrong)


def test_batteries_of_a_circuit(tmp_path):
    specs = [spec(bus="B", act_every=4), spec(name="Second", kva=150)]
    _, group, _ = switched(tmp_path, Batteries, specs)
    assert group.names == ("battery_b", "second")
    assert group.buses == ("b", "b")
    assert group.kva.tolist() == [100, 150]
    assert group.act_every.tolist() == [4, 1]
    assert group.action_labels == ("share of rated power, + discharges",)
    with pytest.raises(ValueError, match="'battery_b' is defined twice"):
        Batteries.added_units([spec(), spec()])
    with pytest.raises(ValueError, match="does not exist"):
        switched(tmp_path, Batteries, [spec(bus="nowhere")])

"""Flexible loads: what is shed is unmet, or taken back."""

from dataclasses import replace

import numpy as np
import pytest
from device_cases import STEP, flexible_loads, setpoints, some_action, switched

from dss_marl import OpenDSSEngine
from dss_marl.devices import FlexibleLoads
from dss_marl.devices.flexible_load import FlexibleLoadSpec
from dss_marl.grid.load_priorities import ClassSpec, Priorities, PrioritySpec
from dss_marl.grid.state import Interval


def spec(**changes):
    return FlexibleLoadSpec(**{"kind": "flexible_load", "names": "all", **changes})


def test_shed_energy_is_unmet_times_its_priority(rng):
    group = flexible_loads()
    points = setpoints(rng)
    demand = -points.kw[group.injections]
    kept, _ = group.act(np.full((3, 1), 0.0), group.initial(), points, STEP)
    share = 0.5 * group.most
    assert -points.kw[group.injections] == pytest.approx(demand * (1 - share))
    assert group.unmet_kwh(group.initial(), kept, STEP) == pytest.approx([3 * demand[0] * 0.5 * 0.25, 0, 0])
    assert group.telemetry(kept, points, STEP)[:, 0] == pytest.approx(
        [0, *(demand * share * 0.25 / group.base_kwh)[1:]]
    )
    assert group.telemetry(kept, points, STEP)[:, 1] == pytest.approx(share)


def test_reactive_power_follows_active_power(rng):
    group = flexible_loads()
    state = np.tile(group.initial(), (50, 1, 1))
    for _ in range(5):
        points = setpoints(rng, 50)
        ratio = points.kvar[..., group.injections] / points.kw[..., group.injections]
        state, _ = group.act(some_action(group, rng, 50), state, points, STEP)
        kw, kvar = points.kw[..., group.injections], points.kvar[..., group.injections]
        assert kvar == pytest.approx(ratio * kw)


def test_shifted_energy_is_taken_back_with_its_rebound(rng):
    """After any sheds, once the payback time has passed, all that was shed has been drawn, times the rebound."""
    group = flexible_loads()
    state = group.initial()
    demand, drawn, shed, back = (np.zeros(3) for _ in range(4))
    for t in range(60):
        points = setpoints(rng)
        wanted = -points.kw[group.injections] * 0.25
        action = some_action(group, rng) if t < 20 else group.default_action()
        state, _ = group.act(action, state, points, Interval(t, t / 4, 0.25))
        taken = -points.kw[group.injections] * 0.25
        demand, drawn = demand + wanted, drawn + taken
        cut = wanted * (action[:, 0] + 1) / 2 * group.most
        shed, back = shed + cut, back + taken - wanted + cut
        if t >= 20 + 8:  # payback times are 2 h and less
            assert (state[:, 1] == 0).all()
            assert taken == pytest.approx(wanted)
    assert back[0] == pytest.approx(0)
    assert back[1:] == pytest.approx((shed * group.payback)[1:])
    assert drawn[1] == pytest.approx(demand[1])
    assert drawn[2] > demand[2]


def test_one_shed_is_taken_back_evenly():
    """Half of 40 kW for a quarter hour: 5 kWh, over two hours 2.5 kW, and then nothing; and the same again."""
    group = flexible_loads()
    state, seen = group.initial(), []
    for t in range(20):
        points = setpoints(np.random.default_rng(0))
        points.kw[group.injections] = -40.0
        state, _ = group.act(np.full((3, 1), 1.0 if t in (0, 10) else -1.0), state, points, STEP)
        seen.append(-points.kw[group.injections][1] - 40)
    assert seen == pytest.approx(2 * ([-20] + [2.5] * 8 + [0]))


def test_opendss_serves_what_is_left(tmp_path):
    feeder, group, points = switched(tmp_path, FlexibleLoads, [spec(most=0.8)])
    engine = OpenDSSEngine(feeder, tolerance=1e-9)
    rest = engine.solve(points)
    group.act(np.array([[1.0], [-1.0]]), group.initial(), points, STEP)
    solution = engine.solve(points)
    assert rest.served_kw == pytest.approx([-500, -100])
    assert solution.served_kw == pytest.approx([-100, -100])
    assert rest.source_kw - solution.source_kw == pytest.approx(400, rel=0.1)
    assert solution.v_pu.min() > rest.v_pu.min()
    engine.close()


def test_on_a_dead_bus_the_device_sheds_nothing_and_takes_nothing_back(tmp_path):
    feeder, group, points = switched(tmp_path, FlexibleLoads, [spec(mode="shift")])
    engine = OpenDSSEngine(feeder)
    state, _ = group.act(np.zeros((2, 1)), group.initial(), feeder.setpoints(), STEP)
    owed = state[:, 1].copy()
    assert owed == pytest.approx([62.5, 12.5])
    points.closed[:] = False
    after, _ = group.act(np.zeros((2, 1)), state, points, STEP)
    kept, _ = group.check(after, points, engine.solve(points))
    assert kept[:, 1] == pytest.approx(owed)
    for _ in range(8):
        kept, _ = group.act(group.default_action(), kept, feeder.setpoints(), STEP)
    assert kept[:, 1] == pytest.approx(0)
    engine.close()


def test_what_is_shed_on_a_dead_bus_is_lost_beside_the_rest(tmp_path):
    """Half is shed and half is dark: all of it goes without, whichever way the device was asked."""
    feeder, group, points = switched(tmp_path, FlexibleLoads, [spec()])
    engine = OpenDSSEngine(feeder)
    points.closed[:] = False
    demand = -points.kw[group.injections] * STEP.dt_h
    for mode in (False, True):
        one, dark = replace(group, shift=np.full(2, mode)), points.copy()
        after, _ = one.act(np.zeros((2, 1)), one.initial(), dark, STEP)
        after, _ = one.check(after, dark, engine.solve(dark))
        rest = -dark.kw[group.injections] * STEP.dt_h
        assert one.unmet_kwh(one.initial(), after, STEP) + rest == pytest.approx(demand)
    engine.close()


def test_a_load_weighs_as_its_class_does(tmp_path):
    feeder, group, _ = switched(tmp_path, FlexibleLoads, [spec(priority=2)])
    told = PrioritySpec(critical=ClassSpec(weight=10, loads=("small",)), important=ClassSpec(weight=3))
    informed = group.with_priorities(Priorities.build(told, feeder))
    assert dict(zip(informed.names, informed.priority, strict=True)) == {"big": 2, "small": 20}


def test_flexible_loads_of_a_circuit(tmp_path):
    feeder, group, _ = switched(tmp_path, FlexibleLoads, [spec(names=("Small",), most=0.5, act_every=2)])
    assert group.names == ("small",)
    assert group.buses == ("b",)
    assert group.base_kwh.tolist() == [100]
    assert group.act_every.tolist() == [2]
    with pytest.raises(ValueError, match="'huge' does not exist"):
        FlexibleLoads.build([spec(names=("huge",))], feeder)
    with pytest.raises(ValueError, match="defined twice"):
        FlexibleLoads.build([spec(), spec(names=("big",))], feeder)


@pytest.mark.parametrize("wrong", [{"most": 0}, {"most": 1.1}, {"payback": 0.9}, {"payback_h": 0}, {"mode": "drop"}])
def test_a_load_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        spec(**wrong)

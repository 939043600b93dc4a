"""Converters: what reactive power costs, worked out by hand, and volt-watt settled with the power flow."""

import numpy as np
import pytest
from device_cases import KVA, STEP, batteries, lossy, setpoints, some_action

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.devices import Batteries, Inverters, SteppedInverters
from dss_marl.devices.battery import BatterySpec
from dss_marl.devices.converters import Converters, ConverterSpec
from dss_marl.devices.inverter import InverterSpec
from dss_marl.devices.stepped_inverter import SteppedInverterSpec
from dss_marl.devices.volt_watt_curve import VoltWatt, VoltWattSpec

LOSSES = {"standby": 0.01, "proportional": 0.02, "quadratic": 0.03}


def one(kind, spec):
    """A device of 100 kVA at bus 848 of ieee34, and set points of the feeder."""
    feeder = read_feeder("ieee34", injections=kind.added_units([spec]))
    return kind.build([spec], feeder), feeder.setpoints()


def test_losses_are_those_of_the_apparent_power_less_those_of_the_active_power_alone():
    """60 kW and 80 kvar of 100 kVA: 2 % of 40 kVA more, and 3 % of 100 - 36 kVA^2/kVA: 0.8 + 1.92 kW."""
    group, points = one(
        Inverters, InverterSpec(kind="inverter", bus="848", kw=80, kva=100, category="none", losses=LOSSES)
    )
    points.kw[group.injections] = 60.0
    group.act(np.array([[1.0]]), group.initial(), points, STEP)
    assert points.kvar[group.injections] == pytest.approx(80)
    assert points.converter_kw[group.injections] == pytest.approx(0.8 + 1.92)
    assert points.kw[group.injections] == pytest.approx(60 - 2.72)


def test_at_night_the_converter_draws_all_of_its_losses_from_the_grid():
    """44 kvar of 100 kVA without sun: 1 + 0.88 + 0.5808 kW; and none of it without kvar."""
    group, points = one(Inverters, InverterSpec(kind="inverter", bus="848", kw=80, kva=100, losses=LOSSES))
    for entry, lost in ((-1.0, 2.4608), (0.0, 0.0)):
        points.kw[group.injections] = 0.0
        group.act(np.array([[entry]]), group.initial(), points, STEP)
        assert points.kvar[group.injections] == pytest.approx(44 * entry)
        assert points.kw[group.injections] == pytest.approx(-lost)
        assert points.converter_kw[group.injections] == pytest.approx(lost)


def test_unity_power_factor_and_lossless_converters_feed_in_all_of_the_sun(rng):
    group, points = lossy(), setpoints(rng, 50)
    sun = points.kw.copy()
    action = some_action(group, rng, 50)
    action[..., 0], action[..., 1] = 0.0, np.abs(action[..., 1])
    group.act(action, np.zeros((50, 4, group.state_size)), points, STEP)
    assert np.array_equal(points.kw[..., group.injections], np.minimum(sun[..., group.injections], KVA))
    assert (points.converter_kw == 0).all()
    lossless, points = one(Inverters, InverterSpec(kind="inverter", bus="848", kw=80, losses="none"))
    points.kw[lossless.injections] = 40.0
    lossless.act(np.array([[1.0]]), lossless.initial(), points, STEP)
    assert points.kw[lossless.injections] == 40.0
    assert points.converter_kw is None


def test_the_defaults_lose_between_two_and_three_percent_at_european_efficiency():
    """Weighted by 3, 6, 13, 10, 48 and 20 % at 5, 10, 20, 30, 50 and 100 % of the rating, as in the standard."""
    converters = Converters.of([ConverterSpec(kind="x")], np.array([1.0]))
    part, weight = np.array([5, 10, 20, 30, 50, 100]) / 100, np.array([3, 6, 13, 10, 48, 20]) / 100
    efficiency = part / (part + converters.losses_kw(part))
    assert 0.97 < weight @ efficiency < 0.98


def test_the_rating_holds_with_losses_drawn_from_the_grid(rng):
    """The kVA at the terminals, of inverters whose category leaves all of the circle, and of batteries that charge."""
    specs = [InverterSpec(kind="inverter", bus="848", kw=100, kva=100, category="none", losses=LOSSES, curtail=True)]
    feeder = read_feeder("ieee34", injections=Inverters.added_units(specs))
    group = Inverters.build(specs, feeder)
    points = feeder.setpoints()
    points.kw, points.kvar = np.zeros((2000, points.kw.size)), np.zeros((2000, points.kw.size))
    points.kw[:, group.injections] = rng.choice([0.0, 0.01, 1.0, 50.0, 99.0, 100.0, 130.0], (2000, 1))
    group.act(some_action(group, rng, 2000), np.zeros((2000, 1, 2)), points, STEP)
    kva = np.hypot(points.kw, points.kvar)[:, group.injections]
    assert kva.max() <= 100 * (1 + 1e-12)
    assert kva.max() == pytest.approx(100)
    spec = BatterySpec(kind="battery", bus="848", kw=100, kwh=1e6, reactive=True, category="none", losses=LOSSES)
    group, points = one(Batteries, spec)
    points.kw, points.kvar = np.zeros((2000, points.kw.size)), np.zeros((2000, points.kw.size))
    group.act(some_action(group, rng, 2000), np.tile(group.initial(), (2000, 1, 1)), points, STEP)
    kva = np.hypot(points.kw, points.kvar)[:, group.injections]
    assert kva.max() <= 100 * (1 + 1e-12)
    assert (points.converter_kw[:, group.injections] > 1).any()


def test_stepped_inverters_and_batteries_have_the_same_capability_and_losses():
    """Night, all the kvar: 44 of 100 kVA at 2.4608 kW in each of them."""
    stepped = SteppedInverterSpec(kind="stepped_inverter", bus="848", kw=80, kva=100, step=1.0, losses=LOSSES)
    battery = BatterySpec(kind="battery", bus="848", kw=100, kwh=100, reactive=True, losses=LOSSES)
    for kind, spec, action in ((SteppedInverters, stepped, [1.0]), (Batteries, battery, [0.0, 1.0])):
        group, points = one(kind, spec)
        state, _ = group.act(np.array([action]), group.initial(), points, STEP)
        assert points.kvar[group.injections] == pytest.approx(44)
        assert points.kw[group.injections] == pytest.approx(-2.4608)
        if kind is Batteries:
            assert state[0, 2] == 0.5


def test_a_battery_without_reactive_power_has_no_losses_beyond_its_efficiencies(rng):
    group, points = batteries([False] * 4), setpoints(rng)
    group.act(some_action(group, rng), group.initial(), points, STEP)
    assert points.converter_kw is None


def test_category_a_absorbs_less_than_it_injects():
    group, points = one(Inverters, InverterSpec(kind="inverter", bus="848", kw=80, kva=100, category="A"))
    for entry, kvar in ((1.0, 44.0), (-1.0, -25.0)):
        group.act(np.array([[entry]]), group.initial(), points, STEP)
        assert points.kvar[group.injections] == pytest.approx(kvar)
        assert group.reach(np.array([entry]), np.zeros(1)) == pytest.approx(abs(kvar))


def test_the_slope_of_the_losses_is_that_of_their_differences(rng):
    converters = lossy().converters
    kw, kvar = rng.uniform(-50, 50, (20, 4)), rng.uniform(-20, 20, (20, 4))
    found = converters.added_kw(kw, kvar + 1e-4) - converters.added_kw(kw, kvar - 1e-4)
    assert converters.added_slope(kw, kvar) == pytest.approx(found / 2e-4, abs=1e-7)


# --- volt-watt -------------------------------------------------------------------------------------------------------


def test_the_default_volt_watt_curve_is_that_of_the_standard():
    """All power up to 1.06 pu, a fifth from 1.10 pu, straight in between; inf without a curve."""
    ones = np.ones(2)
    curve = VoltWatt.of([True, False], 50 * ones, 60 * ones, ones)
    for v_pu, kw in ((0.9, 50), (1.06, 50), (1.08, 30), (1.10, 10), (1.3, 10)):
        assert curve.most_kw(v_pu * ones) == pytest.approx([kw, np.inf])


def test_a_volt_watt_curve_that_does_not_fall_is_refused():
    with pytest.raises(ValueError, match=r"v1_pu 1[.]1 is not below v2_pu 1[.]1; raise v2_pu"):
        VoltWattSpec(v1_pu=1.1)


@pytest.mark.parametrize("mode", ["share", "volt_var"])
@pytest.mark.parametrize("priority", ["watt", "var"])
def test_the_active_power_settles_on_the_volt_watt_curve(mode, priority):
    """Of large units at the end of a feeder, on OpenDSS; one without a curve feeds in all of its sun."""
    rest = {"mode": mode, "priority": priority, "losses": LOSSES}
    specs = [
        InverterSpec(kind="inverter", bus="848", kw=1500, volt_watt=True, **rest),
        InverterSpec(kind="inverter", bus="822", kw=200, phases=(1,), volt_watt=VoltWattSpec(p2=0.0), **rest),
        InverterSpec(kind="inverter", bus="840", kw=300, **rest),
    ]
    feeder = read_feeder("ieee34", ["batchedit load..* vminpu=0.8 vmaxpu=1.3"], Inverters.added_units(specs))
    group = Inverters.build(specs, feeder)
    assert group.voltage_dependent
    points, rows = feeder.setpoints(), group.injections
    sun = np.array([1500.0, 200.0, 300.0])
    points.kw[rows] = sun
    action = np.zeros((3, len(group.action_labels)))
    action[:, 0] = 0.2
    state, _ = group.act(action, group.initial(), points, STEP)
    engine = OpenDSSEngine(feeder, tolerance=1e-8)
    solution, solves = engine.solve(points), 1
    while group.respond(state, points, solution) > 1e-4:
        solution, solves = engine.solve(points), solves + 1
        assert solves < 60
    assert solves > 3
    v_pu = np.array([solution.v_pu[list(feeder.injections[j].nodes)].mean() for j in rows])
    before = points.kw[rows] + points.converter_kw[rows]
    assert before[:2] == pytest.approx(np.minimum(sun, group.watt.most_kw(v_pu))[:2], abs=0.2)
    assert before[2] == pytest.approx(sun[2])
    assert (before[:2] < 0.95 * sun[:2]).all()
    kept, _ = group.check(state, points, solution)
    assert (kept[:, -1] == 0).all()
    again = feeder.setpoints()
    group.hold(kept, again, STEP)
    assert (again.kw[rows] + again.lost_kw[rows] == 0).all()  # no sun: nothing that the curve remembered
    engine.close()

"""Inverters: circle, available PV, categories, priorities, power factors and volt-var curves."""

from dataclasses import replace

import numpy as np
import pytest
from device_cases import CURTAIL, KVA, KW, STEP, inverters, reached, setpoints, some_action

from dss_marl import OpenDSSEngine, load_scenario, make, read_feeder
from dss_marl.controllers.rules.droop import Droop
from dss_marl.devices import Inverters
from dss_marl.devices import volt_var_curve as volt_var
from dss_marl.devices.inverter import InverterSpec


@pytest.mark.parametrize("curtail", [np.zeros(4), CURTAIL, np.ones(4)])
def test_an_inverter_stays_within_its_circle_and_its_sun(curtail, rng):
    group = inverters(curtail)
    points = setpoints(rng, 2000)
    points.kw[:50, group.injections] = 0.0  # night
    points.kw[50:100, group.injections] = KW  # all available PV
    points.kw[100:150, group.injections] = 1.5 * KVA  # more than it can take
    sun = points.kw[..., group.injections].copy()
    action = np.clip(rng.normal(0, 1, (2000, 4, len(group.action_labels))), -1, 1)
    group.act(action, np.zeros((2000, 4, 2)), points, STEP)
    kw, kvar = points.kw[..., group.injections], points.kvar[..., group.injections]
    assert (kw**2 + kvar**2 <= KVA**2 * (1 + 1e-12)).all()
    assert (kw >= 0).all()
    assert (kw <= sun).all()
    assert np.isfinite(kvar).all()
    assert (np.sign(kvar[kw < KVA]) == np.sign(action[..., 0][kw < KVA])).all()


def test_a_whole_share_reaches_the_circle_also_at_night(rng):
    group = inverters(np.zeros(4))
    for share in (-1.0, 1.0):
        points = setpoints(rng, 2)
        points.kw[0, group.injections] = 0.0
        group.act(np.full((2, 4, 1), share), np.zeros((2, 4, 2)), points, STEP)
        kw, kvar = points.kw[..., group.injections], points.kvar[..., group.injections]
        assert np.hypot(kw, kvar) == pytest.approx(np.tile(KVA, (2, 1)))
        assert kvar[0] == pytest.approx(share * KVA)


def test_sun_is_held_back_only_where_that_is_allowed():
    """By the negative part of the second entry; elsewhere the request counts as limited."""
    group = inverters()
    assert len(group.action_labels) == 2
    points = setpoints(np.random.default_rng(0))
    sun = points.kw[group.injections].copy()
    _, limited = group.act(np.array([[0.0, -0.25]] * 4), group.initial(), points, STEP)
    assert points.kw[group.injections] == pytest.approx(np.where(CURTAIL, 0.75, 1.0) * sun)
    assert limited.tolist() == [1, 0, 0, 1]
    again = setpoints(np.random.default_rng(0))
    _, limited = group.act(np.array([[0.0, 0.9]] * 4), group.initial(), again, STEP)
    assert again.kw[group.injections] == pytest.approx(sun)
    assert limited.tolist() == [0, 0, 0, 0]
    off = setpoints(np.random.default_rng(0))
    group.act(np.array([[0.0, -1.0]] * 4), group.initial(), off, STEP)
    assert off.kw[group.injections][CURTAIL == 1] == pytest.approx(0)


def test_without_curtailment_there_is_one_entry():
    assert len(inverters(np.zeros(4)).action_labels) == 1


def test_a_held_inverter_keeps_its_share_under_another_sun():
    group = inverters()
    points = setpoints(np.random.default_rng(0))
    kept, _ = group.act(np.array([[0.5, -0.5]] * 4), group.initial(), points, STEP)
    later = setpoints(np.random.default_rng(1))
    sun = later.kw[group.injections].copy()
    group.hold(kept, later, STEP)
    kw = np.where(CURTAIL, 0.5, 1.0) * sun
    assert later.kw[group.injections] == pytest.approx(kw)
    assert later.kvar[group.injections] == pytest.approx(0.5 * np.sqrt(KVA**2 - kw**2))


def test_the_initial_memory_holds_a_unit_at_unity_power_factor():
    group = inverters()
    points = setpoints(np.random.default_rng(0))
    sun = points.kw[group.injections].copy()
    group.hold(group.initial(), points, STEP)
    assert np.array_equal(points.kw[group.injections], sun)
    assert (points.kvar[group.injections] == 0).all()


def test_opendss_delivers_what_inverters_set():
    """From action to the grid, watts and vars, in the sign of the docs: + into the grid."""
    specs = [
        InverterSpec(kind="inverter", bus=848, kw=100, category="none", losses="none"),
        InverterSpec(kind="inverter", bus="822", kw=50, phases=(1,), category="none", losses="none"),
    ]
    feeder = read_feeder("ieee34", injections=Inverters.added_units(specs))
    group = Inverters.build(specs, feeder)
    assert group.names == ("inverter_848", "inverter_822_1")
    assert group.kva.tolist() == [120, 60]
    points = feeder.setpoints()
    points.kw[group.injections] = [80.0, 20.0]
    engine = OpenDSSEngine(feeder, tolerance=1e-8)
    rest = engine.solve(points)
    group.act(np.array([[1.0], [-1.0]]), group.initial(), points, STEP)
    solution = engine.solve(points)
    assert solution.served_kw[group.injections] == pytest.approx([80, 20], abs=1e-3)
    given = np.sqrt(120**2 - 80**2) - np.sqrt(60**2 - 20**2)
    assert rest.source_kvar - solution.source_kvar == pytest.approx(given, rel=0.35)
    bus = [feeder.node_index[f"848.{p}"] for p in (1, 2, 3)]
    assert (solution.v_pu[bus] > rest.v_pu[bus]).any()
    assert solution.v_pu[feeder.node_index["822.1"]] < rest.v_pu[feeder.node_index["822.1"]]
    engine.close()


def built(**rest):
    """A three-phase and a one-phase inverter on ieee34, lossless by default, and their feeder."""
    rest = {"losses": "none", **rest}
    specs = [
        InverterSpec(kind="inverter", bus="848", kw=300, **rest),
        InverterSpec(kind="inverter", bus="822", kw=50, phases=(1,), **rest),
    ]
    feeder = read_feeder("ieee34", injections=Inverters.added_units(specs))
    return Inverters.build(specs, feeder), feeder


@pytest.mark.parametrize(("category", "given", "taken"), [("A", 0.44, 0.25), ("B", 0.44, 0.44), ("none", 1.0, 1.0)])
@pytest.mark.parametrize("mode", ["share", "power_factor", "volt_var"])
@pytest.mark.parametrize("priority", ["watt", "var"])
def test_circle_and_category_hold_in_every_mode(category, given, taken, mode, priority, rng):
    group, feeder = built(category=category, mode=mode, priority=priority, curtail=True, power_factor_min=0.5)
    state = rng.uniform(-1, 1, (500, 2, group.state_size))
    action = some_action(group, rng, 500)
    points = feeder.setpoints()
    points.kw, points.kvar = np.zeros((500, points.kw.size)), np.zeros((500, points.kw.size))
    sun = group.kva * rng.choice([0, 0.3, 0.8, 0.95, 1.0, 1.3], (500, 2))
    points.kw[:, group.injections] = sun
    group.act(action, state, points, STEP)
    kw, kvar = points.kw[:, group.injections], points.kvar[:, group.injections]
    assert (np.hypot(kw, kvar) <= group.kva * (1 + 1e-12)).all()
    assert (kvar <= given * group.kva * (1 + 1e-12)).all()
    assert (kvar >= -taken * group.kva * (1 + 1e-12)).all()
    assert (kw <= sun).all()
    assert (kw >= 0).all()
    if mode == "share" and priority == "var":
        assert kvar == pytest.approx(action[..., 0] * np.where(action[..., 0] > 0, given, taken) * group.kva)
    if priority == "watt":
        assert kw == pytest.approx(np.minimum(sun * (1 + np.minimum(action[..., -1], 0)), group.kva))


def test_var_priority_cuts_sun_to_what_the_circle_leaves():
    """Category B at full rating: 0.44 S of reactive power leaves sqrt(1 - 0.44^2) = 0.898 S for active power."""
    group, feeder = built(category="B", priority="var")
    points = feeder.setpoints()
    points.kw[group.injections] = group.kva
    group.act(np.array([[1.0], [-0.5]]), group.initial(), points, STEP)
    assert points.kvar[group.injections] == pytest.approx(np.array([0.44, -0.22]) * group.kva)
    assert points.kw[group.injections] == pytest.approx(np.sqrt(1 - np.array([0.44, 0.22]) ** 2) * group.kva)


def test_no_reactive_power_at_night_where_that_is_not_allowed():
    for night in (True, False):
        group, feeder = built(night=night)
        points = feeder.setpoints()
        points.kw[group.injections] = [0.0, 10.0]
        group.act(np.ones((2, 1)), group.initial(), points, STEP)
        assert (points.kvar[group.injections] > 0).tolist() == [night, True]


def test_a_power_factor_is_what_the_entry_says():
    """Half the entry with a lowest factor of 0.8: 0.9, leading or lagging by its sign, at any sun."""
    group, feeder = built(mode="power_factor", power_factor_min=0.8, category="none")
    for share in (0.1, 0.7):
        points = feeder.setpoints()
        points.kw[group.injections] = share * group.kva
        group.act(np.array([[0.5], [-0.5]]), group.initial(), points, STEP)
        kw, kvar = points.kw[group.injections], points.kvar[group.injections]
        assert kw / np.hypot(kw, kvar) == pytest.approx([0.9, 0.9])
        assert np.sign(kvar).tolist() == [1, -1]


def test_var_priority_keeps_the_power_factor_at_the_circle():
    group, feeder = built(mode="power_factor", power_factor_min=0.8, priority="var", category="none")
    points = feeder.setpoints()
    points.kw[group.injections] = group.kva
    group.act(np.ones((2, 1)), group.initial(), points, STEP)
    assert points.kw[group.injections] == pytest.approx(0.8 * group.kva)
    assert points.kvar[group.injections] == pytest.approx(0.6 * group.kva)


def test_the_default_curve_is_that_of_category_b():
    """IEEE 1547-2018: (0.92, 0.44) (0.98, 0) (1.02, 0) (1.08, -0.44)."""
    v = np.array([0.80, 0.92, 0.95, 0.98, 1.0, 1.02, 1.05, 1.08, 1.2])
    expected = [0.44, 0.44, 0.22, 0, 0, 0, -0.22, -0.44, -0.44]
    assert volt_var.kvar_share(np.zeros((9, 3)), v) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("entries", "v", "share"),
    [
        ([1, 0, 0], 1.05, 0.0),
        ([1, 0, 0], 1.10, -0.22),
        ([-1, 0, 0], 0.90, 0.22),
        ([0, -1, 0], 0.97, 0.22),
        ([0, 1, 0], 0.97, 0.0),
        ([0, 0, 1], 0.97, 0.22),  # three times as steep
        ([0, 0, -1], 0.92, 0.44 / 3),
    ],
)
def test_the_entries_move_the_curve(entries, v, share):
    assert volt_var.kvar_share(np.array([entries], float), np.array([v])) == pytest.approx([share], abs=1e-12)


def settled(group, engine, points, state, solves=200, tolerance=1e-4):
    """The solution at which the set points agree with the voltages, and how many solves it took."""
    for count in range(solves):
        solution = engine.solve(points)
        if group.respond(state, points, solution) < tolerance:
            return solution, count
    raise AssertionError("did not settle")


@pytest.mark.parametrize("steepness", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("rating", [1.0, 10.0])
def test_the_kvar_settles_on_the_curve(steepness, rating):
    """On OpenDSS, also for steep curves of inverters far larger than the feeder was made for."""
    places = [("848", ()), ("890", ()), ("840", ()), ("822", (1,)), ("810", (2,))]
    specs = [
        InverterSpec(kind="inverter", bus=bus, kw=rating * (20 if phases else 100), phases=phases, mode="volt_var")
        for bus, phases in places
    ]
    feeder = read_feeder("ieee34", ["batchedit load..* vminpu=0.8 vmaxpu=1.2"], Inverters.added_units(specs))
    group = Inverters.build(specs, feeder)
    assert group.voltage_dependent
    points = feeder.setpoints()
    points.kw[group.injections] = 0.1 * group.kva / rating
    action = np.tile([0.0, -1.0, steepness], (5, 1))
    state, _ = group.act(action, group.initial(), points, STEP)
    engine = OpenDSSEngine(feeder, tolerance=1e-8)
    solution, count = settled(group, engine, points, state)
    assert count < 60
    for d, j in enumerate(group.injections):
        v = solution.v_pu[list(feeder.injections[j].nodes)].mean()
        share = points.kvar[j] / group.kva[d]
        assert share == pytest.approx(volt_var.kvar_share(action[d : d + 1], np.array([v]))[0], abs=2e-4)
    kept, exceeded = group.check(state, points, solution)
    assert (exceeded == 0).all()
    again = feeder.setpoints()
    again.kw[group.injections] = 0.1 * group.kva / rating
    group.hold(kept, again, STEP)
    assert again.kvar[group.injections] == pytest.approx(points.kvar[group.injections])
    assert settled(group, engine, again, kept)[1] == 0
    engine.close()


def test_inverters_of_one_scenario_share_a_mode():
    specs = [
        InverterSpec(kind="inverter", bus="848", kw=300),
        InverterSpec(kind="inverter", bus="890", kw=300, mode="volt_var"),
    ]
    feeder = read_feeder("ieee34", injections=Inverters.added_units(specs))
    with pytest.raises(ValueError, match="use one mode for all of a scenario"):
        Inverters.build(specs, feeder)


def test_a_mode_that_does_not_follow_voltages_does_not_settle(rng):
    group = inverters()
    state, points = reached(group, rng)
    before = points.kvar.copy()
    assert not group.voltage_dependent
    assert group.respond(state, points, None) == 0.0
    assert np.array_equal(points.kvar, before)


def test_an_action_scale_is_a_share_of_what_the_circle_leaves(rng):
    scaled, plain = (replace(inverters(np.zeros(4)), action_scale=c) for c in (np.array([1.0, 0.8, 0.6, 0.2]), 1.0))
    points = setpoints(rng, 50)
    action, twin = rng.uniform(-1, 1, (50, 4, 1)), points.copy()
    scaled.act(action, np.zeros((50, 4, 2)), points, STEP)
    plain.act(action, np.zeros((50, 4, 2)), twin, STEP)
    rows = plain.injections
    np.testing.assert_allclose(points.kvar[..., rows], [1.0, 0.8, 0.6, 0.2] * twin.kvar[..., rows], rtol=1e-12)
    np.testing.assert_array_equal(points.kw, twin.kw)


def test_a_droop_asks_for_the_same_kvar_whatever_the_action_scale():
    kvar = []
    for scale in (1.0, 0.7):
        devices = [{**spec, "action_scale": scale} for spec in load_scenario("case33_volt_var").devices]
        env = make("case33_volt_var", devices=devices, split="test")
        env.reset(options={"day": 121})
        droop = Droop()
        droop.reset(env)
        env.step(droop.act(env, {}))
        kvar.append(env.after.setpoints.kvar)
    np.testing.assert_allclose(kvar[0], kvar[1], atol=1e-6)


def test_an_action_scale_needs_shares():
    with pytest.raises(ValueError, match="action_scale is for mode share; in mode volt_var leave it out"):
        InverterSpec(kind="inverter", bus="b", kw=1, mode="volt_var", action_scale=0.5)

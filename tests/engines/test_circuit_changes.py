"""What a scenario changes in a circuit: takes over its PV systems, adds switches, ties and grid-forming units."""

import re

import numpy as np
import pytest
from own_circuits import CIRCUITS, plain, rows_by_name

from dss_marl import OpenDSSEngine, make, read_feeder
from dss_marl.grid.feeder import AddedSwitch, AddedUnit
from dss_marl.grid.feeder_report import feeder_report


def test_pv_systems_are_taken_over():
    """Each by a unit at its bus, phases and rating; the PVSystem is off, and nobody else is."""
    path = CIRCUITS["own_power"]
    feeder = read_feeder(path, injections=[AddedUnit(replaces="pvsystem.*")])
    units = {unit.name: unit for unit in feeder.units}
    assert {name: unit.injection for name, unit in units.items() if unit.injection} == {
        "pvsystem.pv1": "generator.pvsystem_pv1",  # a generator has the name
        "pvsystem.roof 2": "generator.roof 2",
        "pvsystem.roof3": "generator.roof3",
    }
    assert not any(name.startswith("pvsystem.") for name in feeder.uncontrolled)
    rows = feeder.injections[-3:]
    assert [(row.kw, row.bus, row.phases) for row in rows] == [
        (200, "a", (1, 2, 3)), (20, "b", (2,)), (30, "b", (1, 3)),
    ]  # fmt: skip
    engine, setpoints = OpenDSSEngine(feeder, tolerance=1e-10), feeder.setpoints()
    setpoints.kw[-3:], setpoints.kvar[-3:] = [150.4, 20, 15], [0, 20 * np.tan(np.arccos(0.95)), 0]
    solution = engine.solve(setpoints)  # what the PV systems give: 200 kW at 40 degrees and 0.8 sun, and so on
    truth = plain(path)
    expected = np.array([truth.v[node] for node in feeder.nodes]) / feeder.kv_base / 1000
    assert np.abs(solution.v_pu - expected).max() < 2e-5  # its own model has losses in the inverter's cut-in
    assert "3 controllable" in feeder_report(feeder)
    engine.close()


def scenario_on(path, **changes):
    return make(
        "ieee34_volt_var",
        feeder={"name": str(path), "taps": {}, "source_pu": None, "closed": {}},
        zones={"method": "balanced", "count": 1},
        excluded_buses=[],
        **changes,
    )


def test_devices_of_the_circuit_are_picked_up_without_naming_each():
    devices = [{"kind": "inverter", "names": ["roof3"], "curtail": True}, {"kind": "inverter", "names": "circuit"}]
    env = scenario_on(CIRCUITS["own_power"], devices=devices)
    (group,) = env.task.device_groups
    assert group.names == ("roof3", "pvsystem_pv1", "roof 2")
    assert group.kva.tolist() == [36, 240, 24]
    assert group.may_curtail.tolist() == [1, 0, 0]
    env.reset(seed=1)
    env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    env.close()
    env = scenario_on(CIRCUITS["regulators"], devices=[{"kind": "regulator"}])
    assert len(env.task.device_groups[0].names) == 5
    env.close()


@pytest.mark.parametrize(
    ("path", "device", "words"),
    [
        ("meshed", {"names": "circuit"}, "has no PVSystem to control"),
        ("own_power", {"names": ["nothere"]}, "'pvsystem.nothere' does not exist.*pvsystem.pv1"),
        ("own_power", {"names": "circuit", "bus": "a"}, "names already defines bus"),
    ],
)
def test_what_cannot_be_picked_up_is_explained(path, device, words):
    with pytest.raises(ValueError, match=words):
        scenario_on(CIRCUITS[path], devices=[{"kind": "inverter", **device}])


# --- switches, ties and grid-forming units that a scenario adds ------------------------------------------------------


def test_a_line_that_becomes_a_switch_keeps_its_impedance_and_the_solution():
    """`switch=yes` would write r = x = 1 over it."""
    plain_one, feeder = (
        read_feeder("ieee123"),
        read_feeder("ieee123", switches=[AddedSwitch("l67"), AddedSwitch("Line.L13")]),
    )
    old, new = rows_by_name(plain_one.branches), rows_by_name(feeder.branches)
    for name in ("line.l67", "line.l13"):
        assert new[name].kind == "switch" and old[name].kind == "line"
        assert feeder.switches[new[name].switch].name == name
        assert (new[name].r_ohm, new[name].x_ohm, new[name].length_km) == (
            old[name].r_ohm, old[name].x_ohm, old[name].length_km,
        )  # fmt: skip
    assert len(feeder.switches) == len(plain_one.switches) + 2
    assert feeder.nodes == plain_one.nodes and feeder.commands == plain_one.commands
    one = OpenDSSEngine(plain_one, tolerance=1e-9).solve(plain_one.setpoints())
    two = OpenDSSEngine(feeder, tolerance=1e-9).solve(feeder.setpoints())
    assert np.abs(one.v_pu - two.v_pu).max() < 1e-9


def test_a_tie_is_open_and_makes_no_node():
    plain_one = read_feeder("ieee123")
    feeder = read_feeder(
        "ieee123", switches=[AddedSwitch("spare", "54", "94"), AddedSwitch("t", "48", "25", (2, 3), 123)]
    )
    assert feeder.nodes == plain_one.nodes
    rows = rows_by_name(feeder.switches)
    assert not rows["line.spare"].closed and rows["line.spare"].phases == (1,)  # bus 94 has no other
    assert rows["line.t"].phases == (2, 3)
    tie = rows_by_name(feeder.branches)["line.t"]
    assert (tie.kind, tie.bus1, tie.bus2, tie.normal_amps) == ("switch", "48", "25", 123)
    assert tie.r_ohm == pytest.approx(1e-3, rel=1e-3)
    one = OpenDSSEngine(plain_one, tolerance=1e-9).solve(plain_one.setpoints())
    two = OpenDSSEngine(feeder, tolerance=1e-9).solve(feeder.setpoints())
    assert np.abs(one.v_pu - two.v_pu).max() < 1e-8
    assert np.array_equal(one.energised, two.energised)


WRONG_SWITCHES = {
    "line": (AddedSwitch("l999"), "line 'l999' does not exist"),
    "bus": (AddedSwitch("t", "48", "nowhere"), "bus 'nowhere' does not exist"),
    "phases": (AddedSwitch("t", "54", "94", (1, 2, 3)), "has phases [1]"),
    "no phase in common": (AddedSwitch("t", "94", "107"), "not at both buses"),
    "one bus": (AddedSwitch("t", "48"), "needs two buses"),
    "to itself": (AddedSwitch("t", "48", "48"), "to itself"),
    "name": (AddedSwitch("l13", "48", "25"), "choose another"),
    "voltage": (AddedSwitch("t", "61", "610"), "one voltage"),
}


@pytest.mark.parametrize("what", WRONG_SWITCHES)
def test_a_switch_that_cannot_be_is_explained(what):
    new, words = WRONG_SWITCHES[what]
    with pytest.raises(ValueError, match=re.escape(words)):
        read_feeder("ieee123", switches=[new])


def test_a_former_is_a_row_of_its_unit_and_nothing_else_shows():
    """Its source and its bus are OpenDSS's alone."""
    units = [AddedUnit("dg", "48", 300, kind="generator", forms=True), AddedUnit("pv", "65", 50)]
    feeder, plain_one = read_feeder("ieee123", injections=units), read_feeder("ieee123")
    unit, pv = feeder.injections[-2:]
    assert feeder.switches[unit.grid_forming_switch].name == "grid_forming.dg" and pv.grid_forming_switch == -1
    assert feeder.grid_forming_units.tolist() == [unit.grid_forming_switch]
    assert feeder.nodes == plain_one.nodes and feeder.buses == plain_one.buses
    assert feeder.branches == plain_one.branches and feeder.other_sources == ()
    with pytest.raises(ValueError, match="needs three"):
        read_feeder("ieee123", injections=[AddedUnit("dg", "94", 300, forms=True)])


def test_what_one_phase_feeds_is_alive_on_that_phase_only():
    """Through the delta transformer at bus 61 too: 54-94 brings phase a alone to what sw2 cuts off."""
    feeder = read_feeder("ieee123")
    closed, rows = feeder.setpoints().closed, [row.name for row in feeder.switches]
    closed[[rows.index("line.sw2"), rows.index("line.sw4")]] = False
    closed[rows.index("line.sw7")] = True  # 151-300 feeds bus 94
    closed[rows.index("line.sw8")] = True
    alive = feeder.energised(closed)
    for bus in ("54", "61", "610"):
        assert [bool(alive[feeder.node_index[f"{bus}.{p}"]]) for p in (1, 2, 3)] == [True, False, False]

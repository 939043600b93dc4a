"""What every engine must do with switches, dead parts and units that form islands."""

import numpy as np
import pytest
import raw
from common import feeder_with_units
from engine_cases import SWITCHED, arrays, switch_indices

from dss_marl import PowerFlowError, read_feeder
from dss_marl.grid.feeder import AddedSwitch, AddedUnit


@pytest.mark.parametrize("name", SWITCHED)
def test_every_switch_does_what_taking_the_line_out_does(build, name):
    """Opened where it is closed, closed where it is open; against a circuit without the open lines."""
    feeder = feeder_with_units(name)
    engine = build(feeder)
    for s in switch_indices(feeder):
        setpoints = feeder.setpoints()
        setpoints.closed[s] = not setpoints.closed[s]
        solution, truth = engine.solve(setpoints), raw.solve(feeder, setpoints)
        label = feeder.switches[s].name
        assert np.array_equal(solution.energised, truth.v_pu > 0.05), label
        assert np.abs(solution.v_pu - truth.v_pu)[solution.energised].max() < 1e-7, label
        assert solution.loss_kw == pytest.approx(truth.loss_kw, abs=2e-3), label
        assert solution.loading * [b.normal_amps for b in feeder.branches] == pytest.approx(
            truth.amps, rel=1e-5, abs=2e-3
        ), label


@pytest.mark.parametrize(("name", "switch", "dark"), [("ieee13", "671692", "692 675"), ("ieee123", "sw2", "152 52 53")])
def test_behind_an_open_switch_all_is_dead(build, name, switch, dark):
    """Voltage 0, nothing served, units off; and all comes back when it closes."""
    feeder = feeder_with_units(name)
    engine, setpoints = build(feeder, 1e-8), feeder.setpoints()
    units = np.setdiff1d(np.arange(len(feeder.injections)), feeder.loads)
    setpoints.kw[units] = feeder.nominal_kw[units]
    whole = engine.solve(setpoints)
    opened = setpoints.copy()
    opened.closed[[row.name for row in feeder.switches].index(f"line.{switch}")] = False
    solution = engine.solve(opened)
    on_dark = np.array([node.split(".")[0] in dark.split() for node in feeder.nodes])
    assert not solution.energised[on_dark].any()
    assert (solution.v_pu[~solution.energised] == 0).all()
    assert (solution.v_pu[solution.energised] > 0.8).all()
    dead = np.array([not solution.energised[list(row.nodes)].all() for row in feeder.injections])
    assert dead.any()
    assert solution.served_kw[dead] == pytest.approx(0, abs=1e-6)
    assert solution.served_kw[~dead] == pytest.approx(whole.served_kw[~dead], rel=0.1)
    open_branch = [b.name for b in feeder.branches].index(f"line.{switch}")
    assert solution.loading[open_branch] == 0
    again = engine.solve(setpoints)
    assert again.energised.all() == whole.energised.all()
    assert np.abs(again.v_pu - whole.v_pu).max() < 1e-8


def test_a_unit_on_a_dead_node_is_off(build):
    feeder = feeder_with_units("ieee13")
    setpoints = feeder.setpoints()
    unit = next(j for j, row in enumerate(feeder.injections) if row.kind != "load" and row.bus == "675")
    setpoints.kw[unit], setpoints.kvar[unit] = 400.0, 200.0
    setpoints.closed[[row.name for row in feeder.switches].index("line.671692")] = False
    solution = build(feeder).solve(setpoints)
    assert solution.served_kw[unit] == pytest.approx(0, abs=1e-6)
    assert (setpoints.kw[unit], setpoints.kvar[unit]) == (400.0, 200.0)


def test_nodes_dead_by_design_are_reported(build):
    """ieee123 has four buses behind open switches to other feeders."""
    feeder = read_feeder("ieee123")
    solution = build(feeder).solve(feeder.setpoints())
    dead = {node.split(".")[0] for node, alive in zip(feeder.nodes, solution.energised, strict=True) if not alive}
    assert dead == {"251", "451", "350", "195"}


def test_closing_a_tie_carries_power_the_other_way(build):
    """Two ways of feeding a part of case33; the meshed case must be right too."""
    feeder = read_feeder("case33")
    engine, setpoints = build(feeder), feeder.setpoints()
    radial = engine.solve(setpoints)
    meshed_setpoints = setpoints.copy()
    meshed_setpoints.closed[:] = True
    meshed = engine.solve(meshed_setpoints)
    ties = [b for b, row in enumerate(feeder.branches) if row.switch >= 0]
    opened = [b for b in ties if not setpoints.closed[feeder.branches[b].switch]]
    assert len(opened) == 5
    assert (radial.loading[opened] == 0).all()
    assert (meshed.loading[opened] > 0).all()
    assert meshed.loss_kw < 0.75 * radial.loss_kw  # 123.3 kW with all ties closed, 202.7 radial
    assert meshed.v_pu.min() > radial.v_pu.min() + 0.02


def test_a_load_with_a_dead_phase_is_off(build):
    """54-94 on phase a alone: a three-phase or delta load behind it would draw from phases that float."""
    feeder = read_feeder("ieee123")
    names = [row.name for row in feeder.switches]
    setpoints = feeder.setpoints()
    setpoints.closed[[names.index(f"line.sw{k}") for k in (2, 4)]] = False
    setpoints.closed[[names.index(f"line.sw{k}") for k in (7, 8)]] = True
    solution = build(feeder).solve(setpoints)
    alive = [solution.energised[list(row.nodes)] for row in feeder.injections]
    whole, partly = np.array([a.all() for a in alive]), np.array([a.any() and not a.all() for a in alive])
    assert partly.sum() >= 2
    assert solution.served_kw[~whole] == pytest.approx(0, abs=1e-6)
    assert solution.served_kw[whole] == pytest.approx(feeder.nominal_kw[whole], rel=0.25)
    assert (setpoints.kw == feeder.nominal_kw).all()  # the set points stay as they were


def test_random_switching_always_solves_and_the_live_nodes_are_those_with_a_voltage(build, rng):
    """Dead phases float up to 0.34 pu behind capacitors and delta loads, so 0.5 parts the two."""
    sections = ["l13", "l19", "l24", "l36", "l45", "l53", "l67", "l77", "l88", "l92", "l101", "l105"]
    feeder = read_feeder("ieee123", switches=[*map(AddedSwitch, sections), AddedSwitch("t", "54", "93")])
    engine, lines = build(feeder, 1e-5), switch_indices(feeder)
    for share in rng.choice([0.5, 0.8, 0.95], 60):
        setpoints = feeder.setpoints()
        setpoints.closed[lines] = rng.random(len(lines)) < share
        solution = engine.solve(setpoints)
        volts = raw_v_pu(engine)
        assert (volts[solution.energised] > 0.5).all()
        assert (volts[~solution.energised] < 0.5).all()


def raw_v_pu(engine):
    """(N) the engine's own voltages, dead nodes as they float."""
    feeder = engine.feeder
    if hasattr(engine, "raw_v_pu"):
        return engine.raw_v_pu
    context = engine._context
    names = [name.lower() for name in context.Circuit.AllNodeNames()]
    volts = dict(zip(names, context.Circuit.AllBusVMag(), strict=True))
    return np.array([volts[node] for node in feeder.nodes]) / feeder.kv_base / 1000


# --- grid-forming units ----------------------------------------------------------------------------------------------

RATED = {"35": 240, "48": 330, "64": 545, "78": 535, "95": 350, "108": 275}  # forming units of ieee123 [kW]


@pytest.fixture(scope="module")
def forming():
    """ieee123 with units that may form islands, its loads at constant power as far as 0.5 pu."""
    units = [AddedUnit(f"dg{bus}", bus, kw, kind="generator", forms=True) for bus, kw in RATED.items()]
    return read_feeder("ieee123", ["batchedit load..* vminpu=0.5 vmaxpu=1.3"], units)


def switched(feeder, opened=(), grid_forming_units=(), kw=()):
    """Set points with these lines open, these grid-forming units on and these followers at (kW, kvar)."""
    setpoints = feeder.setpoints()
    row = {switch.name.split(".")[1]: s for s, switch in enumerate(feeder.switches)}
    setpoints.closed[[row[name] for name in opened]] = False
    setpoints.closed[[row[f"dg{bus}"] for bus in grid_forming_units]] = True
    for bus, (p, q) in dict(kw).items():
        j = [unit.name for unit in feeder.injections].index(f"generator.dg{bus}")
        setpoints.kw[j], setpoints.kvar[j] = p, q
    return setpoints


def test_a_feeder_in_four_parts_balances_in_each(build, forming):
    """The three islands of our study (sw2, sw3, sw4 open, nothing shed): 635, 551 and 887 kW; the grid the rest."""
    setpoints = switched(
        forming, ["sw2", "sw3", "sw4"], ["48", "64", "78"], {"35": (120, 60), "95": (300, 0), "108": (240, 0)}
    )
    solution, truth = build(forming).solve(setpoints), raw.solve(forming, setpoints)
    given = dict(zip(RATED, solution.grid_forming_kw.sum(axis=-1), strict=True))
    assert given == pytest.approx({"35": 0, "48": 635, "64": 551, "78": 887, "95": 0, "108": 0}, abs=0.5)
    assert solution.source_kw == pytest.approx(781.7, abs=0.5)
    assert solution.source_kw + solution.grid_forming_kw.sum() == pytest.approx(truth.source_kw, abs=0.01)
    assert solution.source_kvar + solution.grid_forming_kvar.sum() == pytest.approx(truth.source_kvar, abs=0.01)
    assert solution.source_kw + solution.served_kw.sum() == pytest.approx(truth.loss_kw, abs=0.01)
    assert solution.loss_kw == pytest.approx(truth.loss_kw, abs=0.01)
    assert np.abs(solution.v_pu - truth.v_pu)[solution.energised].max() < 1e-6
    for bus in ("48", "64", "78"):
        j = [unit.name for unit in forming.injections].index(f"generator.dg{bus}")
        assert solution.served_kw[j] == pytest.approx(given[bus])
        at = [forming.node_index[f"{bus}.{p}"] for p in (1, 2, 3)]
        assert solution.v_pu[at] == pytest.approx(1.0, abs=1e-3)
    assert solution.energised.sum() == len(forming.nodes) - 12  # all but the buses of other feeders


def test_a_grid_forming_unit_in_parallel_with_another_source_fails(build, forming):
    """OpenDSS would solve it, and circulate as much as the impedance between the two lets pass."""
    engine = build(forming)
    with pytest.raises(PowerFlowError, match=r"grid_forming.dg48 is on"):
        engine.solve(switched(forming, grid_forming_units=["48"]))
    with pytest.raises(PowerFlowError, match=r"grid_forming.dg48 is on"):
        engine.solve(switched(forming, ["sw3"], ["35", "48"]))
    assert engine.solve(switched(forming, ["sw3"], ["35"])).grid_forming_kw[0].sum() > 100


def test_grid_forming_units_leave_no_trace(build, forming):
    """An island, another, the grid again: each as in a new engine; after a restart bitwise."""
    cases = [
        switched(forming),
        switched(forming, ["sw3"], ["48"], {"35": (100, 0)}),
        switched(forming, ["sw3"]),
        switched(forming, ["sw4", "sw3"], ["78", "48"]),
        switched(forming, kw={"48": (300, 50)}),
    ]
    engine = build(forming)
    expected = [arrays(build(forming).solve(case)) for case in cases]
    for case, wanted in zip(cases, expected, strict=True):
        assert np.abs(arrays(engine.solve(case)) - wanted).max() < 1e-4  # kW too
    for case, wanted in zip(cases[::-1], expected[::-1], strict=True):
        engine.restart()
        assert np.array_equal(arrays(engine.solve(case)), wanted)


def test_without_grid_forming_units_there_are_none(build):
    feeder = feeder_with_units("ieee13")
    solution = build(feeder).solve(feeder.setpoints())
    assert solution.grid_forming_kw.shape == solution.grid_forming_kvar.shape == (0, 3)

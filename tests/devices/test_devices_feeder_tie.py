"""Ties to other feeders and grid-forming units: what they may be closed onto, and what counts as refused."""

import numpy as np
import pytest

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.devices import device_kind
from dss_marl.grid.state import Interval

HOLD, CLOSE, OPEN = 0.0, 1.0, -1.0


def at(step=0):
    return Interval(step, 0.0, 0.25)


def tied(*buses, kva=900.0):
    kind = device_kind("feeder_tie")
    specs = [kind.Spec(kind="feeder_tie", bus=bus, kva=kva) for bus in buses]
    feeder = read_feeder("ieee123", injections=kind.added_units(specs))
    return kind.build(specs, feeder), feeder, {row.name.split(".")[1]: s for s, row in enumerate(feeder.switches)}


def test_a_tie_that_is_held_is_never_refused():
    """Where it could not close, while it waits after a trip, and while it is closed."""
    group, feeder, row = tied("250", "450")
    setpoints = feeder.setpoints()
    setpoints.closed[row["sw4"]] = False  # what 450 lies in; 250 stays on the grid
    state = group.initial()
    for step, (asked, refused) in enumerate([((HOLD, HOLD), 0), ((CLOSE, CLOSE), 1), ((HOLD, HOLD), 0)]):
        kept = state.copy()
        after, limited = group.act(np.array(asked)[:, None], state, setpoints, at(step))
        assert limited.tolist() == [refused, 0]
        assert np.array_equal(state, kept)
        state = after
    state[1, 0] = 0.4  # h, after a trip
    for step, left in ((3, 0.15), (4, 0.0)):
        after, limited = group.act(np.full((2, 1), HOLD), state, setpoints, at(step))
        assert not limited.any() and not setpoints.closed[group.grid_forming_units].any()
        assert after[1, 0] == pytest.approx(left)
        state = after


def test_a_tie_may_not_close_onto_a_part_that_another_feeder_feeds_on_one_phase_alone():
    """54-94 on phase a feeds what sw2 and sw4 cut off: phases b and c are dead there, and a is not."""
    group, feeder, row = tied("57")
    setpoints = feeder.setpoints()
    setpoints.closed[[row["sw2"], row["sw4"]]] = False
    topology = group.topology
    assert topology.may_supply(setpoints.closed, group.grid_forming_units[0])
    setpoints.closed[[row["sw7"], row["sw8"]]] = True
    alive = feeder.energised(setpoints.closed)
    assert [bool(alive[feeder.node_index[f"57.{p}"]]) for p in (1, 2, 3)] == [True, False, False]
    assert not topology.may_supply(setpoints.closed, group.grid_forming_units[0])
    assert not group.feasible(np.array([[CLOSE]]), group.initial(), setpoints, at()).any()


CUT_OFF = """\
clear
new circuit.c phases=3 basekv=10 pu=1 mvasc3=100 mvasc1=100
new line.a bus1=sourcebus bus2=b r1=1 x1=2 r0=1 x0=2 c1=0 c0=0 length=1 units=km normamps=100
new line.gone bus1=b bus2=c r1=1 x1=2 r0=1 x0=2 c1=0 c0=0 length=1 units=km normamps=100
new line.d bus1=c bus2=d r1=1 x1=2 r0=1 x0=2 c1=0 c0=0 length=1 units=km normamps=100
new load.big bus1=b phases=3 kv=10 kw=500 kvar=300 model=1
new load.small bus1=d phases=3 kv=10 kw=100 kvar=20 model=1
set voltagebases=[10]
calcvoltagebases
line.gone.enabled=no
"""


def test_a_unit_whose_switch_is_the_only_one_feeds_what_is_cut_off(tmp_path):
    """A line that is out of service leaves c and d without a source; the unit's row is the feeder's first."""
    (tmp_path / "cut_off.dss").write_text(CUT_OFF)
    kind = device_kind("generator")
    specs = [kind.Spec(kind="generator", bus="c", kw=300, forming=True)]
    feeder = read_feeder(tmp_path / "cut_off.dss", injections=kind.added_units(specs))
    group = kind.build(specs, feeder)
    assert group.grid_forming_units.tolist() == [0] and len(feeder.switches) == 1
    engine, setpoints = OpenDSSEngine(feeder), feeder.setpoints()
    _, limited = group.act(np.array([[-1.0, 0.0]]), group.initial(), setpoints, at())
    dark = engine.solve(setpoints)
    assert not setpoints.closed[0] and dark.energised.sum() == 6
    state, limited = group.act(np.array([[0.0, 0.0]]), group.initial(), setpoints, at())
    lit = engine.solve(setpoints)
    state, tripped = group.check(state, setpoints, lit)
    assert setpoints.closed[0] and lit.energised.all() and not limited.any() and not tripped.any()
    assert lit.grid_forming_kw.sum() == pytest.approx(100, abs=1)
    assert lit.source_kw == pytest.approx(dark.source_kw, abs=0.01)
    assert group.telemetry(state, setpoints, at(1))[0, 1] == 1

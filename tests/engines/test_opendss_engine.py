"""What is the OpenDSS engine's own: its floor, its errors, what it remembers, and the impedances that it reads."""

import numpy as np
import pytest
from common import feeder_with_units

from dss_marl import OpenDSSEngine, PowerFlowError, read_feeder
from dss_marl.engines.opendss.branches import _series_impedance
from dss_marl.engines.opendss.injections import new_unit
from dss_marl.engines.opendss.solver_calls import SolverCalls
from dss_marl.grid.elements import Bus
from dss_marl.grid.feeder import AddedUnit


def test_the_floor_is_where_units_stop_to_deliver():
    feeder = feeder_with_units("ieee13")
    assert OpenDSSEngine(feeder).floor_pu == OpenDSSEngine(feeder, floor_pu=0.4).floor_pu == 0.4
    with pytest.raises(ValueError, match=r"floor_pu must be at least 0\.4: .*; got 0\.39"):
        OpenDSSEngine(feeder, floor_pu=0.39)
    high = OpenDSSEngine(feeder, floor_pu=0.99)
    with pytest.raises(PowerFlowError, match=r"below the floor of 0\.99 pu"):
        high.solve(feeder.setpoints())
    high.close()


def broken(monkeypatch, times):
    """A call that nobody checks leaves an error behind, this many times, before a solve."""
    solve, left = SolverCalls.solve, [times]

    def raising(self):
        left[0] -= 1
        if left[0] >= 0:
            self._lib.Text_Set_Command(b"new nothing.of_the_kind")
        return solve(self)

    monkeypatch.setattr(SolverCalls, "solve", raising)


def test_an_error_of_opendss_within_a_solve_is_a_failed_power_flow_and_the_next_solve_compiles_again(monkeypatch):
    feeder = feeder_with_units("ieee13")
    engine, setpoints = OpenDSSEngine(feeder, tolerance=1e-9), feeder.setpoints()
    expected = engine.solve(setpoints)
    other = setpoints.copy()
    other.tap[:] = 5
    moved = engine.solve(other)
    engine.solve(setpoints)
    broken(monkeypatch, times=1)
    again = engine.solve(other)  # a warm start that fails is tried again in a circuit that is compiled again
    assert np.array_equal(again.tap, other.tap)
    assert np.abs(again.v_pu - moved.v_pu).max() < 1e-8
    broken(monkeypatch, times=1)
    engine.restart()
    with pytest.raises(PowerFlowError, match=r"OpenDSS on feeder 'ieee13': .*nothing"):
        engine.solve(other)
    assert engine._context is None, "what was half done is given back"
    assert np.array_equal(engine.solve(setpoints).v_pu, expected.v_pu)
    engine.close()


def test_the_switch_states_that_are_remembered_do_not_grow_without_bound():
    feeder = feeder_with_units("case33")
    engine, setpoints = OpenDSSEngine(feeder), feeder.setpoints()
    expected = engine.solve(setpoints).v_pu
    engine._supply._known = {k.to_bytes(4, "big"): (None, np.zeros(0, int)) for k in range(10_001)}
    assert np.array_equal(engine.solve(setpoints).energised, np.ones(len(feeder.nodes), bool))
    assert len(engine._supply._known) == 1
    assert np.abs(engine.solve(setpoints).v_pu - expected).max() < 1e-5
    engine.close()


def test_losses_of_opendss_need_a_solution():
    with pytest.raises(RuntimeError, match="element_loss_kw needs a solution; call solve first"):
        OpenDSSEngine(feeder_with_units("ieee13")).element_loss_kw()


START = """\
clear
new circuit.c phases=3 basekv=10 pu=1 mvasc3=100 mvasc1=100
new line.a bus1=sourcebus bus2=b r1=1 x1=2 r0=1 x0=2 c1=0 c0=0 length=1 units=km normamps=100
new line.s bus1=b bus2=e r1=1 x1=2 r0=4 x0=8 c1=0 c0=0 length=1 units=km normamps=100
{extra}
set voltagebases=[10]
calcvoltagebases
"""


def small(tmp_path, extra):
    (tmp_path / "small.dss").write_text(START.format(extra=extra))
    return read_feeder(tmp_path / "small.dss")


@pytest.mark.parametrize(
    ("opened", "phases", "z_ohm"),
    [
        ("", (1, 2, 3), 1 + 2j),
        ("open line.s 1 2", (1, 3), 1 + 2j),
        ("open line.s 1 2\nopen line.s 1 3", (1,), 2 + 4j),
        ("open line.s 1 2\nopen line.s 2 2", (1, 3), 1 + 2j),
    ],
)
def test_impedances_of_a_line_that_is_open_in_some_phases(tmp_path, opened, phases, z_ohm):
    """Positive sequence of what is closed, (2 z1 + z0) / 3 of one phase alone: self 2 + 4j, mutual 1 + 2j."""
    (row,) = [row for row in small(tmp_path, opened).branches if row.name == "line.s"]
    assert row.phases == phases
    assert complex(row.r_ohm, row.x_ohm) == pytest.approx(z_ohm)


class Element:
    """The active element of a context, by its primitive admittances (n, n)."""

    def __init__(self, y):
        self.CktElement, self.y = self, np.asarray(y, complex)

    def YPrim(self):  # noqa: N802  # as OpenDSSDirect calls it
        return self.y.ravel().view(float)


def test_an_element_without_impedances_of_its_own_has_none():
    """No admittance between its ends; an open conductor among those asked for; phases that only act together."""
    assert _series_impedance(Element(np.zeros((2, 2))), [0]) == 0
    own = np.diag([1.0, 1.0])
    assert _series_impedance(Element(np.block([[own, -own], [-own, own]])), [0, 1]) == pytest.approx(1)
    one = np.diag([1.0, 0.0])
    assert _series_impedance(Element(np.block([[one, -one], [-one, one]])), [0, 1]) == 0
    together = np.ones((2, 2))
    assert _series_impedance(Element(np.block([[together, -together], [-together, together]])), [0, 1]) == 0


def test_a_unit_needs_a_base_voltage():
    bus = Bus("c", (1, 2, 3), 0.0, None, None)
    with pytest.raises(ValueError, match="bus 'c' of feeder 'small' has no base voltage; no source reaches it"):
        new_unit(AddedUnit("pv", "c", 10.0), {"c": bus}, "small", lambda bus, phases: False)


def test_banks_do_not_decide_what_is_energised(monkeypatch):
    """So that no state of the banks costs a search of the graph: the first episode is as fast as the second."""
    feeder = feeder_with_units("ieee123")
    engine, setpoints = OpenDSSEngine(feeder), feeder.setpoints()
    engine.solve(setpoints)
    monkeypatch.setattr(type(feeder), "energised", lambda *_: pytest.fail("searched again"))
    banks = [s for s, row in enumerate(feeder.switches) if row.kind == "capacitor"]
    for s in banks:
        setpoints.closed[s] = not setpoints.closed[s]
        engine.solve(setpoints)
    assert banks
    engine.close()

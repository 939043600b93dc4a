"""Capacitors: states, steps of banks, and the time to discharge."""

import numpy as np
import pytest
from common import feeder_with_units
from device_cases import STEP, capacitors, setpoints

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.devices import Capacitors
from dss_marl.devices.capacitor import CapacitorSpec


@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize(
    ("action", "expected"),
    [(1.0, True), (0.34, True), (0.33, None), (0.0, None), (-0.33, None), (-0.34, False), (-1.0, False)],
)
def test_a_capacitor_switches_outside_a_third_and_stays_inside(action, expected, state):
    group, points = capacitors(), setpoints(np.random.default_rng(0))
    points.closed[:] = state
    _, limited = group.act(np.full((2, 1), action), group.initial(), points, STEP)
    assert points.closed[group.switches].tolist() == [state if expected is None else expected] * 2
    assert points.closed.dtype == bool
    assert limited.tolist() == [0, 0]


BANK = """\
clear
new circuit.c phases=3 basekv=10 pu=1 mvasc3=100 mvasc1=100
new line.l bus1=sourcebus bus2=b r1=1 x1=2 r0=1 x0=2 c1=0 c0=0 length=1 units=km normamps=100
new load.l bus1=b phases=3 kv=10 kw=500 kvar=300 model=1
new capacitor.bank bus1=b phases=3 kv=10 kvar=600 numsteps=3 states=[1 0 0]
set voltagebases=[10]
calcvoltagebases
"""


def test_each_step_of_a_bank_is_a_device(tmp_path):
    """A third of the bank's kvar each, together or by name."""
    (tmp_path / "bank.dss").write_text(BANK)
    feeder = read_feeder(tmp_path / "bank.dss")
    group = Capacitors.build([CapacitorSpec(kind="capacitor", names=("bank",))], feeder)
    assert group.size == 3
    assert [row.kvar for row in feeder.switches] == [200, 200, 200]
    points = feeder.setpoints()
    assert points.closed.tolist() == [True, False, False]
    engine = OpenDSSEngine(feeder, tolerance=1e-9)
    drawn = []
    for states in ([0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1], [1, 0, 0]):
        points.closed[:] = np.array(states, bool)
        drawn.append(engine.solve(points).source_kvar)
    one, other, third, every, again = drawn
    assert other == pytest.approx(third, abs=1e-4) == again
    assert one - other == pytest.approx(200, rel=0.15)
    assert one - every == pytest.approx(600, rel=0.15)
    engine.close()


def test_capacitors_of_a_circuit():
    feeder = feeder_with_units("ieee123")
    group = Capacitors.build([CapacitorSpec(kind="capacitor", names=("c90b", "C83"))], feeder)
    assert [feeder.switches[s].name for s in group.switches] == ["capacitor.c90b", "capacitor.c83"]
    assert group.buses == ("90", "83")
    every = Capacitors.build([CapacitorSpec(kind="capacitor")], feeder)
    assert every.size == 4
    assert {feeder.switches[s].kind for s in every.switches} == {"capacitor"}


def test_a_capacitor_discharges_before_it_closes_again():
    """It may open at any time; opened for half an hour, it refuses to close for two quarters."""
    group = capacitors(discharge_h=np.array([0.5, 0.0]))
    points, state = setpoints(np.random.default_rng(0)), group.initial()
    points.closed[:] = True
    seen = []
    for asked in (-1, 1, 1, -1, 0, 1):
        action = np.full((2, 1), float(asked))
        allowed = group.feasible(action, state, points, STEP)[:, 0]
        state, limited = group.act(action, state, points, STEP)
        seen.append((points.closed[group.switches].tolist(), limited.tolist()))
        assert (allowed == (limited == 0)).all()
    assert seen == [
        ([False, False], [0, 0]),
        ([False, True], [1, 0]),
        ([True, True], [0, 0]),
        ([False, False], [0, 0]),
        ([False, False], [0, 0]),
        ([True, True], [0, 0]),
    ]
    assert group.telemetry(state, points, STEP).tolist() == [[0.0], [0.0]]
    assert group.n_levels().tolist() == [[3], [3]]


def test_a_step_of_a_bank_is_found_by_its_own_name(tmp_path):
    """Also where lines that switch come before it in the Feeder's switches."""
    text = BANK.replace("new load", "new line.tie bus1=b bus2=c switch=yes\nnew load")
    (tmp_path / "bank.dss").write_text(text)
    feeder = read_feeder(tmp_path / "bank.dss")
    group = Capacitors.build([CapacitorSpec(kind="capacitor", names=("bank.2",), act_every=2)], feeder)
    assert [feeder.switches[s].name for s in group.switches] == ["capacitor.bank.2"]
    assert group.act_every.tolist() == [2]

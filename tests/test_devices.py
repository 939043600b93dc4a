"""Devices: their limits, for one and for many at once."""

import numpy as np
import pytest
from common import feeder_with_units

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.devices import Capacitors, Inverters, Regulators
from dss_marl.devices.base import DeviceGroup
from dss_marl.devices.capacitor import CapacitorSpec
from dss_marl.devices.inverter import InverterSpec
from dss_marl.devices.regulator import RegulatorSpec
from dss_marl.state import Setpoints

KVA = np.array([120.0, 60.0, 36.0, 240.0])
KW = np.array([100.0, 60.0, 30.0, 200.0])
CURTAIL = np.array([0.0, 1.0, 1.0, 0.0])


def inverters(curtail=CURTAIL):
    """Four, at injections 3, 1, 4 and 6 of seven."""
    return Inverters(tuple("abcd"), tuple("wxyz"), np.array([3, 1, 4, 6]), KVA, curtail)


def regulators():
    """Three, at taps 2, 0 and 1 of four, with 1, 2 and 5 moves a step."""
    ends = np.array([-16, -8, -16]), np.array([16, 8, 10])
    return Regulators(tuple("abc"), tuple("xyz"), np.array([2, 0, 1]), np.array([1, 2, 5]), *ends)


def capacitors():
    """Two, at switches 3 and 1 of four."""
    return Capacitors(tuple("ab"), tuple("xy"), np.array([3, 1]))


def setpoints(rng, *batch):
    """Of a feeder with seven injections, four taps and four switches; the inverters' kW is the sun's."""
    kw = -rng.uniform(1, 50, (*batch, 7))
    kw[..., [3, 1, 4, 6]] = KW * rng.uniform(0, 1, (*batch, 4))
    return Setpoints(
        kw, rng.uniform(-9, 0, (*batch, 7)), rng.integers(-8, 9, (*batch, 4)), rng.random((*batch, 4)) < 0.5
    )


# --- any kind --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [inverters, regulators, capacitors])
@pytest.mark.parametrize("batch", [(5,), (2, 3)])
def test_many_at_once_are_as_one_by_one(make, batch, rng):
    group = make()
    shape = (*batch, group.size)
    action = rng.uniform(-1, 1, (*shape, len(group.action_labels)))
    memory = rng.uniform(-1, 0, (*shape, group.memory_size))
    together = setpoints(rng, *batch)
    before = together.copy()
    kept, limited = group.act(action, memory, together, 0.25)
    group.hold(kept, together)
    assert kept.shape == (*shape, group.memory_size)
    assert limited.shape == shape
    for k in np.ndindex(batch):
        alone = Setpoints(before.kw[k].copy(), before.kvar[k].copy(), before.tap[k].copy(), before.closed[k].copy())
        kept_alone, limited_alone = group.act(action[k], memory[k], alone, 0.25)
        group.hold(kept_alone, alone)
        assert np.array_equal(kept[k], kept_alone)
        assert np.array_equal(limited[k], limited_alone)
        for name in ("kw", "kvar", "tap", "closed"):
            assert np.array_equal(getattr(together, name)[k], getattr(alone, name)), name


@pytest.mark.parametrize("make", [inverters, regulators, capacitors])
def test_a_group_touches_only_its_own_set_points_and_no_argument(make, rng):
    group = make()
    action = rng.uniform(-1, 1, (group.size, len(group.action_labels)))
    memory = group.initial()
    changed = setpoints(rng)
    before, asked, kept = changed.copy(), action.copy(), memory.copy()
    group.act(action, memory, changed, 0.25)
    assert np.array_equal(action, asked)
    assert np.array_equal(memory, kept)
    own = {
        "kw": getattr(group, "injections", []),
        "kvar": getattr(group, "injections", []),
        "tap": getattr(group, "taps", []),
        "closed": getattr(group, "switches", []),
    }
    for name, index in own.items():
        others = np.setdiff1d(np.arange(getattr(before, name).shape[-1]), index)
        assert np.array_equal(getattr(changed, name)[others], getattr(before, name)[others]), name


@pytest.mark.parametrize("make", [inverters, regulators, capacitors])
def test_zero_is_the_neutral_action(make, rng):
    """No reactive power, all the sun, no tap move, no switching, nothing limited."""
    group = make()
    changed = setpoints(rng)
    before = changed.copy()
    _, limited = group.act(np.zeros((group.size, len(group.action_labels))), group.initial(), changed, 0.25)
    assert (limited == 0).all()
    assert np.array_equal(changed.kw, before.kw)
    assert np.array_equal(changed.tap, before.tap)
    assert np.array_equal(changed.closed, before.closed)
    if hasattr(group, "injections"):
        assert (changed.kvar[group.injections] == 0).all()


def test_a_kind_must_say_how_it_acts():
    with pytest.raises(TypeError, match="Mine must define act"):
        type("Mine", (DeviceGroup,), {})(("a",), ("x",)).act(np.zeros((1, 0)), np.zeros((1, 0)), None, 0.25)


# --- inverters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curtail", [np.zeros(4), CURTAIL, np.ones(4)])
def test_an_inverter_stays_within_its_circle_and_its_sun(curtail, rng):
    group = inverters(curtail)
    points = setpoints(rng, 2000)
    points.kw[:50, group.injections] = 0.0  # night
    points.kw[50:100, group.injections] = KW  # all the sun there is
    points.kw[100:150, group.injections] = 1.5 * KVA  # more than it can take
    sun = points.kw[..., group.injections].copy()
    action = np.clip(rng.normal(0, 1, (2000, 4, len(group.action_labels))), -1, 1)
    group.act(action, np.zeros((2000, 4, 2)), points, 0.25)
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
        group.act(np.full((2, 4, 1), share), np.zeros((2, 4, 2)), points, 0.25)
        kw, kvar = points.kw[..., group.injections], points.kvar[..., group.injections]
        assert np.hypot(kw, kvar) == pytest.approx(np.tile(KVA, (2, 1)))
        assert kvar[0] == pytest.approx(share * KVA)


def test_sun_is_held_back_only_where_that_is_allowed():
    """By the negative part of the second entry; elsewhere the request counts as limited."""
    group = inverters()
    assert len(group.action_labels) == 2
    points = setpoints(np.random.default_rng(0))
    sun = points.kw[group.injections].copy()
    _, limited = group.act(np.array([[0.0, -0.25]] * 4), group.initial(), points, 0.25)
    assert points.kw[group.injections] == pytest.approx(np.where(CURTAIL, 0.75, 1.0) * sun)
    assert limited.tolist() == [1, 0, 0, 1]
    again = setpoints(np.random.default_rng(0))
    _, limited = group.act(np.array([[0.0, 0.9]] * 4), group.initial(), again, 0.25)
    assert again.kw[group.injections] == pytest.approx(sun)
    assert limited.tolist() == [0, 0, 0, 0]
    off = setpoints(np.random.default_rng(0))
    group.act(np.array([[0.0, -1.0]] * 4), group.initial(), off, 0.25)
    assert off.kw[group.injections][CURTAIL == 1] == pytest.approx(0)


def test_without_curtailment_there_is_one_entry():
    assert len(inverters(np.zeros(4)).action_labels) == 1


def test_a_held_inverter_keeps_its_share_under_another_sun():
    group = inverters()
    points = setpoints(np.random.default_rng(0))
    kept, _ = group.act(np.array([[0.5, -0.5]] * 4), group.initial(), points, 0.25)
    later = setpoints(np.random.default_rng(1))
    sun = later.kw[group.injections].copy()
    group.hold(kept, later)
    kw = np.where(CURTAIL, 0.5, 1.0) * sun
    assert later.kw[group.injections] == pytest.approx(kw)
    assert later.kvar[group.injections] == pytest.approx(0.5 * np.sqrt(KVA**2 - kw**2))


def test_the_initial_memory_holds_a_unit_at_unity_power_factor():
    group = inverters()
    points = setpoints(np.random.default_rng(0))
    sun = points.kw[group.injections].copy()
    group.hold(group.initial(), points)
    assert np.array_equal(points.kw[group.injections], sun)
    assert (points.kvar[group.injections] == 0).all()


def test_opendss_delivers_what_inverters_set():
    """From action to the grid, watts and vars, in the sign of the docs: + into the grid."""
    specs = [
        InverterSpec(kind="inverter", bus=848, kw=100),
        InverterSpec(kind="inverter", bus="822", kw=50, phases=(1,)),
    ]
    feeder = read_feeder("ieee34", injections=Inverters.new_injections(specs))
    group = Inverters.build(specs, feeder)
    assert group.names == ("inverter_848", "inverter_822_1")
    assert group.kva.tolist() == [120, 60]
    points = feeder.setpoints()
    points.kw[group.injections] = [80.0, 20.0]
    engine = OpenDSSEngine(feeder, tolerance=1e-8)
    rest = engine.solve(points)
    group.act(np.array([[1.0], [-1.0]]), group.initial(), points, 0.25)
    solution = engine.solve(points)
    assert solution.served_kw[group.injections] == pytest.approx([80, 20], abs=1e-3)
    given = np.sqrt(120**2 - 80**2) - np.sqrt(60**2 - 20**2)
    assert rest.source_kvar - solution.source_kvar == pytest.approx(given, rel=0.35)
    bus = [feeder.node_index[f"848.{p}"] for p in (1, 2, 3)]
    assert (solution.v_pu[bus] > rest.v_pu[bus]).any()
    assert solution.v_pu[feeder.node_index["822.1"]] < rest.v_pu[feeder.node_index["822.1"]]
    engine.close()


# --- regulators ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ([1, 1, 1], [1, 2, 5]),
        ([-1, -1, -1], [-1, -2, -5]),
        ([0.4, 0.2, 0.09], [0, 0, 0]),
        ([0.6, 0.6, 0.5], [1, 1, 2]),  # 2.5 goes to the even 2
        ([-0.6, -0.8, 0.3], [-1, -2, 2]),
    ],
)
def test_a_regulator_moves_the_rounded_share_of_its_moves(action, expected):
    group, points = regulators(), setpoints(np.random.default_rng(0))
    points.tap[:] = 0
    _, limited = group.act(np.array(action, float)[:, None], group.initial(), points, 0.25)
    assert points.tap[group.taps].tolist() == expected
    assert limited.tolist() == [0, 0, 0]


def test_a_regulator_stops_at_its_ends_and_counts_it(rng):
    group, points = regulators(), setpoints(rng)
    points.tap[:] = 0
    for _ in range(300):
        before = points.tap[group.taps].copy()
        action = np.clip(rng.normal(0.3, 1, (3, 1)), -1, 1)
        _, limited = group.act(action, group.initial(), points, 0.25)
        tap = points.tap[group.taps]
        assert (group.lowest <= tap).all()
        assert (tap <= group.highest).all()
        assert (np.abs(tap - before) <= group.moves).all()
        wanted = before + np.rint(action[:, 0] * group.moves)
        assert limited.tolist() == (wanted != tap).astype(int).tolist()
    assert points.tap.dtype.kind == "i"


def test_regulators_of_a_circuit():
    feeder = read_feeder("ieee34")
    group = Regulators.build([RegulatorSpec(kind="regulator", names=("reg2b", "REG1A"), moves=3)], feeder)
    assert group.names == ("reg2b", "reg1a")
    assert [feeder.taps[r].name for r in group.taps] == ["transformer.reg2b", "transformer.reg1a"]
    assert group.buses == ("852r", "814r")
    assert group.moves.tolist() == [3, 3]
    assert (group.lowest.tolist(), group.highest.tolist()) == ([-16, -16], [16, 16])
    assert Regulators.build([RegulatorSpec(kind="regulator")], feeder).size == 6


# --- capacitors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize(
    ("action", "expected"),
    [(1.0, True), (0.34, True), (0.33, None), (0.0, None), (-0.33, None), (-0.34, False), (-1.0, False)],
)
def test_a_capacitor_switches_outside_a_third_and_stays_inside(action, expected, state):
    group, points = capacitors(), setpoints(np.random.default_rng(0))
    points.closed[:] = state
    _, limited = group.act(np.full((2, 1), action), group.initial(), points, 0.25)
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

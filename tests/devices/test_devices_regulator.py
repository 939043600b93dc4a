"""Regulators: moves, positions, gangs and waiting times."""

import numpy as np
import pytest
from device_cases import STEP, gangs, reached, regulators, setpoints, some_action

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.devices import Regulators
from dss_marl.devices.regulator import RegulatorSpec
from dss_marl.grid.state import Interval


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
    _, limited = group.act(np.array(action, float)[:, None], group.initial(), points, STEP)
    assert points.tap[group.taps].tolist() == expected
    assert limited.tolist() == [0, 0, 0]


def test_a_regulator_stops_at_its_ends_and_counts_it(rng):
    group, points = regulators(), setpoints(rng)
    points.tap[:] = 0
    for _ in range(300):
        before = points.tap[group.taps].copy()
        action = np.clip(rng.normal(0.3, 1, (3, 1)), -1, 1)
        _, limited = group.act(action, group.initial(), points, STEP)
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


def test_a_position_is_approached_by_the_moves_of_a_step():
    """33 positions, 3 moves a step: from neutral to position 10 in four steps, the first three of them cut."""
    spec = RegulatorSpec(kind="regulator", names=("reg1a",), moves=3, absolute=True)
    feeder = read_feeder("ieee34")
    group = Regulators.build([spec], feeder)
    assert group.action_labels == ("tap position",)
    assert group.n_levels().tolist() == [[33]]
    points, state = feeder.setpoints(), group.initial()
    points.tap[group.taps] = 0
    assert group.hold_action(state, points, STEP).tolist() == [[0.0]]
    action = np.array([[10 / 16]])
    seen = []
    for _ in range(5):
        state, limited = group.act(action, state, points, STEP)
        seen.append((int(points.tap[group.taps][0]), int(limited[0])))
    assert seen == [(3, 1), (6, 1), (9, 1), (10, 0), (10, 0)]
    assert group.hold_action(state, points, STEP) == pytest.approx(10 / 16)


def test_an_absolute_regulator_that_nobody_controls_stays_where_the_circuit_has_it():
    feeder = read_feeder("ieee34")
    group = Regulators.build([RegulatorSpec(kind="regulator", absolute=True)], feeder)
    points = feeder.setpoints()
    assert points.tap.any()
    before = points.tap.copy()
    _, limited = group.act(group.default_action(), group.initial(), points, STEP)
    assert np.array_equal(points.tap, before)
    assert (limited == 0).all()


def test_ganged_taps_move_together_until_the_first_meets_its_end(rng):
    group = gangs()
    state, points = reached(group, rng)
    apart = np.diff(points.tap[group.taps[:3]])
    for _ in range(100):
        state, _ = group.act(some_action(group, rng), state, points, STEP)
        assert np.diff(points.tap[group.taps[:3]]).tolist() == apart.tolist()
        assert (group.lowest <= points.tap[group.taps]).all()
        assert (points.tap[group.taps] <= group.highest).all()


def test_a_gang_of_a_circuit_is_one_device():
    """Three one-phase regulators raise all three phases behind them."""
    feeder = read_feeder("ieee34")
    specs = [
        RegulatorSpec(kind="regulator", names=("reg1a", "reg1b", "reg1c"), ganged=True, name="head"),
        RegulatorSpec(kind="regulator", names=("reg2a", "reg2b"), act_every=4),
    ]
    group = Regulators.build(specs, feeder)
    assert group.names == ("head", "reg2a", "reg2b")
    assert group.size == 3
    assert group.act_every.tolist() == [1, 4, 4]
    points = feeder.setpoints()
    points.tap[:] = 0
    engine = OpenDSSEngine(feeder, tolerance=1e-8)
    low = engine.solve(points)
    group.act(np.array([[1.0], [0.0], [0.0]]), group.initial(), points, STEP)
    high = engine.solve(points)
    assert points.tap[group.taps].tolist() == [2, 2, 2, 0, 0]
    behind = [feeder.node_index[f"814r.{p}"] for p in (1, 2, 3)]
    assert high.v_pu[behind] - low.v_pu[behind] == pytest.approx(2 * 0.00625, rel=0.15)
    engine.close()


def test_a_regulator_waits_between_moves():
    """Half an hour: of five moves asked for in quarter hours, every second is made."""
    group = regulators(min_time_h=np.array([0.5, 0.0, 0.5]))
    points, state = setpoints(np.random.default_rng(0)), group.initial()
    points.tap[:] = -5
    made, waited = [], []
    for _ in range(5):
        before = points.tap[group.taps]
        state, limited = group.act(np.ones((3, 1)), state, points, STEP)
        made.append((points.tap[group.taps] - before).tolist())
        waited.append(limited.tolist())
    assert made == [[1, 2, 5], [0, 2, 0], [1, 2, 5], [0, 2, 0], [1, 2, 5]]
    assert waited == [[0, 0, 0], [1, 0, 1], [0, 0, 0], [1, 0, 1], [0, 0, 0]]
    assert group.telemetry(state, points, STEP).tolist() == [[0.5], [0.0], [0.5]]


def test_waiting_times_that_add_up_inexactly_are_over_when_they_are_over():
    """Ten times 0.1 h is less than 1 h in floats."""
    group, tenth = regulators(min_time_h=np.ones(3)), Interval(0, 0.0, 0.1)
    points, state = setpoints(np.random.default_rng(0)), group.initial()
    points.tap[:] = -8
    cut = []
    for _ in range(21):
        state, limited = group.act(np.ones((3, 1)), state, points, tenth)
        cut.append(int(limited[0]))
    assert cut == [0, *[1] * 9, 0, *[1] * 9, 0]


def test_only_a_gang_has_a_name():
    with pytest.raises(ValueError, match="set ganged: true"):
        RegulatorSpec(kind="regulator", name="head")
    two = [RegulatorSpec(kind="regulator"), RegulatorSpec(kind="regulator", names=("reg1a",), ganged=True)]
    with pytest.raises(ValueError, match="defined twice"):
        Regulators.build(two, read_feeder("ieee34"))


def test_labels_tell_moves_from_positions():
    """One label for all devices of the group, so both where both are there."""
    feeder = read_feeder("ieee34")
    one, other = (
        RegulatorSpec(kind="regulator", names=(name,), absolute=a) for name, a in (("reg1a", 0), ("reg1b", 1))
    )
    found = [Regulators.build(specs, feeder).action_labels for specs in ([one], [one, other], [other])]
    assert found == [("tap moves",), ("tap moves, or position",), ("tap position",)]

"""Switches: what a device may do, what it is refused, and what the circuit then does."""

from functools import cache

import networkx as nx
import numpy as np
import pytest

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.devices import device_kind
from dss_marl.grid.state import Interval

CLOSE, STAY, OPEN = 1.0, 0.0, -1.0
TIES = [{"name": "t48", "bus1": 48, "bus2": 25}, {"name": "t54", "bus1": "54", "bus2": "93"}]
SECTIONS = ["l13", "l36", "l53", "l67", "l77", "l105"]


@cache
def built(feeder="ieee123", **changes):
    """The group and its feeder; hashable values only, TIES by their number."""
    changes = {key: list(value) if isinstance(value, tuple) else value for key, value in changes.items()}
    if "ties" in changes:
        changes["ties"] = TIES[: changes["ties"]]
    kind = device_kind("switch")
    specs = [kind.Spec.model_validate({"kind": "switch", **changes})]
    read = read_feeder(feeder, switches=kind.added_switches(specs))
    return kind.build(specs, read), read


def at(step=0, faulted=None):
    return Interval(step, 0.0, 0.25, faulted)


def asking(group, **wanted):
    """Actions that stay but for the named switches."""
    action = np.zeros((group.size, 1))
    for name, value in wanted.items():
        action[group.names.index(name), 0] = value
    return action


def acted(group, feeder, setpoints=None, state=None, interval=None, **wanted):
    setpoints = feeder.setpoints() if setpoints is None else setpoints
    state = group.initial() if state is None else state
    state, limited = group.act(asking(group, **wanted), state, setpoints, interval or at())
    return setpoints, state, dict(zip(group.names, limited, strict=True))


def state_of(group, setpoints):
    return dict(zip(group.names, setpoints.closed[group.switches], strict=True))


def test_all_means_the_circuits_the_lines_and_the_ties():
    group, _ = built(lines=tuple(SECTIONS), ties=2)
    assert set(group.names) == {f"sw{k}" for k in range(1, 13)} | set(SECTIONS) | {"t48", "t54"}
    assert group.buses[group.names.index("t54")] == "54"
    assert (group.n_levels() == 3).all() and group.n_levels().shape == (group.size, 1)
    some, _ = built(names=("sw2",), lines=("l13",), ties=1)
    assert set(some.names) == {"sw2", "l13", "t48"}


def test_an_action_opens_closes_or_leaves_alone():
    group, feeder = built()
    setpoints, _, limited = acted(group, feeder, sw2=OPEN, sw3=-0.34, sw4=-0.33, sw9=0.34, sw10=0.33)
    state = state_of(group, setpoints)
    assert not state["sw2"] and not state["sw3"] and state["sw4"] and state["sw9"] and not state["sw10"]
    assert not any(limited.values())
    banks = [s for s, row in enumerate(feeder.switches) if row.kind == "capacitor"]
    assert setpoints.closed[banks].all()


def test_a_closing_that_makes_a_loop_is_refused_and_counted():
    group, feeder = built()
    setpoints, _, limited = acted(group, feeder, sw7=CLOSE, sw2=CLOSE)
    assert not state_of(group, setpoints)["sw7"]
    assert [name for name, cut in limited.items() if cut] == ["sw7"]


def test_without_the_interlock_all_is_legal_and_the_loop_carries_current():
    group, feeder = built(interlock=False)
    assert group.feasible(asking(group, sw7=CLOSE), group.initial(), feeder.setpoints(), at()).all()
    setpoints, _, limited = acted(group, feeder, sw7=CLOSE, sw3=OPEN)
    assert state_of(group, setpoints)["sw7"] and not state_of(group, setpoints)["sw3"] and not any(limited.values())
    meshed = acted(group, feeder, sw7=CLOSE)[0]
    tie = [branch.name for branch in feeder.branches].index("line.sw7")
    assert OpenDSSEngine(feeder).solve(meshed).loading[tie] > 0.05


def test_a_dead_part_comes_back_over_a_tie_and_no_fault_is_energised():
    """The section behind sw4 is cut off at both ends; with a fault in it, it stays so."""
    group, feeder = built()
    setpoints = acted(group, feeder, sw4=OPEN)[0]
    engine = OpenDSSEngine(feeder)
    dark = engine.solve(setpoints)
    faulted = np.isin(feeder.node_bus, [feeder.bus_index["76"]])
    assert not group.feasible(asking(group, sw7=CLOSE), group.initial(), setpoints, at(faulted=faulted)).all()
    kept, _, limited = acted(group, feeder, setpoints.copy(), interval=at(faulted=faulted), sw7=CLOSE)
    assert limited["sw7"] and np.array_equal(kept.closed, setpoints.closed)
    restored = acted(group, feeder, setpoints.copy(), sw7=CLOSE)[0]
    lit = engine.solve(restored)
    assert (lit.energised & ~dark.energised).sum() > 50
    assert lit.served_kw.sum() < dark.served_kw.sum() - 1000


def test_limited_means_not_legal_for_one_request_at_a_time(rng):
    group, feeder = built(lines=tuple(SECTIONS), ties=2, lockout_h=0.5)
    seen = set()
    for k in range(40):
        setpoints = feeder.setpoints()
        setpoints.closed[group.switches] = rng.random(group.size) < 0.7
        state = rng.choice([0.0, 0.0, 0.3], (group.size, 1))
        interval = at(k, np.isin(feeder.node_bus, rng.choice(len(feeder.buses), 1)))
        action = np.zeros((group.size, 1))
        one = rng.integers(group.size)
        action[one] = rng.choice([CLOSE, OPEN])
        feasible = group.feasible(action, state, setpoints, interval)
        _, limited = group.act(action, state, setpoints, interval)
        assert np.array_equal(limited == 1, ~feasible[:, 0])
        seen.add(bool(feasible[one, 0]))
    assert seen == {True, False}


def test_staying_is_what_present_neutral_and_hold_do(rng):
    group, feeder = built(lines=tuple(SECTIONS))
    setpoints = feeder.setpoints()
    setpoints.closed[group.switches] = rng.random(group.size) < 0.5
    before = setpoints.closed.copy()
    for action in (group.hold_action(group.initial(), setpoints, Interval(0, 0.0, 0.25)), group.default_action()):
        _, limited = group.act(action, group.initial(), setpoints, at())
        assert not limited.any()
    group.hold(group.initial(), setpoints, at())
    assert np.array_equal(setpoints.closed, before)


def test_requests_of_all_at_once_leave_a_forest(rng):
    """Actions drawn at random, all switches in every step, for an episode; networkx on the buses finds no loop."""
    group, feeder = built(lines=tuple(SECTIONS), ties=2)
    setpoints, state = feeder.setpoints(), group.initial()
    refusals = 0
    for step in range(60):
        state, limited = group.act(rng.uniform(-1, 1, (group.size, 1)), state, setpoints, at(step))
        graph = nx.Graph()
        for branch in feeder.branches:
            if branch.switch < 0 or setpoints.closed[branch.switch]:
                graph.add_edge(branch.bus1, branch.bus2)
        assert nx.is_forest(graph)
        refusals += limited.sum()
    assert refusals > 10


def test_the_first_of_two_that_exclude_each_other_changes_from_step_to_step():
    """Behind sw4 the dead part can be reached over 151-300 or over 54-93, not both."""
    group, feeder = built(ties=2)
    setpoints = acted(group, feeder, sw4=OPEN)[0]
    both = asking(group, sw7=CLOSE, t54=CLOSE)
    assert group.feasible(both, group.initial(), setpoints, at()).all()
    winners = set()
    for step in range(group.size):
        tried = setpoints.copy()
        _, limited = group.act(both, group.initial(), tried, at(step))
        assert limited.sum() == 1
        winners |= {name for name in ("sw7", "t54") if state_of(group, tried)[name]}
    assert winners == {"sw7", "t54"}


def test_a_switch_that_moved_waits_out_its_lockout():
    """Half an hour is two intervals: the next two requests after that of step 0 come at 0.25 h and 0.5 h."""
    group, feeder = built(lockout_h=0.5)
    setpoints, state, _ = acted(group, feeder, sw2=OPEN)
    assert group.telemetry(state, setpoints, at(1))[group.names.index("sw2")].tolist() == [0.5]
    assert not group.feasible(asking(group, sw2=CLOSE), state, setpoints, at(1))[group.names.index("sw2"), 0]
    setpoints, state, limited = acted(group, feeder, setpoints, state, at(1), sw2=CLOSE)
    assert limited["sw2"] and not state_of(group, setpoints)["sw2"]
    setpoints, state, limited = acted(group, feeder, setpoints, state, at(2), sw2=CLOSE)
    assert not limited["sw2"] and state_of(group, setpoints)["sw2"]


def test_a_batch_acts_as_its_rows_do(rng):
    group, feeder = built(lines=tuple(SECTIONS), ties=2, lockout_h=0.5)
    states = [feeder.setpoints() for _ in range(4)]
    for setpoints in states:
        setpoints.closed[group.switches] = rng.random(group.size) < 0.7
    state = rng.choice([0.0, 0.3], (4, group.size, 1))
    action = rng.uniform(-1, 1, (4, group.size, 1))
    batch = feeder.setpoints()
    batch.closed = np.stack([setpoints.closed for setpoints in states])
    feasible = group.feasible(action, state, batch, at(3))
    kept, limited = group.act(action, state, batch, at(3))
    for k, setpoints in enumerate(states):
        assert np.array_equal(feasible[k], group.feasible(action[k], state[k], setpoints, at(3)))
        one_kept, one_limited = group.act(action[k], state[k], setpoints, at(3))
        assert np.array_equal(kept[k], one_kept) and np.array_equal(limited[k], one_limited)
        assert np.array_equal(batch.closed[k], setpoints.closed)


def test_many_actions_are_tried_on_one_state():
    group, feeder = built()
    levels = np.array([OPEN, STAY, CLOSE])[:, None, None] * np.ones((group.size, 1))
    mask = group.feasible(levels, group.initial(), feeder.setpoints(), at())
    assert mask.shape == (3, group.size, 1) and mask[:2].all() and not mask[2].all()


def test_what_cannot_be_is_explained():
    kind = device_kind("switch")
    with pytest.raises(ValueError, match="has no line switch"):
        kind.build([kind.Spec(kind="switch")], read_feeder("ieee34"))
    with pytest.raises(ValueError, match="'nothere' does not exist"):
        kind.build([kind.Spec(kind="switch", names=("nothere",))], read_feeder("ieee123"))
    specs = [kind.Spec(kind="switch", names=("sw2",)), kind.Spec(kind="switch", names=("sw3",), interlock=False)]
    with pytest.raises(ValueError, match="interlock"):
        kind.build(specs, read_feeder("ieee123"))

"""Leading batch axes: what the grid says of many states at once is what it says of each."""

import numpy as np
import pytest
from common import SCENARIOS, task_of

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.grid.batch_axes import by_state, check_one_state
from dss_marl.grid.regulator_direction import RegulatorDirection
from dss_marl.grid.rings import Rings
from dss_marl.grid.state import Interval, Setpoints
from dss_marl.grid.topology import Topology

BATCHES = [(6,), (2, 3), (1, 1, 6)]
every_scenario = pytest.mark.parametrize("name", SCENARIOS)
every_batch = pytest.mark.parametrize("batch", BATCHES)


def some_states(feeder, rng, batch, grid_forming=False):
    """Lines and capacitor steps in any state, some states twice; grid-forming units off unless requested."""
    closed = rng.random((*batch, len(feeder.switches))) < 0.6
    closed.reshape(-1, closed.shape[-1])[-1] = closed.reshape(-1, closed.shape[-1])[0]
    if not grid_forming:
        closed[..., feeder.grid_forming_units] = False
    return closed


def some_faults(feeder, rng, batch):
    """A few nodes away from the sources in each state."""
    far = np.setdiff1d(np.arange(len(feeder.nodes)), feeder.source_nodes)
    nodes = np.zeros((*batch, len(feeder.nodes)), bool)
    for state in np.ndindex(batch):
        nodes[state][rng.choice(far, 3)] = True
    return nodes


def check_each(ask, batch, *arrays):
    """``ask`` of all states is what it is of each; an array without batch axes goes to every state."""
    together = ask(*arrays)
    for state in np.ndindex(batch):
        alone = ask(*(x[state] if x is not None and x.ndim > 1 else x for x in arrays))
        assert together[state].dtype == alone.dtype
        assert together[state].shape == alone.shape
        assert np.array_equal(together[state], alone)
    return together


@every_batch
@every_scenario
def test_what_is_energised(name, batch, rng):
    feeder = task_of(name).feeder
    alive = check_each(feeder.energised, batch, some_states(feeder, rng, batch))
    assert alive.shape == (*batch, len(feeder.nodes))
    assert alive[..., feeder.source_nodes].all()


def test_a_former_beside_a_source_is_told_of_whichever_state_it_is_in(rng):
    feeder = task_of("ieee123_restoration").feeder
    states = np.repeat(feeder.setpoints().closed[None], 4, axis=0)
    states[:, feeder.grid_forming_units] = False
    assert feeder.energised(states).shape == (4, len(feeder.nodes))
    states[2, feeder.grid_forming_units[0]] = True
    lines = [s for s, row in enumerate(feeder.switches) if row.kind == "switch"]
    states[2, lines] = True
    with pytest.raises(ValueError, match=r"is on, but another source feeds its bus"):
        feeder.energised(states)


def test_two_states_of_two_switches_are_not_four_switches():
    """Once, (2, S) was read as one state of the first S of them."""
    feeder = read_feeder("ieee123")
    both = np.stack([np.ones(len(feeder.switches), bool), np.zeros(len(feeder.switches), bool)])
    all_closed, all_open = feeder.energised(both).sum(axis=-1)
    assert all_closed == len(feeder.nodes)
    assert all_open < all_closed


@every_batch
@every_scenario
def test_what_topology_says_of_states(name, batch, rng):
    feeder = task_of(name).feeder
    topology, closed = Topology.build(feeder), some_states(feeder, rng, batch, grid_forming=True)
    for ask, shape in (
        (topology.labels, (topology.size,)),
        (topology.loops, ()),
        (topology.sourced, (topology.size,)),
        (topology.may_close, (len(feeder.switches),)),
    ):
        assert check_each(ask, batch, closed).shape == (*batch, *shape)


@every_batch
@every_scenario
def test_what_topology_says_of_faults(name, batch, rng):
    feeder = task_of(name).feeder
    topology, closed = Topology.build(feeder), some_states(feeder, rng, batch, grid_forming=True)
    nodes = some_faults(feeder, rng, batch)
    assert check_each(topology.faulted, batch, nodes).shape == (*batch, topology.size)
    assert check_each(topology.reaches_source, batch, nodes).shape == batch
    check_each(topology.may_close, batch, closed, nodes)
    check_each(topology.may_close, batch, closed, nodes[(0,) * len(batch)])
    one = closed[(0,) * len(batch)]
    check_each(topology.may_close, batch, one, nodes)
    for tie in feeder.grid_forming_units:
        may = check_each(lambda s, bad, tie=tie: topology.may_supply(s, tie, bad), batch, closed, nodes)
        assert may.shape == batch
        check_each(lambda s, bad, tie=tie: topology.may_supply(s, tie, bad), batch, closed, None)


@every_batch
@every_scenario
def test_what_protection_opens(name, batch, rng):
    feeder = task_of(name).feeder
    topology = Topology.build(feeder)
    parted = [n for n in range(len(feeder.nodes)) if topology.block[n] not in topology.sources]
    closed, nodes = some_states(feeder, rng, batch), np.zeros((*batch, len(feeder.nodes)), bool)
    if not parted:
        nodes[..., 5] = True
        with pytest.raises(ValueError, match="no switch can isolate the fault"):
            topology.isolated(closed, nodes)
        return
    for state in np.ndindex(batch):
        nodes[state][rng.choice(parted, 2)] = True
    after = check_each(topology.isolated, batch, closed, nodes)
    assert not (after & ~closed).any()
    check_each(topology.isolated, batch, closed, nodes[(0,) * len(batch)])


@every_batch
@every_scenario
def test_joint_requests(name, batch, rng):
    feeder = task_of(name).feeder
    topology = Topology.build(feeder)
    lines = [s for s, row in enumerate(feeder.switches) if row.kind == "switch"]
    if not lines:
        pytest.skip("no line switches")
    closed, nodes = some_states(feeder, rng, batch), some_faults(feeder, rng, batch)
    requests = rng.integers(-1, 2, (*batch, len(lines)))
    before = closed.copy()
    for faulted in (None, nodes):
        for first in (0, len(lines) // 2):
            after, refused = topology.resolve(closed, lines, requests, faulted, first)
            assert after.shape == closed.shape
            assert refused.shape == requests.shape
            for state in np.ndindex(batch):
                bad = None if faulted is None else faulted[state]
                alone = topology.resolve(closed[state], lines, requests[state], bad, first)
                assert np.array_equal(after[state], alone[0])
                assert np.array_equal(refused[state], alone[1])
    assert np.array_equal(closed, before)


@every_batch
@every_scenario
def test_the_side_that_feeds_a_regulator(name, batch, rng):
    feeder = task_of(name).feeder
    closed = some_states(feeder, rng, batch, grid_forming=True)
    forward = check_each(RegulatorDirection.build(feeder).fed_forward, batch, closed)
    assert forward.shape == (*batch, len(feeder.taps))


def test_memories_of_answers_are_of_one_state_each(rng):
    """A batch that was asked before does not answer for other states with the same bytes."""
    feeder = task_of("ieee123_switching").feeder
    closed = some_states(feeder, rng, (2,))
    topology, direction = Topology.build(feeder), RegulatorDirection.build(feeder)
    for ask in (topology.labels, topology.may_close, direction.fed_forward):
        first = ask(closed)
        assert np.array_equal(ask(closed.reshape(1, 2, -1))[0], first)
        assert np.array_equal(ask(closed[::-1])[::-1], first)
    for memory, deciding in ((topology._parts, topology._deciding), (direction._kept, direction._deciding)):
        assert {len(key) for key in memory} == {closed[0][deciding].size}


@every_scenario
def test_what_has_one_answer_refuses_many_states_and_other_switches(name):
    feeder = task_of(name).feeder
    topology = Topology.build(feeder)
    rings, direction = Rings(topology), RegulatorDirection.build(feeder)
    one = feeder.setpoints().closed
    for wrong in (np.stack([one, one]), np.append(one, True)):
        for ask in (topology.parts, rings.of_open_switches, lambda x: rings.together(x, [], [])):
            with pytest.raises(ValueError, match=rf"one state, shape \({len(one)},\); got .*one by one"):
                ask(wrong)
    for ask in (topology.labels, topology.may_close, direction.fed_forward):
        with pytest.raises(ValueError, match=rf"shape \({len(one)},\); got \({len(one) + 1},\)"):
            ask(np.append(one, True))
    with pytest.raises(ValueError, match=rf"{len(one)} switches.*got shape \({len(one) + 1},\)"):
        feeder.energised(np.append(one, True))


def test_opendss_refuses_a_batch_and_goes_on_with_one_state():
    feeder = read_feeder("ieee13")
    engine, one = OpenDSSEngine(feeder), feeder.setpoints()
    expected = engine.solve(one).v_pu
    both = Setpoints(*(np.stack([x, x]) for x in (one.kw, one.kvar, one.tap, one.closed)))
    with pytest.raises(ValueError, match=r"of one state.*got \(2, 15\), \(2, 15\), \(2, 3\), \(2, 3\).*batches"):
        engine.solve(both)
    engine.restart()
    assert np.array_equal(engine.solve(one).v_pu, expected)
    engine.close()


def test_state_by_state():
    x, y = np.arange(6).reshape(2, 3), np.arange(2)
    assert by_state(lambda row, other: row + other.sum(), x, y).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert by_state(lambda row, other: row.sum(), x, None).tolist() == [3, 12]
    assert by_state(lambda row: row.sum(), x[0]) == 3
    with pytest.raises(ValueError, match=r"batch of shape \(0,\)"):
        by_state(lambda row: row, np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"closed must be of one state, shape \(3,\); got \(2, 3\)"):
        check_one_state(x, (3,), "closed")


def test_what_is_broken_in_one_state_of_many():
    faulted = np.array([[True, False], [False, True]])
    assert Interval(0, 0.0, 0.25).faulted_in((1,)) is None
    assert Interval(0, 0.0, 0.25, faulted[0]).faulted_in((1,)) is not None
    assert Interval(0, 0.0, 0.25, faulted[0]).faulted_in((1,)).tolist() == [True, False]
    assert Interval(0, 0.0, 0.25, faulted).faulted_in((1,)).tolist() == [False, True]

"""What switches join, and which may close, against networkx on every conductor of the feeder."""

from functools import cache

import networkx as nx
import numpy as np
import pytest

from dss_marl import read_feeder
from dss_marl.engines.opendss.synthetic_feeder import synthetic_feeder
from dss_marl.grid.feeder import AddedSwitch, AddedUnit
from dss_marl.grid.topology import Topology

SECTIONS = ["l13", "l19", "l24", "l36", "l45", "l53", "l67", "l77", "l88", "l92", "l101", "l105"]
TIES = [AddedSwitch("t48", "48", "25"), AddedSwitch("t54", "54", "93"), AddedSwitch("t_single", "111", "72", (1,))]
SUPPLIES = [f"new vsource.s{bus} bus1={bus} basekv=4.16 pu=1 r1=0.02 x1=0.2" for bus in ("251", "451")]


@cache
def feeder_of(name):
    if name == "ieee123 in sections":
        return read_feeder("ieee123", switches=[*map(AddedSwitch, SECTIONS), *TIES])
    if name == "ieee123, three supplies":
        return read_feeder("ieee123", SUPPLIES, switches=[*map(AddedSwitch, SECTIONS[:6]), *TIES])
    if name == "case33 in sections":
        return read_feeder("case33", switches=[AddedSwitch(f"l{k}") for k in range(4, 33, 3)])
    if name == "synthetic":
        grown = synthetic_feeder(500, 3)
        rng = np.random.default_rng(0)
        trunk = [b for b in grown.branches if b.kind == "line" and len(b.phases) == 3]
        spans = [b for b in grown.branches if b.kind == "line" and len(b.phases) == 1]
        lines = [rows[i].name for rows in (trunk, spans) for i in rng.choice(len(rows), 6, replace=False)]
        buses = [b.name for b in grown.buses if len(b.phases) == 3 and abs(b.kv_base - 7.2) < 0.1]
        ends = rng.choice(buses, (4, 2), replace=False)
        ties = [AddedSwitch(f"t{k}", str(a), str(b), (1, 2, 3)[: 3 - k % 3]) for k, (a, b) in enumerate(ends)]
        return read_feeder(grown.path, switches=[*map(AddedSwitch, lines), *ties])
    return read_feeder(name)


FEEDERS = ["ieee123", "ieee123 in sections", "ieee123, three supplies", "case33 in sections", "synthetic"]


@cache
def whole_graph(name):
    """All conductors of all branches, by node name; an edge of a switch carries its row."""
    feeder = feeder_of(name)
    graph = nx.MultiGraph()
    graph.add_nodes_from(feeder.nodes)
    for branch in feeder.branches:
        for one in branch.nodes1:
            for two in branch.nodes2:
                a, b = feeder.nodes[one], feeder.nodes[two]
                if branch.kind in ("transformer", "regulator") and len(branch.nodes1) != len(branch.nodes2):
                    graph.add_edge(a, b, switch=branch.switch)  # a centre tap
                elif a.split(".")[1] == b.split(".")[1]:
                    graph.add_edge(a, b, switch=branch.switch)
    return graph


def as_closed(name, closed):
    whole = whole_graph(name)
    graph = nx.MultiGraph()
    graph.add_nodes_from(whole)
    graph.add_edges_from((a, b) for a, b, s in whole.edges(data="switch") if s < 0 or closed[s])
    return graph


def conductors(name, switch):
    return [(a, b) for a, b, s in whole_graph(name).edges(data="switch") if s == switch]


def sources_in(feeder, nodes):
    return {node.split(".")[0] for node in nodes} & {feeder.source_bus, *feeder.other_sources}


def closing_is_safe(name, graph, switch, faulted):
    """Adding the conductors one by one closes no cycle, joins no two live parts and energises no fault."""
    feeder, graph = feeder_of(name), graph.copy()
    for a, b in conductors(name, switch):
        if nx.has_path(graph, a, b):
            return False
        ends = [nx.node_connected_component(graph, end) for end in (a, b)]
        if all(sources_in(feeder, part) for part in ends):
            return False
        graph.add_edge(a, b)
        part = set.union(*ends)
        if sources_in(feeder, part) and any(faulted[feeder.node_index[n]] for n in part):
            return False
    return True


def random_states(feeder, rng, count):
    share = rng.choice([0.4, 0.7, 0.9, 0.97], (count, 1))
    return rng.random((count, len(feeder.switches))) < share


def lines_of(feeder):
    return [s for s, row in enumerate(feeder.switches) if row.kind == "switch"]


def faults(feeder, rng, buses=2):
    """(N) with all nodes of a few buses True."""
    return np.isin(feeder.node_bus, rng.choice(len(feeder.buses), buses))


@pytest.mark.parametrize("name", FEEDERS)
def test_a_switch_may_close_exactly_where_networkx_says_so(name, rng):
    feeder, topology = feeder_of(name), Topology.build(feeder_of(name))
    verdicts = []
    for k, closed in enumerate(random_states(feeder, rng, 14)):
        faulted = faults(feeder, rng, k % 3)
        graph, mask = as_closed(name, closed), topology.may_close(closed, faulted)
        for s in lines_of(feeder):
            safe = bool(closed[s]) or closing_is_safe(name, graph, s, faulted)
            assert mask[s] == safe, (feeder.switches[s].name, closed)
            verdicts += [] if closed[s] else [safe]
    assert {True, False} == set(verdicts)


@pytest.mark.parametrize("name", FEEDERS)
def test_labels_loops_and_supplied_parts_are_those_of_networkx(name, rng):
    feeder, topology = feeder_of(name), Topology.build(feeder_of(name))
    fixed = nx.number_of_edges(as_closed(name, np.zeros(len(feeder.switches), bool)))
    assert topology.size < 0.4 * len(feeder.nodes)
    for closed in random_states(feeder, rng, 8):
        graph = as_closed(name, closed)
        node_label = topology.labels(closed)[topology.block]
        parts = list(nx.connected_components(graph))
        of_part = [{int(node_label[feeder.node_index[n]]) for n in part} for part in parts]
        assert all(len(labels) == 1 for labels in of_part)
        assert len(set.union(*of_part)) == len(parts)
        # Cycles of the switches: all cycles, less those that the rest of the feeder has.
        rest = as_closed(name, np.zeros(len(feeder.switches), bool))
        of_the_rest = fixed - len(rest) + nx.number_connected_components(rest)
        assert topology.loops(closed) == graph.number_of_edges() - len(graph) + len(parts) - of_the_rest
        alive = {n for part in parts if sources_in(feeder, part) for n in part}
        sourced = topology.sourced(closed)[topology.block]
        assert [n in alive for n in feeder.nodes] == sourced.tolist()
        assert np.array_equal(sourced, feeder.energised(closed))


@pytest.mark.parametrize("name", ["ieee123 in sections", "ieee123, three supplies", "case33 in sections"])
def test_joint_requests_never_leave_a_loop_paralleled_sources_or_a_live_fault(name, rng):
    """Started from states in which there is none, as an episode does."""
    feeder, topology = feeder_of(name), Topology.build(feeder_of(name))
    lines = lines_of(feeder)
    refusals = openings = 0
    for _ in range(25):
        faulted = faults(feeder, rng, 1) & ~np.isin(feeder.node_bus, [feeder.bus_index[feeder.source_bus]])
        closed = np.zeros(len(feeder.switches), bool)
        hot = topology.sourced(closed)[topology.block] & faulted
        if hot.any():  # in a block with a source no switch can clear it
            continue
        for step in range(4):
            requests = rng.choice([-1, 0, 1, 1, 1], len(lines))
            before = closed
            closed, refused = topology.resolve(closed, lines, requests, faulted, step % len(lines))
            graph = as_closed(name, closed)
            for part in nx.connected_components(graph):
                supplies = sources_in(feeder, part)
                assert len(supplies) <= 1
                assert not supplies or not any(faulted[feeder.node_index[n]] for n in part)
            assert topology.loops(closed) == 0
            asked = requests != 0
            assert (closed[lines][asked & ~refused] == (requests[asked & ~refused] > 0)).all()
            assert np.array_equal(closed[lines][~asked | refused], before[lines][~asked | refused])
            refusals += int(refused.sum())
            openings += int((requests < 0).sum())
            assert not refused[requests < 0].any()
    assert refusals > 20 < openings


@pytest.mark.parametrize("name", ["ieee123 in sections", "case33 in sections"])
def test_a_single_legal_request_is_never_refused_and_an_illegal_one_always(name, rng):
    feeder, topology = feeder_of(name), Topology.build(feeder_of(name))
    lines = lines_of(feeder)
    for closed in random_states(feeder, rng, 15):
        faulted = faults(feeder, rng)
        mask = topology.may_close(closed, faulted)
        for d, s in enumerate(lines):
            for request in (-1, 1):
                requests = np.zeros(len(lines), int)
                requests[d] = request
                after, refused = topology.resolve(closed, lines, requests, faulted, int(rng.integers(len(lines))))
                allowed = request < 0 or mask[s]
                assert refused.any() != allowed
                assert after[s] == ((request > 0) if allowed else closed[s])


def test_whoever_comes_first_wins_and_the_order_rotates():
    """case33 has five ties; with a branch open in the ring of l33 and l35, say, one of the two may close."""
    feeder = read_feeder("case33", switches=[AddedSwitch("l11")])
    topology, names = Topology.build(feeder), [row.name for row in feeder.switches]
    closed = feeder.setpoints().closed
    closed[names.index("line.l11")] = False
    ties = [names.index(f"line.{tie}") for tie in ("l34", "l35")]  # both reach buses 12 to 15
    assert topology.may_close(closed)[ties].all()
    for first in range(2):
        after, refused = topology.resolve(closed, ties, np.array([1, 1]), None, first)
        assert refused.tolist() == [first == 1, first == 0]
        assert after[ties].tolist() == [first == 0, first == 1]


def test_a_loop_may_be_opened_and_closed_elsewhere_in_one_step_whoever_comes_first():
    feeder = read_feeder("case33", switches=[AddedSwitch("l7")])
    topology, names = Topology.build(feeder), [row.name for row in feeder.switches]
    pair = [names.index("line.l7"), names.index("line.l33")]
    for first in range(2):
        after, refused = topology.resolve(feeder.setpoints().closed, pair, np.array([-1, 1]), None, first)
        assert not refused.any() and after[pair].tolist() == [False, True]


def test_three_regulators_side_by_side_are_no_loop():
    """ieee123 and ieee34 regulate phase by phase."""
    for name in ("ieee123", "ieee34"):
        feeder = read_feeder(name)
        assert Topology.build(feeder).loops(feeder.setpoints().closed) == 0


def test_the_states_that_are_remembered_do_not_grow_without_bound(monkeypatch):
    monkeypatch.setattr("dss_marl.grid.topology._MOST_KEPT", 5)
    feeder = feeder_of("ieee123")
    topology = Topology.build(feeder)
    for closed in random_states(feeder, np.random.default_rng(1), 30):
        topology.may_close(closed)
        assert len(topology._parts) <= 5 >= len(topology._masks)


# --- islands of grid-forming units -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def islands():
    """ieee123 with forming units at 48 (behind sw3) and 95 (behind sw4); a switch's row by name."""
    units = [AddedUnit(f"dg{bus}", bus, 300, kind="generator", forms=True) for bus in ("48", "95")]
    feeder = read_feeder("ieee123", injections=units, switches=TIES)
    return feeder, Topology.build(feeder), {row.name.split(".")[1]: s for s, row in enumerate(feeder.switches)}


def state(islands, opened=(), closed=()):
    feeder, _, row = islands
    result = feeder.setpoints().closed
    result[[row[name] for name in opened]] = False
    result[[row[name] for name in closed]] = True
    return result


def test_an_island_may_be_joined_to_the_grid_on_three_phases_only(islands):
    _, topology, row = islands
    closed = state(islands, ["sw4"], ["dg95"])
    assert topology.may_close(closed)[row["sw4"]]
    assert topology.may_close(closed)[row["sw7"]]  # 151-300
    assert not topology.may_close(closed)[row["sw8"]]  # 54-94, phase a: b and c would lose their source
    assert topology.may_close(state(islands, ["sw4"]))[row["sw8"]]  # onto the dead part it may


def test_two_islands_may_be_joined_and_a_fault_is_kept_from_both_kinds_of_supply(islands):
    feeder, topology, row = islands
    closed = state(islands, ["sw3", "sw4"], ["dg48", "dg95"])
    assert topology.may_close(closed)[row["sw7"]]
    faulted = np.isin(feeder.node_bus, [feeder.bus_index["76"]])
    dark = state(islands, ["sw3", "sw4"], ["dg48"])  # 76 is dead, 48 an island, the rest on the grid
    assert not topology.may_close(dark, faulted)[[row["sw4"], row["sw7"], row["sw8"]]].any()
    assert topology.may_close(dark, faulted)[row["sw3"]]

"""Zones: connected, disjoint, covering; and everything in the circuit is in exactly one."""

import networkx as nx
import numpy as np
import pytest
from common import feeder_with_units, in_new_process

from dss_marl import read_feeder
from dss_marl.zones import ROW_KINDS, balanced, build_zones, cut, over_zones, partition, stack
from dss_marl.zones.builder import _pieces
from dss_marl.zones.partition import live_graph

FEEDERS = ["ieee13", "ieee34", "ieee37", "ieee123", "case33", "case69"]
SPLITS = [
    ("ieee13", "cut", {"kinds": ["regulator", "switch"]}),
    ("ieee34", "cut", {"kinds": ["regulator"]}),
    ("ieee34", "cut", {"kinds": ["transformer"], "branches": ["l17a", "Line.L29a"]}),
    ("ieee123", "cut", {"kinds": ["regulator"], "branches": ["sw2"]}),
    ("case33", "balanced", {"count": 5}),
    ("ieee13", "balanced", {"count": 3}),
    ("ieee34", "balanced", {"count": 6}),
    ("ieee37", "balanced", {"count": 4}),
]
every_split = pytest.mark.parametrize(("name", "method", "options"), SPLITS)


def by_side(graph):
    """A partition of one's own: buses with an even number of hops to the source, and others. Not connected."""
    hops = nx.single_source_shortest_path_length(graph, graph.graph["source"])
    return [{bus for bus in graph if hops[bus] % 2 == side} for side in (0, 1)]


def near_and_far(graph, limit):
    """A partition of one's own: within some hops of the source, and the pieces beyond."""
    hops = nx.single_source_shortest_path_length(graph, graph.graph["source"])
    far = {bus for bus in graph if hops[bus] > limit}
    return [set(graph) - far, *map(set, nx.connected_components(graph.subgraph(far)))]


def not_sets(graph):
    """Not a partition at all."""
    return 7


# --- methods ---------------------------------------------------------------------------------------------------------


@every_split
def test_a_partition_is_disjoint_connected_and_covers(name, method, options):
    graph = read_feeder(name).graph()
    parts = partition(graph, method, **options)
    assert sum(map(len, parts)) == len(set().union(*parts)) == len(graph)
    live = live_graph(graph)  # ieee123 has buses behind open switches only: see test_partitions.py
    assert all(nx.is_connected(live.subgraph(part)) for part in parts)


@every_split
def test_zones_are_numbered_from_the_source_outward(name, method, options):
    graph = read_feeder(name).graph()
    hops = nx.single_source_shortest_path_length(graph, graph.graph["source"])
    parts = partition(graph, method, **options)
    nearest = [min(hops[bus] for bus in part) for part in parts]
    assert nearest == sorted(nearest)
    assert graph.graph["source"] in parts[0]


def test_cutting_the_regulators_of_ieee34_gives_three_zones():
    """By hand: head to 814, 814r to 852, and 852r to the end."""
    graph = read_feeder("ieee34").graph()
    head, middle, end = cut(graph, ["regulator"])
    assert {"sourcebus", "800", "814", "810"} <= head
    assert {"814r", "850", "824", "822", "852"} <= middle
    assert {"852r", "832", "890", "848", "840"} <= end
    assert sum(map(len, (head, middle, end))) == 56


@pytest.mark.parametrize("spelling", ["671692", "line.671692", "LINE.671692"])
def test_a_branch_can_be_named_short_or_long(spelling):
    graph = read_feeder("ieee13").graph()
    assert [len(part) for part in cut(graph, [], [spelling])] == [14, 2]


def test_one_unit_of_a_bank_cuts_the_whole_edge():
    graph = read_feeder("ieee13").graph()
    assert [set(part) for part in cut(graph, [], ["reg2"])] == [set(part) for part in cut(graph, ["regulator"])]


def test_open_switches_join_nothing():
    """case33 is one zone if nothing is cut; one cut makes two although its five open ties bridge it."""
    graph = read_feeder("case33").graph()
    assert len(cut(graph, [])) == 1
    assert len(cut(graph, [], graph.edges["6", "7"]["branches"])) == 2


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("name", ["ieee13", "ieee34", "case69"])
def test_balanced_gives_as_many_zones_as_asked(name, count):
    assert len(balanced(read_feeder(name).graph(), count)) == count


@pytest.mark.parametrize("name", ["ieee13", "ieee34", "ieee37", "case33", "case69", "case141"])
def test_two_balanced_zones_are_the_most_even_cut(name):
    """Against trying every branch of the tree."""
    graph = read_feeder(name).graph()
    graph.remove_edges_from([(a, b) for a, b, closed in list(graph.edges(data="closed")) if not closed])
    load = dict(graph.nodes(data="load_kw"))
    total = sum(load.values())

    def uneven(part):
        return abs(total - 2 * sum(load[bus] for bus in part))

    best = min(
        uneven(next(iter(nx.connected_components(nx.restricted_view(graph, [], [edge]))))) for edge in nx.bridges(graph)
    )
    assert uneven(balanced(graph, 2)[0]) <= best + 0.03 * total


def test_balanced_zones_have_similar_load():
    """Four zones of case141: none has more than twice the mean."""
    graph = read_feeder("case141").graph()
    loads = [sum(graph.nodes[bus]["load_kw"] for bus in part) for part in balanced(graph, 4)]
    assert max(loads) < 2 * np.mean(loads)
    assert min(loads) > 0.3 * np.mean(loads)


def all_balanced():
    """A few partitions, as text."""
    return [
        [sorted(part) for part in balanced(read_feeder(n).graph(), k)] for n in ("ieee34", "case69") for k in (2, 5)
    ]


def test_balanced_is_the_same_in_every_process():
    """Sets of names come in another order there."""
    assert in_new_process("all_balanced()", "test_zones") == str(all_balanced())


def test_partition_methods_leave_the_graph_alone():
    graph = read_feeder("ieee34").graph()
    kept = nx.to_dict_of_dicts(graph)
    cut(graph)
    balanced(graph, 4)
    assert nx.to_dict_of_dicts(graph) == kept


def test_a_method_of_ones_own():
    parts = partition(read_feeder("ieee34").graph(), "test_zones:near_and_far", limit=6)
    assert len(parts) > 1
    assert len(build_zones(read_feeder("ieee34"), parts)) == len(parts)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("cut", {"branches": ["l99"]}, "branch 'l99' does not exist on 'ieee34'; known: .*line.l1,"),
        ("cut", {"knids": ["switch"]}, "'cut' does not take.*knids"),
        ("balanced", {}, "'balanced' does not take.*count"),
        ("balanced", {"count": 0}, "count must be between 1 and 56 .*'ieee34'.*got 0"),
        ("balanced", {"count": 57}, "count must be between 1 and 56 .*got 57"),
        ("balanced", {"count": "many"}, "'balanced' does not take.*many"),
        (
            "voronoi",
            {},
            "unknown partition method 'voronoi'; known: around, balanced, .*cut, .*or 'package.module:name'",
        ),
        ("test_zones:nothing_here", {}, "'test_zones:nothing_here' cannot be imported"),
        ("no_such_module:f", {}, "'no_such_module:f' cannot be imported"),
    ],
)
def test_a_method_that_cannot_work_is_explained(method, options, message):
    with pytest.raises(ValueError, match=message):
        partition(read_feeder("ieee34").graph(), method, **options)


def parts_of_ieee13():
    return [set(part) for part in cut(read_feeder("ieee13").graph(), ["regulator", "switch"])]


def test_zones_that_are_no_partition_are_refused():
    feeder = read_feeder("ieee13")
    head, middle, end = parts_of_ieee13()
    assert end == {"692", "675"}
    with pytest.raises(ValueError, match=r"bus '692' is in zone_2 and in zone_3"):
        build_zones(feeder, [head, middle | {"692"}, end])
    with pytest.raises(ValueError, match=r"no zone contains bus 675, 692 of feeder 'ieee13'"):
        build_zones(feeder, [head, middle])
    with pytest.raises(ValueError, match=r"zone_2: bus 'atlantis' does not exist on feeder 'ieee13'"):
        build_zones(feeder, [head, middle | {"atlantis"}, end])
    with pytest.raises(ValueError, match=r"zone_4 of feeder 'ieee13' contains no bus"):
        build_zones(feeder, [head, middle, end, set()])
    with pytest.raises(
        ValueError, match=r"zone_1 of feeder 'ieee13' is not connected: (675, 692|650, sourcebus) cannot be reached"
    ):
        build_zones(feeder, [head | end, middle])


def test_a_zone_joined_by_an_open_switch_only_is_not_connected():
    feeder = read_feeder("case33")
    tie = next(b for b in feeder.branches if b.switch >= 0)
    ends = {tie.bus1, tie.bus2}
    rest = feeder.graph()
    rest.remove_nodes_from(ends)
    with pytest.raises(ValueError, match=r"zone_1 of feeder 'case33' is not connected"):
        build_zones(feeder, [ends, *map(set, nx.connected_components(rest))])


def test_dead_buses_that_an_open_switch_joins_may_be_a_zone():
    """A zone without a live bus holds together by the open switches between its dead pieces."""
    graph = nx.Graph()
    for a, b, is_open in (("s", "l", False), ("l", "a", True), ("a", "b", False), ("b", "c", True), ("c", "d", False)):
        graph.add_edge(a, b, open=is_open)
    closed = nx.Graph((a, b) for a, b, is_open in graph.edges(data="open") if not is_open)
    live = {"s", "l"}
    assert _pieces(graph, closed, live, {"a", "b", "c", "d"}) == [{"a", "b", "c", "d"}]
    assert _pieces(graph, closed, live, {"s", "l", "a", "b"}) == [{"s", "l", "a", "b"}]
    assert len(_pieces(graph, closed, live, {"a", "b", "d"})) == 2
    assert len(_pieces(graph, closed, live, {"s", "l", "c", "d"})) == 2


def test_an_excluded_buses_bus_must_exist():
    feeder = read_feeder("ieee13")
    with pytest.raises(ValueError, match=r"bus 'atlantis' does not exist on feeder 'ieee13'; known: .*671"):
        build_zones(feeder, parts_of_ieee13(), ["atlantis"])


def test_a_zone_with_nothing_to_judge_is_refused():
    """The source bus is never scored: a zone of its own would have an agent with nothing to see."""
    feeder = read_feeder("ieee13")
    with pytest.raises(ValueError, match="zone_1 has no scored node, only sourcebus"):
        build_zones(feeder, [{"sourcebus"}, set(feeder.graph()) - {"sourcebus"}])


# --- what lies in them -----------------------------------------------------------------------------------------------

PARTS = {
    "ieee13": lambda graph: cut(graph),
    "ieee34": lambda graph: cut(graph),
    "ieee123": lambda graph: cut(graph, ["switch"]),
}


@pytest.mark.parametrize("name", ["ieee13", "ieee34", "ieee123"])
def test_everything_is_in_exactly_one_zone(name):
    feeder = feeder_with_units(name)
    zones = build_zones(feeder, PARTS[name](feeder.graph()))
    everything = {
        "nodes": range(len(feeder.nodes)),
        "loads": feeder.loads,
        "units": np.setdiff1d(np.arange(len(feeder.injections)), feeder.loads),
        "taps": range(len(feeder.taps)),
        "capacitors": [s for s, row in enumerate(feeder.switches) if row.kind == "capacitor"],
        "switches": [s for s, row in enumerate(feeder.switches) if row.kind == "switch"],
        "pv_units": [j for j, row in enumerate(feeder.injections) if row.kind == "inverter"],
    }
    for field, wanted in everything.items():
        assert sorted(np.concatenate([getattr(zone, field) for zone in zones])) == sorted(wanted), field
    assert [zone.name for zone in zones] == [f"zone_{z + 1}" for z in range(len(zones))]
    assert [int(zone.index) for zone in zones] == list(range(len(zones)))
    assert {zone.count for zone in zones} == {len(zones)}


@pytest.mark.parametrize("name", ["ieee13", "ieee34", "ieee123"])
def test_everything_lies_at_a_bus_of_its_zone(name):
    """A tapped winding at the bus it regulates, a switch at its first bus."""
    feeder = feeder_with_units(name)
    for zone in build_zones(feeder, PARTS[name](feeder.graph())):
        assert {feeder.nodes[n].rsplit(".", 1)[0] for n in zone.nodes} == set(zone.buses)
        assert {feeder.injections[j].bus for j in (*zone.loads, *zone.units)} <= set(zone.buses)
        assert {feeder.taps[r].bus2 for r in zone.taps} <= set(zone.buses)
        assert {feeder.switches[s].bus for s in (*zone.switches, *zone.capacitors)} <= set(zone.buses)
        for u, j in enumerate(zone.units):
            own = feeder.injections[j]
            weighed = zone.unit_nodes[u][zone.unit_node_weight[u] > 0]
            assert sorted(weighed) == sorted(own.nodes)
            assert zone.unit_node_weight[u].sum() == pytest.approx(1)
            assert zone.unit_kw[u] == own.kw


def test_nobody_is_scored_by_the_source_or_by_named_buses():
    feeder = read_feeder("ieee13")
    zones = build_zones(feeder, parts_of_ieee13(), ["634"])
    scored = {feeder.nodes[n].split(".")[0] for zone in zones for n in zone.scored_nodes}
    assert scored == {bus.name for bus in feeder.buses} - {"sourcebus", "634"}
    assert sum(len(zone.scored_nodes) for zone in zones) == 41 - 2 * 3
    assert {zone.n_scored_nodes for zone in zones} == {35}


def test_short_names_read_the_rows():
    zone = build_zones(feeder_with_units("ieee34"), cut(feeder_with_units("ieee34").graph()))[1]
    singular = {"switches": "switch_weight", "telemetry": "telemetry_weight", "estimated": "estimate_weight"}
    for kind, rows in zone.rows.items():
        assert getattr(zone, kind) is rows.index
        assert getattr(zone, singular.get(kind, f"{kind[:-1]}_weight")) is rows.weight
    columns = {
        "loads": {"priority": "load_priority"},
        "units": {"nodes": "unit_nodes", "node_weight": "unit_node_weight", "kw": "unit_kw"},
        "pv_units": {"kw": "pv_unit_kw", "places": "pv_places"},
        "own_units": {"kw": "own_unit_kw"},
        "bus_rows": {
            "nodes": "bus_nodes",
            "node_weight": "bus_node_weight",
            "loads": "bus_loads",
            "load_weight": "bus_load_weight",
        },
        "taps": {"nodes": "tap_nodes"},
        "requests": {
            "missed": "request_missed",
            "loss_share": "request_loss_share",
            "kvar_weight": "request_kvar_weight",
        },
        "estimated": {"places": "estimates"},
    }
    for kind, rows in zone.rows.items():
        assert rows.columns.keys() == columns.get(kind, {}).keys()
        for column, name in columns.get(kind, {}).items():
            assert getattr(zone, name) is rows.columns[column]


def test_rows_are_taken_with_their_columns_and_change_nothing_else():
    zone = build_zones(feeder_with_units("ieee34"), cut(feeder_with_units("ieee34").graph()))[2]
    turned = zone.with_rows(units=zone.rows["units"].take(np.arange(len(zone.units))[::-1]))
    assert len(zone.units) > 1
    for name in ("units", "unit_kw", "unit_nodes", "unit_node_weight", "unit_weight"):
        assert np.array_equal(getattr(turned, name), getattr(zone, name)[::-1])
    assert turned.rows["loads"] is zone.rows["loads"]
    weighed = zone.with_priorities(np.arange(len(feeder_with_units("ieee34").injections)))
    assert np.array_equal(weighed.load_priority, zone.loads)
    assert (zone.load_priority == 1).all()


def test_stacked_zones_have_the_rows_of_each_and_weigh_nothing_else():
    feeder = feeder_with_units("ieee34")
    zones = build_zones(feeder, cut(feeder.graph()))
    every = stack(zones)
    assert every.rows.keys() == zones[0].rows.keys() == ROW_KINDS.keys()
    for kind, rows in every.rows.items():
        assert set(np.unique(rows.weight)) <= {0.0, 1.0}
        for z, zone in enumerate(zones):
            own, real = zone.rows[kind], rows.weight[z] == 1
            assert rows.index[z][real].tolist() == own.index.tolist()
            assert (rows.index[z][~real] == 0).all()
            for name, column in own.columns.items():
                assert np.array_equal(rows.columns[name][z][real], column)
                assert rows.columns[name].dtype == column.dtype
    assert every.index.tolist() == [0, 1, 2]
    assert (every.unit_kw > 0).all(), "features divide by it, padded or not"


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
@pytest.mark.parametrize("reduction", ["lowest", "mean", "highest", "total"])
def test_node_values_reduce_alike_for_one_zone_and_for_all(reduction, batch, rng):
    feeder = feeder_with_units("ieee34")
    zones = build_zones(feeder, cut(feeder.graph()), ["800"])
    x = rng.normal(size=(*batch, len(feeder.nodes)))
    together = getattr(stack(zones), reduction)(x)
    function = {"lowest": np.min, "mean": np.mean, "highest": np.max, "total": np.sum}[reduction]
    assert together.shape == (*batch, 3)
    for z, zone in enumerate(zones):
        expected = function(x[..., zone.scored_nodes], axis=-1)
        assert getattr(zone, reduction)(x) == pytest.approx(expected)
        assert together[..., z] == pytest.approx(expected)


def test_a_function_without_the_mark_is_called_zone_by_zone():
    feeder = read_feeder("ieee34")
    zones = build_zones(feeder, cut(feeder.graph()))
    names = []

    def count_nodes(zone, factor):
        names.append(zone.name)
        return factor * len(zone.nodes)

    result = over_zones(count_nodes, zones, stack(zones), 2.0)
    assert names == ["zone_1", "zone_2", "zone_3"]
    assert result.tolist() == [2.0 * len(zone.nodes) for zone in zones]

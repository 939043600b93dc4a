"""Partition methods: zones that are disjoint, connected and cover, the same in every process, and right where known."""

from functools import cache
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import yaml
from common import in_new_process

from dss_marl import load_scenario, read_feeder
from dss_marl._assets import known_names
from dss_marl.envs.task import build_task
from dss_marl.zones import (
    METHODS,
    Parts,
    balanced,
    build_zones,
    check_partition,
    communities,
    cut,
    electrical,
    feeder_graph,
    laterals,
    mapping,
    partition,
    phases,
    write_mapping,
)
from dss_marl.zones.clustering import electrical_places
from dss_marl.zones.partition import live_graph

SMALL = [name for name in known_names("feeders") if name != "ieee8500"]
OPTIONS = [
    ("cut", {}),
    ("cut", {"kinds": ["switch"]}),
    ("balanced", {"count": 4}),
    ("electrical", {"count": 4}),
    ("communities", {}),
    ("communities", {"count": 4}),
    ("laterals", {}),
    ("laterals", {"count": 3}),
    ("laterals", {"count": 3, "main": "shared"}),
    ("phases", {}),
]
IDS = [f"{method}-{'-'.join(map(str, options.values()))}" for method, options in OPTIONS]
DEAD = {"251": "250", "451": "450", "350": "300", "195": "95"}  # of ieee123, and the bus across the open switch


@cache
def graph_of(name):
    return feeder_graph(read_feeder(name))


def tree(edges, load=1.0, ohm=None, phases=None):
    """A feeder's graph from pairs of buses; the first is the source."""
    graph = nx.Graph(name="small", source=edges[0][0])
    for i, (a, b) in enumerate(edges):
        for bus in (a, b):
            facts = {"phases": (phases or {}).get(bus, (1, 2, 3)), "kv_base": 1.0, "load_kw": load, "load_phases": ()}
            graph.add_node(bus, **facts)
        z = (ohm or {}).get((a, b), 1.0)
        facts = {"r_ohm": z, "x_ohm": 0.0, "length_km": 1.0, "normal_amps": 100.0, "phases": (1, 2, 3)}
        graph.add_edge(a, b, name=f"line.l{i}", branches=(f"line.l{i}",), kind="line", closed=True, **facts)
    return graph


def path(text):
    return list(pairwise(text))


def sets(parts):
    return {frozenset(part) for part in parts}


def words(*names):
    return {frozenset(name) for name in names}


# --- the contract, for every method on every feeder


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("method", "options"), OPTIONS, ids=IDS)
def test_every_method_keeps_the_contract_on_every_feeder(name, method, options):
    feeder, graph = read_feeder(name), graph_of(name)
    try:
        parts = partition(graph, method, **options)
    except ValueError as error:
        assert method == "phases" and "a single phase" in str(error)
        return
    assert sum(map(len, parts)) == len(set().union(*parts)) == len(graph)
    live = live_graph(graph)
    assert all(part & set(live) for part in parts), "a zone of dead buses only"
    if method != "phases":
        assert all(nx.is_connected(live.subgraph(part & set(live))) for part in parts)
        assert graph.graph["source"] in parts[0]
    if "count" in options:
        assert len(parts) == options["count"]
    zones = build_zones(feeder, parts)
    assert sorted(np.concatenate([zone.nodes for zone in zones])) == list(range(len(feeder.nodes)))
    capacitors = [s for s, row in enumerate(feeder.switches) if row.kind == "capacitor"]
    assert sorted(np.concatenate([zone.capacitors for zone in zones])) == capacitors


@pytest.mark.parametrize(("method", "options"), [("electrical", {"count": 6}), ("laterals", {"count": 12})])
def test_a_large_feeder(method, options):
    parts = partition(graph_of("ieee8500"), method, **options)
    assert len(parts) == options["count"]
    check_partition(read_feeder("ieee8500"), parts)


@pytest.mark.parametrize("count", [1, 2, 7, 20, 55])
@pytest.mark.parametrize("method", [balanced, electrical, communities])
def test_as_many_zones_as_asked(method, count):
    assert len(method(graph_of("ieee34"), count=count)) == count


@pytest.mark.parametrize("name", ["ieee34", "ieee123", "case141"])
@pytest.mark.parametrize("main", ["own", "shared"])
def test_as_many_laterals_as_asked(name, main):
    for count in (1, 2, 3, 5):
        assert len(laterals(graph_of(name), count, main=main)) == count


def every_partition():
    """All methods on a few feeders, as text."""
    return [
        [sorted(part) for part in partition(graph_of(name), method, **options)]
        for name in ("ieee123", "case69")
        for method, options in OPTIONS
        if method != "phases" or name == "ieee123"
    ]


def test_every_method_is_the_same_in_every_process():
    assert in_new_process("every_partition()", "test_partitions") == str(every_partition())


@pytest.mark.parametrize(("method", "options"), OPTIONS, ids=IDS)
def test_methods_leave_the_graph_alone(method, options):
    graph = feeder_graph(read_feeder("ieee123"))
    nodes, edges = dict(graph.nodes(data=True)), nx.to_dict_of_dicts(graph)
    kept = str(nodes), str(edges)
    partition(graph, method, **options)
    assert kept == (str(dict(graph.nodes(data=True))), str(nx.to_dict_of_dicts(graph)))


# --- dead buses


@pytest.mark.parametrize(("method", "options"), OPTIONS, ids=IDS)
def test_a_dead_bus_goes_with_its_neighbour_across_the_open_switch(method, options):
    parts = partition(graph_of("ieee123"), method, **options)
    for dead, beside in DEAD.items():
        assert [beside in part for part in parts] == [dead in part for part in parts]


def test_a_dead_bus_belongs_to_a_neighbour_or_stands_alone_in_pieces():
    feeder = read_feeder("ieee123")
    parts = [set(part) for part in balanced(graph_of("ieee123"), 3)]
    home = next(part for part in parts if "251" in part)
    other = next(part for part in parts if "251" not in part)
    home.remove("251")
    other.add("251")
    with pytest.raises(ValueError, match=r"zone_\d of feeder 'ieee123' is not connected: 251 cannot be reached"):
        check_partition(feeder, parts)


def test_two_live_pieces_are_not_joined_by_a_dead_bus():
    graph = tree([("s", "a"), ("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    graph.edges["b", "d"]["closed"] = graph.edges["c", "d"]["closed"] = False

    class Known:
        name, source_bus, bus_index = "small", "s", dict.fromkeys("sabcd")

        def graph(self):
            return graph

    check_partition(Known(), [{"s", "a"}, {"b", "d"}, {"c"}])
    with pytest.raises(ValueError, match="not connected"):
        check_partition(Known(), [{"s", "a"}, {"b", "d", "c"}])


def test_what_no_branch_joins_goes_with_the_source():
    graph = tree(path("sabcdef"))
    graph.add_node("lost", **graph.nodes["a"])
    for method in (balanced, electrical, communities):
        parts = method(graph, count=2)
        assert "lost" in next(part for part in parts if "s" in part)


# --- where the answer is known


def test_a_weak_branch_divides_a_feeder_electrically():
    graph = tree(path("sabcdefgh"), ohm={("d", "e"): 50.0})
    assert sets(electrical(graph, 2)) == words("sabcd", "efgh")
    assert sets(communities(graph, 2)) == words("sabcd", "efgh")


def test_squared_distance_of_the_places_is_the_impedance_between_buses():
    """With all modes; 1 ohm at 1 kV to neutral is 1/3 pu on 1 MVA."""
    graph = live_graph(tree(path("sabcd"), ohm={("b", "c"): 4.0}))
    places = electrical_places(graph, 4)
    found = ((places[:, None] - places) ** 2).sum(-1)
    assert found[0] == pytest.approx(np.array([0, 1, 2, 6, 7]) / 3)


def test_a_lone_bus_behind_a_transformer_is_no_zone():
    graph = tree([*path("sabcdefgh"), ("d", "x")], ohm={("d", "x"): 500.0})
    assert sets(electrical(graph, 2)) == words("sabcdx", "efgh")
    assert frozenset("x") in sets(electrical(graph, 2, minimum=1))


def test_laterals_of_case33_are_the_zones_of_the_voltage_control_benchmark():
    """Wang et al. 2021: buses 19-22, 23-25, 26-33 and 7-18; 1-6 are the main branch."""

    def span(*ends):
        return frozenset(str(bus) for first, last in ends for bus in range(first, last + 1))

    wanted = {span((1, 6)), span((19, 22)), span((23, 25)), span((26, 33)), span((7, 18))}
    assert sets(laterals(graph_of("case33"))) == wanted == sets(laterals(graph_of("case33"), 5))
    shared = {span((19, 22), (1, 2)), span((23, 25), (3, 4)), span((26, 33)), span((5, 18))}
    assert len(laterals(graph_of("case33"), main="shared")) == len(shared)


def test_a_main_branch_of_the_source_alone_is_no_zone():
    graph = tree([("s", "a"), ("a", "b"), ("b", "c"), ("s", "d"), ("d", "e"), ("e", "f"), ("s", "g"), ("g", "h")])
    assert len(laterals(graph, 3)) == 3
    assert {"s"} not in laterals(graph)


def test_houses_of_the_european_feeder_are_zoned_by_their_phase():
    feeder = read_feeder("eulv")
    parts = phases(graph_of("eulv"))
    assert parts.names == ("trunk", "phase_1", "phase_2", "phase_3")
    zones = build_zones(feeder, parts)
    for phase, zone in zip((1, 2, 3), zones[1:], strict=True):
        assert zone.name == f"phase_{phase}"
        assert {feeder.injections[i].phases for i in zone.loads} == {(phase,)}
    assert sum(len(zone.loads) for zone in zones[1:]) == 55
    live = live_graph(graph_of("eulv"))
    assert nx.is_connected(live.subgraph(parts[0]))


def test_what_lies_behind_a_one_phase_branch_is_of_its_phase_whatever_it_is_called():
    """Centre-tapped houses are on 1 and 2 whatever feeds them."""
    graph = tree([("s", "a"), ("a", "b"), ("b", "house"), ("a", "c")], phases={"b": (3,), "house": (1, 2), "c": (1,)})
    assert [set(part) for part in phases(graph)] == [{"s", "a"}, {"c"}, {"b", "house"}]
    assert [set(part) for part in phases(graph, trunk=3)] == [{"c"}, {"s", "a", "b", "house"}]
    assert phases(graph, trunk=3).names == ("phase_1", "phase_3")


def test_only_zones_that_say_so_may_lie_in_pieces():
    feeder, parts = read_feeder("eulv"), phases(graph_of("eulv"))
    check_partition(feeder, parts)
    with pytest.raises(ValueError, match="phase_1 of feeder 'eulv' is not connected"):
        check_partition(feeder, Parts(parts, parts.names))


def test_cutting_off_the_source_alone_makes_no_zone():
    assert [len(part) for part in cut(graph_of("ieee37"), ["transformer"])] == [38, 1]
    assert len(build_zones(read_feeder("ieee123"), cut(graph_of("ieee123")))) > 3


# --- one's own


HALVES = {
    "north": [650, "sourcebus", "RG60", "632", 645, 646, 633, 634],
    "south": [671, 670, 692, 675, 684, 611, 652, 680],
}


def halves_of_ieee13():
    return {name: [str(bus).lower() for bus in buses] for name, buses in HALVES.items()}


def test_a_mapping_names_the_zones_and_numbers_in_yaml_are_names():
    graph, feeder = graph_of("ieee13"), read_feeder("ieee13")
    parts = mapping(graph, zones=HALVES)
    assert [zone.name for zone in build_zones(feeder, parts)] == ["north", "south"]
    assert "671" in parts[1] and "rg60" in parts[0]


@pytest.mark.parametrize("method", ["electrical", "phases"])
def test_a_written_partition_reads_back(tmp_path, method):
    graph = graph_of("ieee34")
    parts = partition(graph, method, **({"count": 5} if method == "electrical" else {}))
    file = write_mapping(parts, tmp_path / "a" / "zones.yaml", graph, "five zones")
    again = mapping(graph, file=file)
    assert list(again) == list(parts) and again.connected == getattr(parts, "connected", True)
    check_partition(read_feeder("ieee34"), again)


def test_a_scenario_finds_the_file_beside_it(tmp_path, monkeypatch):
    graph = graph_of("ieee13")
    write_mapping(Parts(mapping(graph, zones=HALVES), ["a", "b"]), tmp_path / "my_zones.yaml", graph)
    text = yaml.safe_dump({"base": "ieee13_volt_var", "zones": {"method": "mapping", "file": "my_zones.yaml"}})
    (tmp_path / "mine.yaml").write_text(text)
    assert [zone.name for zone in build_task(load_scenario(tmp_path / "mine.yaml")).zones] == ["a", "b"]
    monkeypatch.chdir(tmp_path)
    scenario = load_scenario("ieee13_volt_var").replace(zones={"method": "mapping", "file": "my_zones.yaml"})
    assert len(build_task(scenario).zones) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs either zones: .* or file"),
        ({"zones": HALVES, "file": "x.yaml"}, "needs either zones: .* or file"),
        ({"file": "no_such_file.yaml"}, "zones file 'no_such_file.yaml' cannot be read: No such file"),
        ({"zones": {"a": "650"}}, "zone 'a' must be a list of buses; got '650'"),
        ({"zones": ["650"]}, "must map each name to its list"),
        ({"zones": {"a": ["atlantis"]}}, "zone 'a': bus 'atlantis' does not exist on 'ieee13'"),
    ],
)
def test_a_mapping_that_cannot_be_is_explained(options, message):
    with pytest.raises(ValueError, match=message):
        partition(graph_of("ieee13"), "mapping", **options)


def test_a_mapping_that_is_no_partition_names_the_bus():
    halves = halves_of_ieee13()
    halves["south"].remove("675")
    with pytest.raises(ValueError, match="no zone contains bus 675 of feeder 'ieee13'"):
        build_zones(read_feeder("ieee13"), mapping(graph_of("ieee13"), zones=halves))
    halves["south"] += ["675", "634"]
    with pytest.raises(ValueError, match="bus '634' is in north and in south; a bus belongs to one zone"):
        build_zones(read_feeder("ieee13"), mapping(graph_of("ieee13"), zones=halves))


# --- errors


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("electrical", {"count": 0}, "count must be between 1 and 32 .*'case33'.*got 0"),
        ("electrical", {"count": 2.5}, "'electrical' does not take.*whole number"),
        ("communities", {"count": 33}, "count must be between 1 and 32 .*got 33"),
        ("laterals", {"count": 6}, "count must be between 1 and 5 .*laterals.*got 6"),
        ("laterals", {"main": "mine"}, "main must be 'own' or 'shared'; got 'mine'"),
        ("phases", {}, "no part of 'case33' has a single phase"),
        ("balanced", {"count": True}, "whole number"),
    ],
)
def test_a_method_that_cannot_work_says_why(method, options, message):
    with pytest.raises(ValueError, match=message):
        partition(graph_of("case33"), method, **options)


def test_phases_refuses_a_trunk_of_no_phase():
    with pytest.raises(ValueError, match="trunk must be one of the phases 1, 2, 3; got 4"):
        phases(graph_of("ieee123"), trunk=4)


def test_every_method_has_a_docstring_with_its_options():
    for name, function in METHODS.items():
        assert function.__doc__ and name == function.__name__

"""Which zones touch, how good partitions are, and what other tools can read."""

import json
import math

import networkx as nx
import pytest
from common import in_new_process
from test_partitions import graph_of, path, tree
from typer.testing import CliRunner

from dss_marl import read_feeder
from dss_marl.cli.app import app
from dss_marl.grid.export import write_geojson, write_graphml
from dss_marl.zones import balanced, build_zones, electrical, laterals, mapping, partition_quality, zone_graph
from dss_marl.zones.quality import QUALITY


def line_of_three():
    """s-a | b-c | d-e, an open branch from a to e, and a branch rated 300 A between b and c's zones."""
    graph = tree(path("sabcde"))
    graph.add_edge(
        "a", "e", **{**graph.edges["s", "a"], "name": "line.tie", "branches": ("line.tie",), "closed": False}
    )
    graph.edges["a", "b"]["normal_amps"] = 300.0
    return graph, [{"s", "a"}, {"b", "c"}, {"d", "e"}]


def test_zones_touch_where_branches_join_them():
    graph, parts = line_of_three()
    touching = zone_graph(graph, parts)
    assert set(touching) == {"zone_1", "zone_2", "zone_3"}
    assert touching.nodes["zone_2"] == {"buses": 2, "load_kw": 2.0}
    border = touching.edges["zone_1", "zone_2"]
    assert border["branches"] == ("line.l1",) and border["ends"] == (("a", "b"),)
    assert border["closed"] and border["normal_amps"] == 300.0 and border["open_branches"] == ()
    tie = touching.edges["zone_1", "zone_3"]
    assert not tie["closed"] and tie["normal_amps"] == 0.0 and tie["open_branches"] == ("line.tie",)


def test_zones_of_a_radial_feeder_are_a_tree_of_closed_borders():
    feeder, graph = read_feeder("ieee123"), graph_of("ieee123")
    zones = build_zones(feeder, electrical(graph, 6))
    touching = zone_graph(graph, zones)
    assert [*touching] == [zone.name for zone in zones]
    closed = nx.Graph([(a, b) for a, b, facts in touching.edges(data=True) if facts["closed"]])
    assert nx.is_tree(closed) and len(closed) == 6
    inside = [name for *_, names in graph.edges(data="branches") for name in names]
    assert set().union(*(facts["branches"] for *_, facts in touching.edges(data=True))) < set(inside)


def test_a_named_partition_keeps_its_names():
    graph, _ = line_of_three()
    parts = mapping(graph, zones={"here": list("sab"), "there": list("cde")})
    assert set(zone_graph(graph, parts)) == {"here", "there"}


def test_quality_of_a_line_by_hand():
    """Six equal buses and impedances in three pairs: 4 of 6 kW pass the first border and 2 the second."""
    graph, parts = line_of_three()
    figures = partition_quality(graph, parts)
    assert set(figures) == {"zones", *QUALITY}
    assert figures["zones"] == 3 and figures["boundary_branches"] == 2
    assert figures["load_spread"] == pytest.approx(0)
    assert figures["boundary_flow"] == pytest.approx((4 + 2) / 6)
    assert figures["modularity"] == pytest.approx(3 / 5 - (3**2 + 4**2 + 3**2) / 10**2)
    between = [2, 3, 1, 2, 4, 5, 3, 4, 2, 3, 1, 2]
    assert figures["cohesion"] == pytest.approx(1 - 1 / (sum(between) / len(between)))


def test_modularity_is_networkx_modularity():
    graph = graph_of("case69")
    from dss_marl.zones.partition import live_graph

    parts = electrical(graph, 5)
    wanted = nx.community.modularity(live_graph(graph), parts, weight="admittance")
    assert partition_quality(graph, parts)["modularity"] == pytest.approx(wanted)


def test_one_zone_leaves_nothing_to_compare():
    graph = graph_of("case33")
    figures = partition_quality(graph, [set(graph)])
    assert math.isnan(figures["cohesion"]) and figures["boundary_flow"] == 0


@pytest.mark.parametrize("name", ["ieee34", "case141", "eulv"])
def test_each_method_is_good_at_what_it_is_for(name):
    graph = graph_of(name)
    by_load, by_distance = (partition_quality(graph, method(graph, 6)) for method in (balanced, electrical))
    assert by_load["load_spread"] < by_distance["load_spread"]
    assert by_distance["cohesion"] > by_load["cohesion"]


def test_laterals_pass_on_least_power():
    graph = graph_of("ieee123")
    flows = [partition_quality(graph, method(graph, 6))["boundary_flow"] for method in (laterals, balanced, electrical)]
    assert flows[0] == min(flows)


def sampled_quality():
    """Of a feeder where distances are sampled."""
    return partition_quality(graph_of("eulv"), balanced(graph_of("eulv"), 4))


def test_sampled_figures_are_the_same_in_every_process():
    assert in_new_process("sampled_quality()", "test_zone_graph") == str(sampled_quality())


# --- other tools


@pytest.mark.parametrize("name", ["ieee123", "case33"])
def test_graphml_reads_back(tmp_path, name):
    graph = graph_of(name)
    again = nx.read_graphml(write_graphml(graph, tmp_path / "a" / "feeder.graphml"))
    assert set(again) == set(graph) and {frozenset(e) for e in again.edges} == {frozenset(e) for e in graph.edges}
    for a, b, facts in graph.edges(data=True):
        read = again.edges[a, b]
        assert read["closed"] is facts["closed"] and read["kind"] == facts["kind"]
        assert read["r_ohm"] == pytest.approx(facts["r_ohm"])
        assert read["branches"].split(" ") == list(facts["branches"])
    assert again.graph["source"] == graph.graph["source"]


def test_the_graph_of_zones_can_be_written_too(tmp_path):
    graph, parts = line_of_three()
    again = nx.read_graphml(write_graphml(zone_graph(graph, parts), tmp_path / "zones.graphml"))
    assert again.edges["zone_1", "zone_2"]["ends"] == "a-b" and again.nodes["zone_1"]["load_kw"] == 2.0


@pytest.mark.parametrize("name", ["ieee123", "case33"])
def test_geojson_has_a_point_for_each_bus_and_a_line_for_each_branch(tmp_path, name):
    graph = graph_of(name)
    data = json.loads(write_geojson(graph, tmp_path / "feeder.geojson").read_text())
    assert data["type"] == "FeatureCollection" and len(data["features"]) == len(graph) + graph.number_of_edges()
    for feature in data["features"][: len(graph)]:
        bus = feature["properties"]["bus"]
        x, y = graph.nodes[bus]["x"], graph.nodes[bus]["y"]
        assert feature["geometry"] == (None if x is None else {"type": "Point", "coordinates": [x, y]})
    line = data["features"][len(graph)]
    assert {"bus1", "bus2", "kind", "length_km"} <= set(line["properties"])


# --- the command


def output(*arguments):
    result = CliRunner().invoke(app, ["zones", *arguments], env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"})
    return result.exit_code, result.output


def test_the_command_prints_draws_and_saves(tmp_path):
    pytest.importorskip("matplotlib")
    picture, saved, graph = tmp_path / "zones.png", tmp_path / "zones.yaml", tmp_path / "zones.graphml"
    code, text = output(
        "ieee34", "--count", "4", "--out", str(picture), "--save", str(saved), "--export", str(graph)
    )  # fmt: skip
    assert code == 0, text
    for part in ("zone_4", "load", "caps", "modularity", "boundary flow", "cohesion", "needs a device"):
        assert part in text, part
    assert picture.read_bytes().startswith(b"\x89PNG")
    parts = mapping(graph_of("ieee34"), file=saved)
    assert len(parts) == 4
    assert nx.read_graphml(graph).nodes["890"]["zone"] in {"zone_1", "zone_2", "zone_3", "zone_4"}
    code, text = output("ieee34", "--method", "mapping", "--file", str(saved))
    assert code == 0 and "zone_4" in text, text


def test_the_command_cuts_at_kinds_and_at_branches():
    code, text = output("ieee34", "--method", "cut", "--cut-at", "regulator", "--cut-at", "l17a")
    assert code == 0 and "zone_4" in text and "zone_5" not in text, text


def test_the_command_compares_all_methods(tmp_path):
    pytest.importorskip("matplotlib")
    code, text = output("case33", "--compare", "--count", "6", "--out", str(tmp_path / "side.png"))
    assert code == 0, text
    for method in ("electrical", "balanced", "communities", "laterals", "cut"):
        assert method in text
    assert "no phases: no part of 'case33' has a single phase" in text
    assert (tmp_path / "side.png").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("case34",), "case34"),
        (("case33", "--method", "voronoi"), "unknown partition method 'voronoi'"),
        (("case33", "--count", "99"), "count must be between 1 and 32"),
        (("case33", "--cut-at", "switch"), "--cut-at is for method 'cut'"),
        (("case33", "--method", "cut", "--count", "3"), "takes --cut-at, not --count"),
        (("case33", "--file", "x.yaml"), "--file is for method 'mapping'"),
        (("case33", "--export", "x.csv"), "ends in .graphml or .geojson"),
    ],
)
def test_mistakes_on_the_command_line_are_messages(arguments, message):
    code, text = output(*arguments)
    assert code == 2 and message in text and "Traceback" not in text, text

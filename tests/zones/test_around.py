"""Zones around given buses."""

from __future__ import annotations

import networkx as nx
import pytest

from dss_marl import read_feeder
from dss_marl.zones import around, feeder_graph


def _line(lengths):
    graph = nx.Graph(name="line", source="a")
    for k, length_km in enumerate(lengths):
        graph.add_edge("abcdefgh"[k], "abcdefgh"[k + 1], length_km=length_km, closed=True, r_ohm=0.1, x_ohm=0.1)
    nx.set_node_attributes(graph, 1.0, "kv_base")
    return graph


def test_every_bus_joins_the_nearest_along_the_line():
    parts = around(_line([1, 1, 1, 4, 1]), ["b", "f"])  # d is 2 km from b and 5 km from f
    assert [sorted(part) for part in parts] == [["a", "b", "c", "d"], ["e", "f"]]
    assert parts.names == ("bus_b", "bus_f")


def test_zones_of_houses_are_connected_and_in_the_order_given():
    graph = feeder_graph(read_feeder("eulv"))
    houses = ["906", "34", "208", "639"]
    parts = around(graph, houses)
    for house, part in zip(houses, parts, strict=True):
        assert house in part
        assert nx.is_connected(graph.subgraph(part))
    assert sum(map(len, parts)) == len(graph)


@pytest.mark.parametrize(
    ("buses", "why"), [(["nowhere"], "does not exist"), (["b", "b"], "none twice"), ([], "at least one")]
)
def test_refused(buses, why):
    with pytest.raises(ValueError, match=why):
        around(_line([1, 1]), buses)

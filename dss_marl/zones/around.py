"""Partition around given buses: each bus belongs to the nearest of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import networkx as nx

from dss_marl.zones.partition import Partition, Parts, completed, listed, live_graph

_JOINT_KM = 1e-3  # least length of a branch: a transformer or a switch is a way too


def around(graph: nx.Graph, buses: Sequence[str | int]) -> Partition:
    """A zone around each of some buses, such as those of customers: every bus joins the nearest along the feeder.

    Zones are named after their bus, ``bus_34``. They are the cells of a Voronoi diagram on the graph by line length, so
    each is connected. Loads elsewhere are in the zone of the nearest of the buses.

    Args:
        graph: the feeder's.
        buses: one for each zone.

    Raises:
        ValueError: a bus does not exist, is named twice or has no path to the source.
    """
    heads = [str(bus).lower() for bus in listed("buses", buses)]
    live = live_graph(graph)
    for bus in heads:
        if bus not in live:
            why = "has no path to the source" if bus in graph else "does not exist"
            raise ValueError(f"zones: bus {bus!r} of buses {why} on feeder {graph.name!r}")
    if not heads or len(set(heads)) < len(heads):
        raise ValueError(f"zones: buses must name at least one bus, and none twice; got {heads}")
    cells = nx.voronoi_cells(live, heads, weight=_length_km)
    whole = completed(graph, [cells[head] for head in heads])
    return Parts([next(part for part in whole if head in part) for head in heads], [f"bus_{head}" for head in heads])


def _length_km(one: str, other: str, edge: dict[str, Any]) -> float:
    return max(float(edge.get("length_km", 0.0)), _JOINT_KM)

"""Graph of neighbouring zones, which agents may communicate along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import networkx as nx

from dss_marl.zones.partition import Partition, zone_names
from dss_marl.zones.zone import Zone


def named_parts(zones: Sequence[Zone] | Partition) -> dict[str, set[str]]:
    """Zone name to buses, for built zones or a partition."""
    if all(isinstance(zone, Zone) for zone in zones):
        return {zone.name: set(zone.buses) for zone in zones if isinstance(zone, Zone)}
    parts = [set(zone) for zone in zones if not isinstance(zone, Zone)]
    return dict(zip(getattr(zones, "names", ()) or zone_names(parts), parts, strict=True))


def zone_graph(graph: nx.Graph, zones: Sequence[Zone] | Partition) -> nx.Graph:
    """Graph with zones as nodes, and edges where branches connect their buses.

    Args:
        graph: the feeder's.
        zones: built zones, or a partition.

    Returns:
        nodes named after the zones, with ``buses`` (their number) and ``load_kw``; edges with ``branches`` (names),
        ``ends`` (pairs of buses, from the zone named first in ``zones``), ``kinds``, ``closed`` (True if any is),
        ``open_branches`` (names), and ``normal_amps``, the summed ratings of the closed ones [A]; 0 if none is rated.
    """
    parts = named_parts(zones)
    home = {bus: name for name, part in parts.items() for bus in part}
    rank = {name: z for z, name in enumerate(parts)}
    touching = nx.Graph(name=graph.name)
    for name, part in parts.items():
        touching.add_node(
            name, buses=len(part), load_kw=sum(graph.nodes[bus].get("load_kw", 0.0) for bus in sorted(part))
        )
    for a, b, edge in graph.edges(data=True):
        if home[a] == home[b]:
            continue
        if rank[home[a]] > rank[home[b]]:
            a, b = b, a
        if not touching.has_edge(home[a], home[b]):
            empty: dict[str, Any] = {"branches": (), "ends": (), "kinds": (), "open_branches": ()}
            touching.add_edge(home[a], home[b], **empty, closed=False, normal_amps=0.0)
        border, names = touching.edges[home[a], home[b]], tuple(edge["branches"])
        border["branches"] += names
        border["ends"] += ((a, b),)
        border["kinds"] += (edge["kind"],)
        if edge["closed"]:
            border["closed"] = True
            border["normal_amps"] += float(edge["normal_amps"])
        else:
            border["open_branches"] += names
    return touching

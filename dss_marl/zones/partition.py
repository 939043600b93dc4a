"""Parts of a graph: what partition methods share, and the rules by which every bus finds its zone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import networkx as nx
import numpy as np

from dss_marl.grid.feeder import Feeder

Partition = Sequence[set[str]]  # disjoint sets of buses that together hold every bus
BASE_MVA = 1.0
FLOOR = 0.1  # least impedance of a branch, in medians: a closed switch must not outweigh the feeder


class Parts(list[set[str]]):
    """A partition that says more than its sets.

    Attributes:
        names: of the zones, and so of the agents; () gives zone_1, zone_2, ...
        connected: False lets a zone lie in several pieces. Only for zones that are coupled in another way, as the
            houses on one phase are through the conductor of that phase; check_partition then does not ask for it.
    """

    def __init__(self, parts: Iterable[set[str]], names: Sequence[str] = (), connected: bool = True) -> None:
        super().__init__(parts)
        self.names = tuple(names)
        self.connected = connected


def zone_names(parts: Partition) -> tuple[str, ...]:
    """The zones' names: their own, or zone_1, zone_2, ..."""
    return getattr(parts, "names", ()) or tuple(f"zone_{z}" for z in range(1, len(parts) + 1))


def feeder_graph(feeder: Feeder) -> nx.Graph:
    """``Feeder.graph()``, each bus with ``load_phases``, the phases that its loads connect to."""
    graph = feeder.graph()
    found: dict[str, set[int]] = defaultdict(set)
    for load in feeder.loads:
        found[feeder.injections[load].bus].update(feeder.injections[load].phases)
    for bus, facts in graph.nodes(data=True):
        facts["load_phases"] = tuple(sorted(found[bus]))
    return graph


# --- which buses live -----------------------------------------------------------------------------------------------


def closed_graph(graph: nx.Graph) -> nx.Graph:
    """All buses with the branches that are closed; data are shared, not copied."""
    closed = nx.Graph(**graph.graph)
    closed.add_nodes_from(graph.nodes(data=True))
    closed.add_edges_from((a, b, edge) for a, b, edge in graph.edges(data=True) if edge.get("closed", True))
    return closed


def source_of(graph: nx.Graph) -> str:
    """The source bus; the first bus of a graph that names none."""
    return str(graph.graph.get("source", next(iter(graph))))


def live_graph(graph: nx.Graph) -> nx.Graph:
    """The closed branches and the buses that they join to the source; edges carry ``z_pu`` and ``admittance`` [pu].

    Impedances are magnitudes on a base of 1 MVA, a transformer's referred to its higher voltage. None is taken as less
    than a tenth of the median: a closed switch would outweigh all else.
    """
    closed = closed_graph(graph)
    live = nx.node_connected_component(closed, source_of(graph))
    result = nx.Graph(**graph.graph)
    result.add_nodes_from((bus, facts) for bus, facts in graph.nodes(data=True) if bus in live)
    edges = [(a, b, edge) for a, b, edge in closed.edges(data=True) if a in live]
    z = np.array([_z_pu(graph, a, b, edge) for a, b, edge in edges])
    least = FLOOR * float(np.median(z)) if len(z) else 0.0
    z = np.maximum(z, least or 1e-6)
    result.add_edges_from(
        (a, b, {**edge, "z_pu": u, "admittance": 1 / u}) for (a, b, edge), u in zip(edges, z, strict=True)
    )
    return result


def _z_pu(graph: nx.Graph, a: str, b: str, edge: dict[str, Any]) -> float:
    kv = max(graph.nodes[a].get("kv_base", 1.0), graph.nodes[b].get("kv_base", 1.0))
    return float(np.hypot(edge.get("r_ohm", 1.0), edge.get("x_ohm", 0.0)) * BASE_MVA / (3 * kv**2))


# --- every bus finds its zone ---------------------------------------------------------------------------------------


def completed(graph: nx.Graph, parts: Iterable[set[str]]) -> list[set[str]]:
    """The parts with every other bus of the graph added, from the source outward.

    Buses in no part go, piece by piece, where closed branches lead them, to the zone of strongest coupling; dead ones
    (behind open branches only) to the zone across an open branch; what no branch joins to anything, to the source's.
    """
    zones = [set(part) for part in parts]
    home = {bus: z for z, zone in enumerate(zones) for bus in zone}
    loose = [bus for bus in graph if bus not in home]
    if loose:
        pieces = list(nx.connected_components(closed_graph(graph.subgraph(loose))))
        pieces.sort(key=lambda piece: (-len(piece), min(piece)))
        while pieces:
            drawn = [(_pull(graph, piece, home), piece) for piece in pieces]
            settled = [(max(pull, key=lambda z: (pull[z], -z)), piece) for pull, piece in drawn if pull]
            settled = settled or [(home.get(source_of(graph), 0), piece) for _, piece in drawn]
            for z, piece in settled:
                zones[z] |= piece
                home |= dict.fromkeys(piece, z)
            pieces = [piece for piece in pieces if not piece <= home.keys()]
    return in_order(graph, zones)


def _pull(graph: nx.Graph, piece: set[str], home: dict[str, int]) -> dict[int, tuple[bool, float]]:
    """How strongly each neighbouring zone is coupled to the piece: through closed branches before open ones."""
    pull: dict[int, tuple[bool, float]] = {}
    for bus in sorted(piece):
        for other, edge in graph[bus].items():
            if other in home:
                closed, weight = bool(edge.get("closed", True)), 1 / max(_z_pu(graph, bus, other, edge), 1e-9)
                before = pull.get(home[other], (False, 0.0))
                same = before[1] if before[0] == closed else 0.0
                pull[home[other]] = max(before, (closed, same + weight))
    return pull


def in_pieces(graph: nx.Graph, parts: Iterable[set[str]]) -> list[set[str]]:
    """The largest connected piece of each part; the rest is left to ``completed``."""
    kept = []
    for part in parts:
        pieces = list(nx.connected_components(graph.subgraph(part)))
        kept.append(min(pieces, key=lambda piece: (-len(piece), min(piece))))
    return kept


def in_order(graph: nx.Graph, parts: Iterable[set[str]]) -> list[set[str]]:
    """The parts from the source outward, by the hops of their nearest bus; ties in bus order."""
    hops = nx.single_source_shortest_path_length(graph, source_of(graph))
    order = {bus: (hops.get(bus, len(graph)), i) for i, bus in enumerate(graph)}
    return sorted((set(part) for part in parts), key=lambda part: min(order[bus] for bus in part))


def without_source(live: nx.Graph) -> nx.Graph:
    """The live graph less a source bus that hangs on one neighbour: it is never judged, so it joins that one's zone."""
    source = source_of(live)
    if len(live) < 3 or live.degree(source) != 1:
        return live
    return live.subgraph([bus for bus in live if bus != source])


def merged_source(live: nx.Graph, parts: Sequence[set[str]]) -> list[set[str]]:
    """The parts, a source bus that is alone given to the zone it is coupled to most: alone it would judge nothing."""
    source = source_of(live)
    if len(parts) < 2 or {source} not in parts:
        return list(parts)
    return [part for part in parts if part != {source}]


def check_count(graph: nx.Graph, count: int, most: int, what: str = "buses") -> None:
    """``count`` must be a whole number from 1 to ``most``, the number of ``what``; ValueError otherwise."""
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise TypeError(f"count must be a whole number; got {count!r}")
    if not 1 <= count <= most:
        raise ValueError(f"zones: count must be between 1 and {most} (the {what} of {graph.name!r}); got {count}")

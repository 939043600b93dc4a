"""Helpers of partition methods, and the assignment of remaining buses to zones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import networkx as nx
import numpy as np

from dss_marl.grid.feeder import Feeder

Partition = Sequence[set[str]]  # disjoint sets of buses that together hold every bus
BASE_MVA = 1.0
FLOOR = 0.1  # lower bound of branch impedance, in medians: a closed switch must not dominate the feeder


class Parts(list[set[str]]):
    """A partition with zone names and a connectivity flag.

    Attributes:
        names: of the zones, and so of the agents; () gives zone_1, zone_2, ...
        connected: False allows a zone in several pieces. Only for zones coupled in another way, such as the customers
            on one phase, through the conductor of that phase; check_partition then skips the test of connectivity.
    """

    def __init__(self, parts: Iterable[set[str]], names: Sequence[str] = (), connected: bool = True) -> None:
        super().__init__(parts)
        self.names = tuple(names)
        self.connected = connected


def listed(option: str, value: Any) -> tuple[Any, ...]:
    """The value of an option as a tuple.

    Raises:
        ValueError: a lone string, which would be read letter by letter, or no list.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"zones: {option} must be a list, such as [{value}]; got {value!r}")
    return tuple(value)


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


# --- energised buses ------------------------------------------------------------------------------------------------


def closed_graph(graph: nx.Graph) -> nx.Graph:
    """All buses with the closed branches; data are shared, not copied."""
    closed = nx.Graph(**graph.graph)
    closed.add_nodes_from(graph.nodes(data=True))
    closed.add_edges_from((a, b, edge) for a, b, edge in graph.edges(data=True) if edge.get("closed", True))
    return closed


def source_of(graph: nx.Graph) -> str:
    """The source bus; the first bus if the graph names none."""
    return str(graph.graph.get("source", next(iter(graph))))


def live_graph(graph: nx.Graph) -> nx.Graph:
    """Closed branches and the buses connected to the source; edges carry ``z_pu`` and ``admittance`` [pu].

    Impedances are magnitudes on a base of 1 MVA; that of a transformer is referred to its higher voltage. They are
    bounded from below by a tenth of the median, since a closed switch would otherwise dominate.
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


# --- assignment of remaining buses ----------------------------------------------------------------------------------


def completed(graph: nx.Graph, parts: Iterable[set[str]]) -> list[set[str]]:
    """Add every remaining bus of the graph to a part; parts are ordered from the source outward.

    Unassigned buses join, piece by piece, the most strongly coupled zone across closed branches; de-energised ones
    (behind open branches only) the zone across an open branch; isolated ones the zone of the source.
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
    """Coupling of the piece to each neighbouring zone; closed branches take precedence over open ones."""
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
    """The largest connected piece of each part; ``completed`` assigns the rest."""
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
    """The live graph without a source bus that has a single neighbour: it is never scored, so it joins its zone."""
    source = source_of(live)
    if len(live) < 3 or live.degree(source) != 1:
        return live
    return live.subgraph([bus for bus in live if bus != source])


def merged_source(live: nx.Graph, parts: Sequence[set[str]]) -> list[set[str]]:
    """Merge a source bus that is alone with the most strongly coupled zone: alone it would have no scored node."""
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

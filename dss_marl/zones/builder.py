"""Checks of a partition, and construction of its zones."""

from __future__ import annotations

from collections.abc import Iterable

import networkx as nx
import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import IntArray
from dss_marl.grid.voltage_band import VoltageBand
from dss_marl.zones.partition import Partition, closed_graph, zone_names
from dss_marl.zones.rows import find_rows
from dss_marl.zones.zone import Zone


def check_partition(feeder: Feeder, parts: Partition) -> None:
    """Zones are disjoint, connected and cover every bus.

    A zone is connected through its own closed branches. A de-energised bus, without a closed path to the source, may
    instead be connected to its zone by an open branch, and an isolated bus may be in any zone. Zones of
    ``Parts(..., connected=False)`` need not be connected.

    Raises:
        ValueError: a condition is violated; names the buses.
    """
    known = set(feeder.bus_index)
    names = zone_names(parts)
    if len(names) != len(parts) or len(set(names)) != len(names):
        raise ValueError(f"the {len(parts)} zones of feeder {feeder.name!r} need unique names; got {', '.join(names)}")
    seen: dict[str, str] = {}
    graph = feeder.graph()
    closed = closed_graph(graph)
    live = nx.node_connected_component(closed, feeder.source_bus)
    adrift = set(graph) - nx.node_connected_component(graph, feeder.source_bus)
    for name, part in zip(names, parts, strict=True):
        if not part:
            raise ValueError(f"{name} of feeder {feeder.name!r} contains no bus")
        foreign = sorted(set(part) - known)
        if foreign:
            raise ValueError(f"{name}: bus {foreign[0]!r} does not exist on feeder {feeder.name!r}")
        twice = sorted(bus for bus in part if bus in seen)
        if twice:
            raise ValueError(f"bus {twice[0]!r} is in {seen[twice[0]]} and in {name}; a bus belongs to one zone")
        seen |= dict.fromkeys(part, name)
        pieces = _pieces(graph, closed, live, set(part) - adrift or set(part))
        if len(pieces) > 1 and getattr(parts, "connected", True):
            alone = sorted(sorted(pieces, key=len)[0])
            raise ValueError(
                f"{name} of feeder {feeder.name!r} is not connected: {', '.join(alone[:10])} "
                "cannot be reached from the rest through closed branches inside the zone"
            )
    missing = sorted(known - set(seen))
    if missing:
        raise ValueError(
            f"no zone contains bus {', '.join(missing[:10])} of feeder {feeder.name!r}; zones must cover every bus"
        )


def _by_bus(feeder: Feeder, nodes: IntArray) -> tuple[IntArray, IntArray]:
    """The nodes bus by bus, and where those of each bus begin; OpenDSS's order may part the nodes of a bus."""
    bus = np.asarray(feeder.node_bus)[nodes]
    order = np.argsort(bus, kind="stable")
    first = np.flatnonzero(np.diff(bus[order], prepend=-1))
    return nodes[order], first


def _pieces(graph: nx.Graph, closed: nx.Graph, live: set[str], part: set[str]) -> list[set[str]]:
    """Connected pieces of a zone; a de-energised piece is merged with one across an open branch."""
    pieces = [set(piece) for piece in nx.connected_components(closed.subgraph(part))]
    if len(pieces) == 1:
        return pieces
    rooted = [piece for piece in pieces if piece <= live] or pieces[:1]
    dead = [piece for piece in pieces if piece not in rooted]
    while dead:
        joined = [piece for piece in dead if any(other in r for bus in piece for other in graph[bus] for r in rooted)]
        if not joined:
            break
        for piece in joined:
            next(r for r in rooted if any(other in r for bus in piece for other in graph[bus])).update(piece)
            dead.remove(piece)
    return rooted + dead


def build_zones(
    feeder: Feeder, parts: Partition, excluded_buses: Iterable[str] = (), band: VoltageBand | None = None
) -> tuple[Zone, ...]:
    """Zones with the indices of their elements.

    A tapped winding belongs to the zone of its regulated bus, a capacitor step to the zone of its bus.

    Args:
        feeder: the circuit.
        parts: sets of buses, named if ``Parts``.
        excluded_buses: buses without scored voltages, since no agent can influence them; the source bus always is one.
        band: voltage limits of the nodes; None: 0.95 to 1.05 pu.

    Raises:
        ValueError: the partition is invalid, or an excluded bus does not exist.
    """
    check_partition(feeder, parts)
    names = zone_names(parts)
    out = {feeder.source_bus} | {feeder.bus(bus).name for bus in excluded_buses}
    zone_of = {bus: z for z, part in enumerate(parts) for bus in part}
    bus_of_node = [feeder.buses[bus].name for bus in feeder.node_bus]
    zone_of_node = np.array([zone_of[bus] for bus in bus_of_node], dtype=np.int64)
    scored = np.array([bus not in out for bus in bus_of_node])
    found = find_rows(feeder, zone_of, len(parts))
    zones, band = [], band or VoltageBand()
    for z, part in enumerate(parts):
        own = zone_of_node == z
        if not (own & scored).any():
            raise ValueError(f"{names[z]} has no scored node, only {', '.join(sorted(part)[:8])}; choose larger zones")
        bus_nodes, bus_starts = _by_bus(feeder, np.flatnonzero(own & scored))
        zones.append(
            Zone(
                name=names[z],
                buses=tuple(sorted(part, key=feeder.bus_index.__getitem__)),
                nodes=np.flatnonzero(own),
                scored_nodes=np.flatnonzero(own & scored),
                rows=found[z],
                index=np.array(z),
                count=len(parts),
                n_scored_nodes=int(scored.sum()),
                band=band,
                scored_by_bus=bus_nodes,
                scored_bus_starts=bus_starts,
            )
        )
    return tuple(zones)

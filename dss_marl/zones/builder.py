"""Checks of a partition, and construction of its zones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import networkx as nx
import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import IntArray
from dss_marl.zones.partition import Partition, closed_graph, zone_names
from dss_marl.zones.zone import PADDED, Zone


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


def build_zones(feeder: Feeder, parts: Partition, excluded_buses: Iterable[str] = ()) -> tuple[Zone, ...]:
    """Zones with the indices of their elements.

    A tapped winding belongs to the zone of its regulated bus, a capacitor step to the zone of its bus.

    Args:
        feeder: the circuit.
        parts: sets of buses, named if ``Parts``.
        excluded_buses: buses without scored voltages, since no agent can influence them; the source bus always is one.

    Raises:
        ValueError: the partition is invalid, or an excluded bus does not exist.
    """
    check_partition(feeder, parts)
    names = zone_names(parts)
    out = {feeder.source_bus} | {feeder.bus(bus).name for bus in excluded_buses}
    indices = _rows(feeder, parts, out)
    order = feeder.bus_index
    zones = []
    for z, part in enumerate(parts):
        own: dict[str, Any] = {field: of_zone[z] for field, of_zone in indices.items()}
        weights: dict[str, Any] = {weight: np.ones(len(own[field])) for field, weight in PADDED.items()}
        if not len(own["scored_nodes"]):
            raise ValueError(f"{names[z]} has no scored node, only {', '.join(sorted(part)[:8])}; choose larger zones")
        zones.append(
            Zone(
                name=names[z],
                buses=tuple(sorted(part, key=order.__getitem__)),
                index=np.array(z),
                count=len(parts),
                n_scored_nodes=sum(map(len, indices["scored_nodes"])),
                **own,
                **weights,
                **_units(feeder, own["units"]),
                load_priority=np.ones(len(own["loads"])),
                pv_unit_kw=np.array([feeder.injections[j].kw for j in own["pv_units"]]),
                tap_nodes=np.array([_regulated_node(feeder, r) for r in own["taps"]], dtype=np.int64),
            )
        )
    return tuple(zones)


def _regulated_node(feeder: Feeder, tap: int) -> int:
    """The first-phase node of the bus that a winding regulates."""
    row = feeder.taps[tap]
    return feeder.node_index[f"{row.bus2}.{row.phases[0]}"]


def _units(feeder: Feeder, units: IntArray) -> dict[str, Any]:
    """Nodes of a zone's units, weights of these nodes, and ratings [kW]."""
    nodes, weight = np.zeros((len(units), 3), np.int64), np.zeros((len(units), 3))
    for u, unit in enumerate(units):
        at = feeder.injections[unit].nodes
        nodes[u, : len(at)] = at
        weight[u, : len(at)] = 1 / len(at)
    rated = np.array([feeder.injections[unit].kw for unit in units])
    return {"unit_nodes": nodes, "unit_node_weight": weight, "unit_kw": rated}


def _rows(feeder: Feeder, parts: Partition, out: set[str]) -> dict[str, list[IntArray]]:
    """Indices of the elements in each part, by field name of Zone; ``out`` are the excluded buses."""
    zone_of = {bus: z for z, part in enumerate(parts) for bus in part}
    bus_of_node = [feeder.buses[bus].name for bus in feeder.node_bus]

    def rows(pairs: Iterable[tuple[int, str]]) -> list[IntArray]:
        found: list[list[int]] = [[] for _ in parts]
        for i, bus in pairs:
            found[zone_of[bus]].append(i)
        return [np.array(own, dtype=np.int64) for own in found]

    return {
        "nodes": rows(enumerate(bus_of_node)),
        "scored_nodes": rows((i, bus) for i, bus in enumerate(bus_of_node) if bus not in out),
        "loads": rows((int(i), feeder.injections[i].bus) for i in feeder.loads),
        "units": rows((i, row.bus) for i, row in enumerate(feeder.injections) if row.kind != "load"),
        "taps": rows((r, row.bus2) for r, row in enumerate(feeder.taps)),
        "pv_units": rows((i, row.bus) for i, row in enumerate(feeder.injections) if row.kind == "inverter"),
        "capacitors": rows((s, row.bus) for s, row in enumerate(feeder.switches) if row.kind == "capacitor"),
        "switches": rows((s, row.bus) for s, row in enumerate(feeder.switches) if row.kind == "switch"),
        "borders": rows(
            (m, bus)
            for m, row in enumerate(feeder.branches)
            if zone_of[row.bus1] != zone_of[row.bus2]
            for bus in (row.bus1, row.bus2)
        ),
    }

"""Zones: connected sets of buses, found by partition methods on the feeder's graph and checked by build_zones."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import networkx as nx
import numpy as np

from dss_marl.feeder import Feeder
from dss_marl.state import Array, IntArray

Partition = Sequence[set[str]]


# --- partition methods: graph -> sets of buses ----------------------------------------------------------------------


def cut(graph: nx.Graph, kinds: Sequence[str] = ("regulator", "switch"), branches: Sequence[str] = ()) -> Partition:
    """Zones are what remains connected when branches of these kinds, and these named branches, are cut.

    Zones are numbered from the source outward.

    Raises:
        ValueError: a named branch does not exist.
    """
    known = {name for _, _, names in graph.edges(data="branches") for name in names}
    full = {name.split(".", 1)[-1]: name for name in known} | {name: name for name in known}
    unknown = [name for name in branches if str(name).lower() not in full]
    if unknown:
        raise ValueError(
            f"zones: branch {unknown[0]!r} does not exist on {graph.name!r}; known: {', '.join(sorted(known))}"
        )
    named = {full[str(name).lower()] for name in branches}
    rest = nx.Graph(graph)
    rest.remove_edges_from(
        [
            (a, b)
            for a, b, edge in graph.edges(data=True)
            if edge["kind"] in kinds or not edge["closed"] or named & set(edge["branches"])
        ]
    )
    return _in_order(graph, nx.connected_components(rest))


def balanced(graph: nx.Graph, count: int) -> Partition:
    """``count`` connected zones of similar load, by cutting one edge after another of a spanning tree.

    Each cut splits the zone with most load where its two parts become most equal; buses, so that a part without load
    is not preferred, weigh a hundredth of the mean bus load each. Deterministic.

    Raises:
        ValueError: ``count`` is not between 1 and the number of buses, or the feeder is not connected.
    """
    if not 1 <= count <= len(graph):
        raise ValueError(f"zones: count must be between 1 and {len(graph)} (the buses of {graph.name!r}); got {count}")
    closed = nx.Graph(graph)
    closed.remove_edges_from([(a, b) for a, b, is_closed in graph.edges(data="closed") if not is_closed])
    if not nx.is_connected(closed):
        alone = min(nx.connected_components(closed), key=len)
        raise ValueError(
            f"zones: {graph.name!r} is not connected; apart from the rest: {', '.join(sorted(alone)[:10])}"
        )
    load = dict(closed.nodes(data="load_kw", default=0.0))
    share = max(sum(load.values()), 1e-9) / len(load) / 100
    parts = [nx.minimum_spanning_tree(closed, weight=None)]
    while len(parts) < count:
        parts.sort(key=lambda tree: (-sum(load[n] + share for n in tree) * (len(tree) > 1), min(tree)))
        parts += _halves(parts.pop(0), {n: load[n] + share for n in load})
    return _in_order(graph, [set(tree) for tree in parts])


def _halves(tree: nx.Graph, weight: Mapping[str, float]) -> list[nx.Graph]:
    """The two parts of a tree after its most even cut."""
    root = min(tree)
    below = {n: weight[n] for n in tree}
    parent = {}
    for node, up in reversed(list(nx.bfs_predecessors(tree, root))):
        below[up] += below[node]
        parent[node] = up
    total = below[root]
    child = min(parent, key=lambda n: (abs(total - 2 * below[n]), n))
    rest = tree.copy()
    rest.remove_edge(child, parent[child])
    return [rest.subgraph(part).copy() for part in nx.connected_components(rest)]


def _in_order(graph: nx.Graph, parts: Iterable[set[str]]) -> Partition:
    """The parts from the source outward, by the hops of their nearest bus; ties in bus order."""
    source = graph.graph.get("source", next(iter(graph)))
    hops = nx.single_source_shortest_path_length(graph, source)
    order = {bus: (hops.get(bus, len(graph)), i) for i, bus in enumerate(graph)}
    return sorted((set(part) for part in parts), key=lambda part: min(order[bus] for bus in part))


METHODS: dict[str, Callable[..., Partition]] = {"cut": cut, "balanced": balanced}


def partition(graph: nx.Graph, method: str, **options: Any) -> Partition:
    """Apply a partition method by name, or one's own as ``package.module:function``.

    Raises:
        ValueError: unknown method, or options that it does not take.
    """
    function = METHODS.get(method) or imported(method, "partition method", METHODS)
    try:
        return function(graph, **options)
    except TypeError as error:
        raise ValueError(f"zones: method {method!r} does not take {options}: {error}") from error


def imported(name: str, what: str, known: Iterable[str]) -> Any:
    """What ``package.module:function`` names.

    Raises:
        ValueError: not of that form, or nothing there; the message lists the known names.
    """
    module, _, attribute = str(name).partition(":")
    if not attribute:
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(sorted(known))}, or 'package.module:function'")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{what} {name!r} cannot be imported: {error}") from error


# --- zones ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Zone:
    """One zone, or all zones stacked.

    For one zone every index array is 1-D. Stacked (``name`` is ``"all"``), the rows of units, loads, taps and switches
    gain a leading axis Z and are padded with index 0 and weight 0; ``lowest``, ``mean``, ``highest`` and ``total`` of
    node values then give (..., Z) instead of (...). So one function serves one zone and all.

    Attributes:
        name: the agent's name.
        buses: bus names.
        nodes: (n) node indices; stacked, zone after zone.
        judged: (n) the nodes that rewards and metrics judge, likewise.
        loads, load_weight: (l) indices of the zone's loads; weight 1, or 0 where padded.
        units, unit_weight: (u) indices of the zone's other injections.
        unit_nodes, unit_node_weight: (u, 3) the nodes of each unit; the weights of a unit sum to 1.
        unit_kw: (u) rating of each unit [kW].
        taps, tap_weight: (r) indices of the tapped windings that regulate a bus of the zone.
        tap_nodes: (r) the node that each of these windings regulates.
        switches, switch_weight: (s) indices of the switches and capacitor steps at its buses.
        index: position among the zones; (Z) when stacked.
        count: number of zones Z.
        all_judged: number of judged nodes on the whole feeder.
        starts: stacked, (Z) where each zone's nodes begin in ``judged``; None for one zone.
    """

    name: str
    buses: tuple[str, ...]
    nodes: IntArray
    judged: IntArray
    loads: IntArray
    load_weight: Array
    units: IntArray
    unit_weight: Array
    unit_nodes: IntArray
    unit_node_weight: Array
    unit_kw: Array
    taps: IntArray
    tap_weight: Array
    tap_nodes: IntArray
    switches: IntArray
    switch_weight: Array
    index: IntArray
    count: int
    all_judged: int
    starts: IntArray | None = None

    def lowest(self, x: Array) -> Array:
        """Lowest of (..., N) node values over the judged nodes."""
        return self._reduced(np.minimum, x)

    def highest(self, x: Array) -> Array:
        """Highest of (..., N) node values over the judged nodes."""
        return self._reduced(np.maximum, x)

    def total(self, x: Array) -> Array:
        """Sum of (..., N) node values over the judged nodes."""
        return self._reduced(np.add, x)

    def mean(self, x: Array) -> Array:
        """Mean of (..., N) node values over the judged nodes."""
        return self._reduced(np.add, x) / self.sizes

    @cached_property
    def sizes(self) -> Any:
        """Number of judged nodes; (Z) when stacked."""
        return len(self.judged) if self.starts is None else np.diff(self.starts, append=len(self.judged))

    def _reduced(self, ufunc: np.ufunc, x: Array) -> Array:
        if self.starts is None:
            return np.asarray(ufunc.reduce(x[..., self.judged], axis=-1))
        return np.asarray(ufunc.reduceat(x[..., self.judged], self.starts, axis=-1))


_PADDED = {
    "loads": "load_weight",
    "units": "unit_weight",
    "taps": "tap_weight",
    "switches": "switch_weight",
}


_Function = TypeVar("_Function", bound=Callable[..., Any])


def all_zones(function: _Function) -> _Function:
    """Mark a function of (zone, ...) that also takes all zones stacked, so that one call serves every zone.

    Such a function must honour the weights: padded entries have weight 0. A value that is the same for every zone may
    leave the zone axis out.
    """
    function.all_zones = True  # type: ignore[attr-defined]
    return function


def over_zones(function: Callable[..., Any], zones: Sequence[Zone], stacked: Zone, *states: Any) -> Array:
    """(..., Z) a term's values for all zones, in one call where it allows that; a number if it is the same for all."""
    if getattr(function, "all_zones", False):
        return function(stacked, *states)
    return np.stack([np.asarray(function(zone, *states), float) for zone in zones], axis=-1)


def stack(zones: Sequence[Zone]) -> Zone:
    """All zones as one Zone with a leading axis; see Zone."""
    fields: dict[str, Any] = {}
    for name, weight in _PADDED.items():
        width = max(len(getattr(zone, name)) for zone in zones)
        index, mask = np.zeros((len(zones), width), np.int64), np.zeros((len(zones), width))
        for z, zone in enumerate(zones):
            own = getattr(zone, name)
            index[z, : len(own)] = own
            mask[z, : len(own)] = 1.0
        fields[name], fields[weight] = index, mask
    shape = fields["units"].shape
    fields["unit_nodes"], fields["unit_node_weight"] = np.zeros((*shape, 3), np.int64), np.zeros((*shape, 3))
    fields["unit_kw"] = np.ones(shape)
    fields["tap_nodes"] = np.zeros(fields["taps"].shape, np.int64)
    for z, zone in enumerate(zones):
        own_units = len(zone.units)
        for name in ("unit_nodes", "unit_node_weight", "unit_kw"):
            fields[name][z, :own_units] = getattr(zone, name)
        fields["tap_nodes"][z, : len(zone.taps)] = zone.tap_nodes
    return Zone(
        name="all",
        buses=tuple(bus for zone in zones for bus in zone.buses),
        nodes=np.concatenate([zone.nodes for zone in zones]),
        judged=np.concatenate([zone.judged for zone in zones]),
        starts=np.cumsum([0, *(len(zone.judged) for zone in zones[:-1])]),
        index=np.arange(len(zones)),
        count=len(zones),
        all_judged=zones[0].all_judged,
        **fields,
    )


def check_partition(feeder: Feeder, parts: Partition) -> None:
    """Zones are disjoint, connected and cover every bus.

    Raises:
        ValueError: naming the buses at fault.
    """
    known = set(feeder.bus_index)
    seen: dict[str, int] = {}
    graph = feeder.graph()
    graph.remove_edges_from([(a, b) for a, b, closed in list(graph.edges(data="closed")) if not closed])
    for z, part in enumerate(parts, start=1):
        if not part:
            raise ValueError(f"zone_{z} of feeder {feeder.name!r} has no bus")
        foreign = sorted(set(part) - known)
        if foreign:
            raise ValueError(f"zone_{z}: bus {foreign[0]!r} does not exist on feeder {feeder.name!r}")
        twice = sorted(bus for bus in part if bus in seen)
        if twice:
            raise ValueError(f"bus {twice[0]!r} is in zone_{seen[twice[0]]} and in zone_{z}; a bus belongs to one zone")
        seen |= dict.fromkeys(part, z)
        pieces = sorted(nx.connected_components(graph.subgraph(part)), key=len)
        if len(pieces) > 1:
            raise ValueError(
                f"zone_{z} of feeder {feeder.name!r} is not connected: {', '.join(sorted(pieces[0])[:10])} "
                "cannot be reached from the rest through closed branches inside the zone"
            )
    missing = sorted(known - set(seen))
    if missing:
        raise ValueError(
            f"no zone has bus {', '.join(missing[:10])} of feeder {feeder.name!r}; zones must cover every bus"
        )


def _regulated_node(feeder: Feeder, tap: int) -> int:
    """First phase of the bus that a winding regulates."""
    row = feeder.taps[tap]
    return feeder.node_index[f"{row.bus2}.{row.phases[0]}"]


def build_zones(feeder: Feeder, parts: Partition, unjudged: Iterable[str] = ()) -> tuple[Zone, ...]:
    """Zones with what lies in them.

    A tapped winding belongs to the zone of the bus that it regulates, a switch to the zone of its first bus.

    Args:
        feeder: the circuit.
        parts: sets of buses.
        unjudged: buses whose voltage no agent can change; the source bus always is one.

    Raises:
        ValueError: the partition is not one, or an unjudged bus does not exist.
    """
    check_partition(feeder, parts)
    out = {feeder.source_bus} | {feeder.bus(bus).name for bus in unjudged}
    zone_of = {bus: z for z, part in enumerate(parts) for bus in part}
    bus_of_node = [node.rsplit(".", 1)[0] for node in feeder.nodes]
    all_judged = sum(bus not in out for bus in bus_of_node)
    order = feeder.bus_index

    def rows(pairs: Iterable[tuple[int, str]], z: int) -> IntArray:
        return np.array([i for i, bus in pairs if zone_of[bus] == z], dtype=np.int64)

    zones = []
    for z, part in enumerate(parts):
        indices: dict[str, Any] = {
            "nodes": rows(enumerate(bus_of_node), z),
            "judged": rows(((i, bus) for i, bus in enumerate(bus_of_node) if bus not in out), z),
            "loads": rows(((int(i), feeder.injections[i].bus) for i in feeder.loads), z),
            "units": rows(((i, row.bus) for i, row in enumerate(feeder.injections) if row.kind != "load"), z),
            "taps": rows(((r, row.bus2) for r, row in enumerate(feeder.taps)), z),
            "switches": rows(((s, row.bus) for s, row in enumerate(feeder.switches)), z),
        }
        if not len(indices["judged"]):
            shown = ", ".join(sorted(part)[:8])
            raise ValueError(f"zone_{z + 1} has no judged node, only {shown}; choose larger zones")
        weights: dict[str, Any] = {weight: np.ones(len(indices[name])) for name, weight in _PADDED.items()}
        units = [feeder.injections[i] for i in indices["units"]]
        unit_nodes, unit_node_weight = np.zeros((len(units), 3), np.int64), np.zeros((len(units), 3))
        for u, unit in enumerate(units):
            unit_nodes[u, : len(unit.nodes)] = unit.nodes
            unit_node_weight[u, : len(unit.nodes)] = 1 / len(unit.nodes)
        zones.append(
            Zone(
                name=f"zone_{z + 1}",
                buses=tuple(sorted(part, key=order.__getitem__)),
                index=np.array(z),
                count=len(parts),
                all_judged=all_judged,
                unit_nodes=unit_nodes,
                unit_node_weight=unit_node_weight,
                unit_kw=np.array([unit.kw for unit in units]),
                tap_nodes=np.array([_regulated_node(feeder, r) for r in indices["taps"]], dtype=np.int64),
                **indices,
                **weights,
            )
        )
    return tuple(zones)

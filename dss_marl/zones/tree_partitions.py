"""Partitions along the feeder's tree: by laterals, or by phases."""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx

from dss_marl.zones.partition import Partition, Parts, check_count, completed, live_graph, merged_source, source_of

MINIMUM = 3  # minimum number of buses of a lateral zone


def outward(live: nx.Graph) -> tuple[list[str], dict[str, str]]:
    """The buses from the source outward, and the predecessor of each on its shortest path."""
    source = source_of(live)
    before = dict(nx.bfs_predecessors(live, source))
    return [source, *before], before


def downstream(buses: list[str], before: Mapping[str, str], weight: Mapping[str, float]) -> dict[str, float]:
    """Sum of the weights of each bus and all buses downstream."""
    total = {bus: float(weight[bus]) for bus in buses}
    for bus in reversed(buses[1:]):
        total[before[bus]] += total[bus]
    return total


# --- laterals -------------------------------------------------------------------------------------------------------


def laterals(graph: nx.Graph, count: int | None = None, minimum: int = MINIMUM, main: str = "own") -> Partition:
    """A zone for each lateral off the main branch, and one for the main branch.

    The main branch follows the highest load from the source to the last bus where a lateral branches off; the rest
    downstream is a lateral like the others. On case33 the result equals the hand-drawn zones of the benchmark below.
    Small laterals stay with the main branch.

    Args:
        graph: the feeder's.
        count: number of zones, given to the laterals with the highest load; None: all large enough.
        minimum: buses that a lateral must have if ``count`` is None.
        main: "own" makes the main branch a zone; "shared" assigns each of its buses to the nearest lateral.

    Raises:
        ValueError: ``count`` exceeds the number of laterals, or ``main`` is neither.

    Source: Wang et al., Multi-agent reinforcement learning for active voltage control, NeurIPS 2021,
    arXiv:2110.14300.
    """
    if main not in ("own", "shared"):
        raise ValueError(f"zones: main must be 'own' or 'shared'; got {main!r}")
    live = live_graph(graph)
    buses, before = outward(live)
    size = downstream(buses, before, dict.fromkeys(buses, 1.0))
    load = downstream(buses, before, dict(live.nodes(data="load_kw", default=0.0)))
    rank = {bus: (-load[bus], -size[bus], i) for i, bus in enumerate(buses)}
    beyond: dict[str, list[str]] = {bus: [] for bus in buses}
    for bus, up in before.items():
        beyond[up].append(bus)
    path = [buses[0]]
    while beyond[path[-1]]:
        path.append(min(beyond[path[-1]], key=rank.__getitem__))
    on_path = {bus: i for i, bus in enumerate(path)}
    side = sorted((bus for bus in before if before[bus] in on_path and bus not in on_path), key=rank.__getitem__)
    if count is None:
        heads = [bus for bus in side if size[bus] >= minimum]
    else:
        own = main == "own" and bool(side)
        check_count(graph, count, len(side) + 1 + own, "laterals and main branch")
        heads = side[: 1 if own and count == 2 else max(count - 1 - own, 0)]
    last = max((on_path[before[bus]] for bus in heads), default=-1)
    if last >= 0 and (size[path[last + 1]] >= minimum if count is None else len(heads) + (main == "own") < count):
        heads.append(path[last + 1])
    parts = _from_heads(buses, before, heads, path[: last + 1], main)
    if main == "own" and {buses[0]} in parts:  # a single source bus has no voltage to control
        return laterals(graph, count, minimum, "shared")
    return completed(graph, merged_source(live, parts))


def _from_heads(
    buses: list[str], before: Mapping[str, str], heads: list[str], path: list[str], main: str
) -> list[set[str]]:
    """The subtree of each head, and the rest: one more zone, or assigned along the path to the nearest heads."""
    home = {head: z for z, head in enumerate(heads)}
    if main == "shared" and heads:
        first: dict[str, int] = {}
        for z, head in enumerate(heads):  # a coupling point belongs to its largest lateral
            first.setdefault(before[head], z)
        coupled = [(i, first[bus]) for i, bus in enumerate(path) if bus in first]
        home |= {bus: min(coupled, key=lambda c: (abs(c[0] - i), c[0]))[1] for i, bus in enumerate(path)}
    for bus in buses:
        home.setdefault(bus, home.get(before.get(bus, ""), len(heads)))
    parts: list[set[str]] = [set() for _ in range(len(heads) + 1)]
    for bus, z in home.items():
        parts[z].add(bus)
    return [part for part in parts if part]


# --- phases ---------------------------------------------------------------------------------------------------------


def phases(graph: nx.Graph, trunk: int | None = None) -> Partition:
    """A zone for each phase, for feeders with one-phase customers, and one for the common trunk.

    A bus belongs to a phase if it has no other, or if all loads at and downstream of it connect to that phase (buses
    carry ``load_phases``, see ``feeder_graph``); the rest is trunk. The zone of a phase consists of many pieces,
    coupled through their conductor of the trunk, so its zones need not be connected (``connected=False``).

    Args:
        graph: the feeder's.
        trunk: None makes the trunk a zone; 1, 2 or 3 adds it to the zone of that phase.

    Raises:
        ValueError: no part of the feeder has a single phase, or ``trunk`` is a phase without a zone.
    """
    live = live_graph(graph)
    buses, before = outward(live)
    known = live.nodes
    inherited: dict[str, int] = {}  # everything behind a one-phase bus is on its phase, whatever its node numbers there
    used: dict[str, set[int]] = {}
    for bus in buses:
        if before.get(bus) in inherited:
            inherited[bus] = inherited[before[bus]]
        elif len(known[bus]["phases"]) == 1:
            inherited[bus] = known[bus]["phases"][0]
        used[bus] = {inherited[bus]} if bus in inherited else set(known[bus].get("load_phases", ()))
    for bus in reversed(buses[1:]):
        used[before[bus]] |= used[bus]
    for bus in buses[1:]:
        used[bus] = used[bus] or used[before[bus]]  # buses without downstream load follow their upstream bus
    of_phase = {p: {bus for bus in buses if used[bus] == {p}} - {buses[0]} for p in (1, 2, 3)}
    found = {p: part for p, part in of_phase.items() if part}
    if not found or (len(found) == 1 and buses[0] in inherited):
        raise ValueError(f"zones: no part of {graph.name!r} has a single phase, so phases cannot divide it")
    rest = set(buses).difference(*found.values())
    if trunk is not None and trunk not in found:
        raise ValueError(f"zones: trunk must be one of the phases {', '.join(map(str, found))}; got {trunk!r}")
    if trunk is None and rest == {buses[0]}:
        trunk = min(found)
    names = [f"phase_{p}" for p in found] if trunk is not None else ["trunk", *(f"phase_{p}" for p in found)]
    parts = [part | (rest if p == trunk else set()) for p, part in found.items()]
    return _with_dead(graph, [rest, *parts] if trunk is None else parts, names)


def _with_dead(graph: nx.Graph, parts: list[set[str]], names: list[str]) -> Parts:
    """The parts in their own order, with de-energised buses added."""
    first = {min(part): name for part, name in zip(parts, names, strict=True)}
    whole = completed(graph, parts)
    named = {next(name for bus, name in first.items() if bus in part): part for part in whole}
    return Parts([named[name] for name in names], names, connected=False)

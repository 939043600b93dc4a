"""Bus positions on a map: the circuit's coordinates with gaps interpolated, or a layout of the tree."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array

Places = dict[str, Array]  # bus to (2) position


@lru_cache(maxsize=8)
def bus_positions(feeder: Feeder) -> Array:
    """(B, 2) position of each bus; read-only.

    The circuit's own coordinates; buses without coordinates are placed between or next to their neighbours. If fewer
    than half of the buses have coordinates, a layout of the tree: longest path straight, laterals above and below.
    """
    graph = feeder.graph()
    known: Places = {bus.name: np.array([bus.x, bus.y]) for bus in feeder.buses if bus.x is not None}
    known = {name: place.astype(float) for name, place in known.items() if np.isfinite(place.astype(float)).all()}
    spot = len({tuple(place) for place in known.values()}) < 2
    complete = 2 * len(known) >= len(feeder.buses) and not spot
    places = completed(graph, known) if complete else tree_layout(graph, feeder.source_bus)
    positions = np.array([places[bus.name] for bus in feeder.buses])
    positions.flags.writeable = False
    return positions


# --- coordinates, completed -----------------------------------------------------------------------------------------


def completed(graph: nx.Graph, known: Mapping[str, Array]) -> Places:
    """Positions of all buses from some: evenly between neighbours; dead ends extend into the free side."""
    core, ends = nx.Graph(graph), []
    loose = [bus for bus in graph if bus not in known and core.degree(bus) <= 1]
    while loose:
        bus = loose.pop()
        anchor = next(iter(core[bus]), None)
        ends.append((bus, anchor))
        core.remove_node(bus)
        if anchor is not None and anchor not in known and core.degree(anchor) <= 1 and anchor not in loose:
            loose.append(anchor)
    places = dict(known) | _between(core, known)
    lengths = [np.hypot(*(known[a] - known[b])) for a, b in graph.edges if a in known and b in known]
    step = 0.6 * float(np.median([length for length in lengths if length > 0] or [1.0]))
    for bus, anchor in reversed(ends):
        if anchor is None:  # an island without coordinates
            places[bus] = np.min(list(known.values()), axis=0) - step
        else:
            beside = [places[other] for other in graph[anchor] if other in places]
            places[bus] = places[anchor] + step * free_direction(places[anchor], beside)
    return places


def _between(graph: nx.Graph, known: Mapping[str, Array]) -> Places:
    """Each unknown bus at the mean of its neighbours: the harmonic solution of the graph Laplacian."""
    places: Places = {}
    for part in nx.connected_components(graph.subgraph([bus for bus in graph if bus not in known])):
        row = {bus: i for i, bus in enumerate(sorted(part))}
        laplacian, fixed = np.zeros((len(row), len(row))), np.zeros((len(row), 2))
        for bus, i in row.items():
            for other in graph[bus]:
                laplacian[i, i] += 1
                if other in row:
                    laplacian[i, row[other]] -= 1
                else:
                    fixed[i] += known[other]
        solved = np.linalg.lstsq(laplacian, fixed, rcond=None)[0]  # a part with no known neighbour is singular
        places |= {bus: solved[i] for bus, i in row.items()}
    return places


def free_direction(place: Array, others: list[Array]) -> Array:
    """(2) unit vector from the place along the bisector of the widest angle between the others."""
    angles = np.sort([np.arctan2(*(other - place)[::-1]) for other in others if np.any(other != place)])
    if not len(angles):
        return np.array([1.0, 0.0])
    gaps = np.diff(angles, append=angles[0] + 2 * np.pi)
    widest = int(np.argmax(gaps.round(9)))
    middle = angles[widest] + gaps[widest] / 2
    return np.array([np.cos(middle), np.sin(middle)])


# --- a layout of the tree -------------------------------------------------------------------------------------------


def tree_layout(graph: nx.Graph, root: str) -> Places:
    """Positions without crossings for a radial feeder: hops from the root to the right, one row for each path.

    The longest path from a bus is straight; each lateral is laid out separately and moved up or down until it is free.
    Loops are cut in breadth-first order; unreachable buses are placed below.
    """
    tree = spanning_tree(graph, root)
    row: dict[str, int] = {}
    for top in [bus for bus in tree if tree.in_degree(bus) == 0]:
        block = _rows(tree, top)
        lift = min(row.values(), default=0) - max(block.values()) - (1 if row else 0)
        row |= {bus: place + lift for bus, place in block.items()}
    columns = max(1, *(tree.nodes[bus]["hops"] for bus in tree))
    rows = max(max(row.values()) - min(row.values()), 1)
    height = np.clip(1.3 * rows / columns, 0.3, 0.75) * columns / rows  # of a row, in columns
    return {bus: np.array([tree.nodes[bus]["hops"], height * row[bus]], float) for bus in graph}


def spanning_tree(graph: nx.Graph, root: str) -> nx.DiGraph:
    """Breadth-first tree over the closed edges, from the root outward; nodes carry ``hops`` and ``height``."""
    closed = nx.Graph()
    closed.add_nodes_from(graph)
    closed.add_edges_from((a, b) for a, b, is_closed in graph.edges(data="closed", default=True) if is_closed)
    tree: Any = nx.DiGraph()
    for top in [root, *(bus for bus in graph if bus != root)]:
        if top in tree:
            continue
        tree.add_node(top, hops=0)
        for a, b in nx.bfs_edges(closed, top):
            tree.add_node(b, hops=tree.nodes[a]["hops"] + 1)
            tree.add_edge(a, b)
    for bus in reversed(list(nx.topological_sort(tree))):
        tree.nodes[bus]["height"] = 1 + max((tree.nodes[child]["height"] for child in tree[bus]), default=-1)
    return tree


def _rows(tree: nx.DiGraph, head: str) -> dict[str, int]:
    """Row of each bus from the head outward, the head's own path in row 0."""

    def height(bus: Hashable) -> int:
        return int(tree.nodes[bus]["height"])

    def hops(bus: Hashable) -> int:
        return int(tree.nodes[bus]["hops"])

    path = [head]
    while tree.out_degree(path[-1]):
        path.append(max(tree[path[-1]], key=height))
    row = dict.fromkeys(path, 0)
    high = dict.fromkeys(map(hops, path), 0)  # highest and lowest row taken in each column
    low = dict(high)
    for bus, straight in reversed(list(pairwise(path))):  # the far laterals lie inside the near ones
        for lateral in sorted(set(tree[bus]) - {straight}, key=lambda child: (height(child), child)):
            block = _rows(tree, lateral)
            up = max(high.get(hops(b), 0) - place for b, place in block.items()) + 1
            down = min(low.get(hops(b), 0) - place for b, place in block.items()) - 1
            shift = up if up <= -down else down
            for b, place in block.items():
                row[b] = place + shift
                high[hops(b)] = max(high.get(hops(b), 0), row[b])
                low[hops(b)] = min(low.get(hops(b), 0), row[b])
    return row

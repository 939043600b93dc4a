"""Map geometry: a feeder laid out on a page, in points, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise

import networkx as nx
import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, BoolArray, IntArray
from dss_marl.plots.bus_layout import bus_positions, spanning_tree
from dss_marl.plots.symbols import SERIES

MARGIN = 34.0  # around the map, for labels and devices [pt]
AREA, WIDEST, HIGHEST = 220_000.0, 620.0, 520.0  # of the map [pt^2, pt, pt]
CLEAR = 9.0  # between an open branch and a bus that it passes [pt]
MANY = 300  # above this number of buses the map keeps its proportions


@dataclass(frozen=True)
class Edge:
    """The branches between two buses: bus indices, kind, number of phases, their switches, and if they can all open.

    ``tie`` is True where the circuit as read has them open.
    """

    a: int
    b: int
    kind: str
    phases: int
    switches: tuple[int, ...]
    can_open: bool
    tie: bool

    def closed(self, closed: BoolArray) -> bool:
        """Whether it conducts with the switches (S) in these states."""
        return not self.can_open or bool(closed[list(self.switches)].any())


@dataclass(frozen=True)
class MapGeometry:
    """Bus positions ``xy`` (B, 2), page ``width`` and ``height``, size of a bus's ``dot`` and of a ``symbol`` [pt]."""

    feeder: Feeder
    edges: tuple[Edge, ...]
    xy: Array
    width: float
    height: float
    dot: float
    symbol: float

    @cached_property
    def lines(self) -> list[Array]:
        """(n, 2) points of each edge; a tie is bent so that it does not lie on the branches that it bridges."""
        return [self._arc(e.a, e.b) if e.tie else self.xy[[e.a, e.b]] for e in self.edges]

    def middle(self, edge: int) -> tuple[Array, float]:
        """Middle of the edge, and its direction there [rad]."""
        line = self.lines[edge]
        k = (len(line) - 1) // 2
        across = line[k + 1] - line[k]
        return (line[k] + line[k + 1]) / 2, float(np.arctan2(across[1], across[0]))

    def borders(self, zone: IntArray) -> set[tuple[int, int]]:
        """Pairs of zones that an edge connects, from the zone of each bus (B)."""
        pairs = [(int(zone[e.a]), int(zone[e.b])) for e in self.edges]
        return {(a, b) for a, b in pairs if a != b}

    def fitted(self, width: float, height: float, most: float) -> MapGeometry:
        """The same on a page of at most this size [pt], enlarged by at most ``most``; symbols keep their size."""
        scale = min(width / self.width, height / self.height, most)
        return replace(self, xy=scale * self.xy, width=scale * self.width, height=scale * self.height)

    def _arc(self, a: int, b: int) -> Array:
        """(n, 2) points of the arc between two buses that stays on the page and clear of other buses."""
        xy, t = self.xy, np.linspace(0, 1, 18)[:, None]
        aside = np.array([xy[a, 1] - xy[b, 1], xy[b, 0] - xy[a, 0]])
        others = np.delete(xy, [a, b], axis=0)
        best, clear = xy[[a, b]], -1.0
        for bend in (0.28, -0.28, 0.5, -0.5):
            control = (xy[a] + xy[b]) / 2 + bend * aside
            arc = (1 - t) ** 2 * xy[a] + 2 * t * (1 - t) * control + t**2 * xy[b]
            inside = (arc > 0.4 * MARGIN).all() and (arc < np.array([self.width, self.height]) - 0.4 * MARGIN).all()
            gap = min(float(np.hypot(*(others - point).T).min(initial=self.width)) for point in arc)
            if inside and gap > clear:
                best, clear = arc, gap
            if clear > CLEAR:
                break
        return best


@lru_cache(maxsize=8)
def sheet_of(feeder: Feeder) -> MapGeometry:
    """The feeder on its page."""
    edges = edges_of(feeder)
    xy, width, height = _fitted(bus_positions(feeder))
    spacing = np.sqrt(width * height / len(xy))
    dot, symbol = float(np.clip(0.11 * spacing, 1.5, 6.5)), float(np.clip(0.24 * spacing, 8, 13))
    if len(xy) <= MANY:
        xy, width, height = _fitted(_pulled_apart(feeder, edges, xy, dot + 1.4 * symbol))
    return MapGeometry(feeder, edges, xy, width, height, dot, symbol)


def edges_of(feeder: Feeder) -> tuple[Edge, ...]:
    """The feeder's branches, parallel ones merged; a regulator parallel to a jumper counts as a regulator."""
    row = {branch.name: branch for branch in feeder.branches}
    edges = []
    for a, b, edge in feeder.graph().edges(data=True):
        switches = [row[name].switch for name in edge["branches"]]
        kinds = [row[name].kind for name in edge["branches"]]
        edges.append(
            Edge(
                a=feeder.bus_index[a],
                b=feeder.bus_index[b],
                kind=next((kind for kind in SERIES if kind in kinds), kinds[0]),
                phases=len(edge["phases"]),
                switches=tuple(s for s in switches if s >= 0),
                can_open=min(switches) >= 0,
                tie=not edge["closed"],
            )
        )
    return tuple(edges)


def _fitted(xy: Array) -> tuple[Array, float, float]:
    """Positions on a page of suitable proportions, its width and height; one axis is stretched by at most 1.8."""
    low, span = xy.min(0), np.ptp(xy, axis=0)
    span = np.maximum(span, 1e-3 * max(span.max(), 1e-9))
    ratio = span[0] / span[1]
    shown = float(np.clip(np.clip(ratio, 0.8, 1.9), ratio / 1.8, ratio * 1.8))
    area = min(AREA, 4500.0 * (len(xy) + 8))
    width = min(np.sqrt(area * shown), WIDEST, HIGHEST * shown)
    box = np.array([width, max(width / shown, 60.0)])
    return MARGIN + (xy - low) / span * box, float(box[0] + 2 * MARGIN), float(box[1] + 2 * MARGIN)


def _pulled_apart(feeder: Feeder, edges: tuple[Edge, ...], xy: Array, least: float) -> Array:
    """Positions where branches with a symbol have at least this length [pt].

    Unbranched buses are spaced evenly up to the end of the next branch without a symbol; everything beyond moves only
    if that distance is too short.
    """
    xy = xy.copy()
    tree = nx.relabel_nodes(spanning_tree(feeder.graph(), feeder.source_bus), feeder.bus_index)
    drawn = {pair for e in edges if e.kind in SERIES for pair in ((e.a, e.b), (e.b, e.a))}
    for a, b in nx.bfs_edges(tree, feeder.bus_index[feeder.source_bus]):
        if (a, b) not in drawn or np.hypot(*(xy[b] - xy[a])) >= 0.999 * least:
            continue
        chain = [a, b]
        while tree.out_degree(chain[-1]) == 1 and tuple(chain[-2:]) in drawn:
            chain += tree[chain[-1]]
        needs = np.array([least if pair in drawn else 0.5 * least for pair in pairwise(chain)])
        end, along = chain[-1], _direction(tree, xy, chain)
        length = max(float((xy[end] - xy[a]) @ along), needs.sum())
        xy[[end, *nx.descendants(tree, end)]] += xy[a] + length * along - xy[end]
        xy[chain[1:]] = xy[a] + (needs.cumsum() / needs.sum() * length)[:, None] * along
    return xy


def _direction(tree: nx.DiGraph, xy: Array, chain: list[int]) -> Array:
    """(2) unit vector from the first bus of a chain to its last; if they coincide, from the adjacent branches."""
    first, last = chain[0], chain[-1]
    ways = [[xy[last] - xy[first]], [xy[c] - xy[first] for c in tree[last]]]
    ways.append([xy[first] - xy[c] for c in tree.predecessors(first)])
    for way in ways:
        if way and np.hypot(*np.mean(way, axis=0)) > 1e-6:
            along = np.mean(way, axis=0)
            return np.asarray(along / np.hypot(*along))
    return np.array([1.0, 0.0])

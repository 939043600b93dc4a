"""Feeder sections, the switches between them, and all radial ways to supply them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import NamedTuple

import numpy as np

from dss_marl.controllers.search.spanning_trees import MOST, all_trees
from dss_marl.devices import FeederTies, Generators, Switches
from dss_marl.devices.load_shedder import sections
from dss_marl.envs.task import Task
from dss_marl.grid.state import BoolArray, GridState, IntArray

_FED = 0  # node of all sources and feeder ties; section s is node s + 1


class _Edge(NamedTuple):
    """A possible supply between two nodes; ``row`` of Feeder.switches, -1 for a generator that forms an island."""

    row: int
    a: int
    b: int


@dataclass(frozen=True)
class FeederSections:
    """A feeder contracted to its sections.

    Attributes:
        of_bus: (buses) section of each bus.
        of_node: (N) section of each node.
        count: number of sections.
        joins: row of Feeder.switches to the two sections that it connects.
        whole: rows that supply all phases of a section.
        moved: rows of lines that the task's switches control.
        feeder_ties: row of a feeder tie to its section.
        grid_forming_units: sections with a generator that can form an island.
        sources: sections with a source of the circuit.
    """

    of_bus: IntArray
    of_node: IntArray
    count: int
    joins: dict[int, tuple[int, int]]
    whole: frozenset[int]
    moved: frozenset[int]
    feeder_ties: dict[int, int]
    grid_forming_units: tuple[int, ...]
    sources: frozenset[int]

    @classmethod
    def build(cls, task: Task) -> FeederSections:
        """The sections of a task's feeder, and the controlled switches."""
        feeder = task.feeder
        of_bus = np.unique(sections(feeder), return_inverse=True)[1].reshape(-1)
        of_node = of_bus[feeder.node_bus]
        phases = {(int(s), node.rsplit(".", 1)[1]) for s, node in zip(of_node, feeder.nodes, strict=True)}
        widths = np.bincount([s for s, _ in phases])
        first, second, switch = feeder.joints
        ends: dict[int, list[tuple[int, int]]] = {}
        for a, b, s in zip(of_node[first], of_node[second], switch, strict=True):
            if s < len(feeder.switches):
                ends.setdefault(int(s), []).append((int(a), int(b)))
        home = {
            int(s): int(of_node[nodes[0]])
            for s, nodes in zip(feeder.grid_forming_units, feeder.grid_forming_nodes, strict=True)
        }
        moved = [s for group in task.device_groups if isinstance(group, Switches) for s in group.switches.tolist()]
        ties = [
            s
            for group in task.device_groups
            if isinstance(group, FeederTies)
            for s in group.grid_forming_units.tolist()
        ]
        units = [
            s
            for group in task.device_groups
            if isinstance(group, Generators)
            for s in group.grid_forming_units.tolist()
            if s >= 0
        ]
        return cls(
            of_bus=of_bus,
            of_node=of_node,
            count=len(widths),
            joins={s: pairs[0] for s, pairs in ends.items()},
            whole=frozenset(s for s, pairs in ends.items() if len(pairs) >= min(widths[list(pairs[0])])),
            moved=frozenset(moved),
            feeder_ties={s: home[s] for s in ties},
            grid_forming_units=tuple(home[s] for s in units),
            sources=frozenset(of_node[feeder.source_nodes].tolist()),
        )

    def parts(self, closed: BoolArray) -> IntArray:
        """(count) first section of the connected part of each, for switch states (S)."""
        root = list(range(self.count))
        for s, (a, b) in self.joins.items():
            if closed[s]:
                a, b = _top(root, a), _top(root, b)
                root[max(a, b)] = min(a, b)
        return np.array([_top(root, k) for k in range(self.count)])

    def depth(self, closed: BoolArray) -> IntArray:
        """(count) number of switches between each section and its supply; a large number without supply."""
        neighbours: list[list[int]] = [[] for _ in range(self.count)]
        for s, (a, b) in self.joins.items():
            if closed[s]:
                neighbours[a].append(b)
                neighbours[b].append(a)
        fed = [*self.sources, *(k for s, k in self.feeder_ties.items() if closed[s])]
        result = np.full(self.count, self.count, np.int64)
        for roots in (fed, self.grid_forming_units):  # grid-forming units supply the rest
            ahead = deque(k for k in roots if result[k] == self.count)
            result[list(ahead)] = 0
            while ahead:
                here = ahead.popleft()
                for other in neighbours[here]:
                    if result[other] > result[here] + 1:
                        result[other] = result[here] + 1
                        ahead.append(other)
        return result

    def radial(self, now: GridState) -> BoolArray:
        """(K, S) all switch states that supply each section that can be supplied by exactly one path.

        Edges are controlled lines with all phases of a section, feeder ties, and generators that form islands; K is the
        number of different states among their spanning trees, with all sources as one node. Lines with fewer phases
        are not switched. Empty if there are too many trees to enumerate.

        Args:
            now: after protection has isolated the faults.
        """
        closed = now.setpoints.closed
        faulted = set() if now.faulted is None else set(self.of_node[now.faulted].tolist())
        edges = self._edges(closed, faulted)
        opened = closed.copy()
        opened[[edge.row for edge in edges if edge.row >= 0]] = False
        tree = _spanning(edges)
        edges = [edge for edge in edges if edge.a in tree and edge.b in tree]
        loops = [k for k, edge in enumerate(edges) if edge not in {one for _, one in tree.values()}]
        if comb(len(edges), len(loops)) > MOST:
            return np.zeros((0, len(closed)), bool)
        table = np.zeros((len(loops), len(edges)), np.int64)
        for row, k in zip(table, loops, strict=True):
            row[[edges.index(edge) for edge in _ring(edges[k], tree)]] = 1
        states = np.tile(opened, (1, 1))
        sets = all_trees(table) if loops else np.zeros((1, 0), np.int64)
        shut = np.ones((len(sets), len(edges)), bool)
        np.put_along_axis(shut, sets, False, axis=1)
        states = np.repeat(states, len(sets), axis=0)
        for k, edge in enumerate(edges):
            if edge.row >= 0:
                states[:, edge.row] = shut[:, k]
        return np.unique(states, axis=0)

    def _edges(self, closed: BoolArray, faulted: set[int]) -> list[_Edge]:
        """Edges outside the faults, with fixed connections contracted."""
        fixed = [s for s in self.joins if closed[s] and (s not in self.moved or s not in self.whole)]
        still = np.zeros(len(closed), bool)
        still[fixed] = True
        part = self.parts(still)
        node = part + 1
        node[np.isin(part, part[list(self.sources)])] = _FED
        ways = [(s, *pair) for s, pair in self.joins.items() if s in self.moved & self.whole]
        edges = [_Edge(s, int(node[a]), int(node[b])) for s, a, b in ways if a not in faulted and b not in faulted]
        fed = [*((s, k) for s, k in self.feeder_ties.items()), *((-1, k) for k in self.grid_forming_units)]
        edges += [_Edge(s, _FED, int(node[k])) for s, k in fed if k not in faulted]
        return [edge for edge in dict.fromkeys(edges) if edge.a != edge.b]


def _top(root: list[int], k: int) -> int:
    while root[k] != k:
        k = root[k]
    return k


def _spanning(edges: Sequence[_Edge]) -> dict[int, tuple[int, _Edge | None]]:
    """Node to its parent and the edge there, of one tree from the supply; unsupplied nodes are missing."""
    tree: dict[int, tuple[int, _Edge | None]] = {_FED: (_FED, None)}
    ahead = deque([_FED])
    while ahead:
        node = ahead.popleft()
        for edge in edges:
            if node in (edge.a, edge.b):
                other = edge.b if edge.a == node else edge.a
                if other not in tree:
                    tree[other] = node, edge
                    ahead.append(other)
    return tree


def _ring(edge: _Edge, tree: dict[int, tuple[int, _Edge | None]]) -> Iterator[_Edge]:
    """An edge outside the tree, and the tree edges between its ends."""
    above = [set(_up(end, tree)) for end in (edge.a, edge.b)]
    yield edge
    yield from above[0] ^ above[1]


def _up(node: int, tree: dict[int, tuple[int, _Edge | None]]) -> Iterator[_Edge]:
    while True:
        node, way = tree[node]
        if way is None:
            return
        yield way

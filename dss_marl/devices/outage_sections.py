"""Sections of a feeder between switches, as repair crews see them: where faults may be, what trips, and distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from dss_marl.devices.load_shedder import sections
from dss_marl.grid.feeder import Feeder, find
from dss_marl.grid.state import Array, BoolArray, IntArray


@dataclass(frozen=True)
class OutageSections:
    """The Q sections that can lose their supply: those behind a switch that trips on faults.

    Attributes:
        buses: (Q) the bus of each nearest to the source, where crews arrive; it names the section.
        of_node: (N) section of each node, Q for nodes of other sections.
        line_km: (Q) length of the lines in each.
        dark: (Q, Q) True where a fault in a section (row) leaves a section (column) without supply.
        opened: (Q, S) True where a fault in a section opens a switch: the one that trips, and those that then open
            because they have lost voltage.
        travel_km: (Q + P, Q) along the lines, from each section and from each of P other buses, to each section.
    """

    buses: tuple[str, ...]
    of_node: IntArray
    line_km: Array
    dark: BoolArray
    opened: BoolArray
    travel_km: Array

    @classmethod
    def build(cls, feeder: Feeder, reclosers: Sequence[str], depots: Sequence[str]) -> OutageSections:
        """The sections of a feeder with its initial switch states.

        Args:
            feeder: with all switches.
            reclosers: names of the line switches that trip on faults behind them.
            depots: buses (P) from which crews start.

        Raises:
            ValueError: no such switch, or none of them lies between a source and a line that may be faulted.
        """
        tree = _SupplyTree(feeder)
        rows = [_switch_row(feeder, name) for name in reclosers]
        trips = {section: tree.upstream(section, rows) for section in tree.order}
        own = [section for section in tree.order if trips[section] >= 0 and tree.line_km[section] > 0]
        if not own:
            raise ValueError(f"crew: no recloser of {list(reclosers)} has a line behind it; name others")
        behind = {row: tree.behind(row) for row in set(trips.values()) if row >= 0}
        dark = np.array([[other in behind[trips[section]] for other in own] for section in own])
        place = {section: q for q, section in enumerate(own)}
        return cls(
            buses=tuple(feeder.buses[tree.head[section]].name for section in own),
            of_node=np.array([place.get(int(tree.of_bus[bus]), len(own)) for bus in feeder.node_bus], np.int64),
            line_km=np.array([tree.line_km[section] for section in own]),
            dark=dark,
            opened=np.array([tree.opened(behind[trips[section]]) for section in own]),
            travel_km=_distances(feeder, [feeder.buses[tree.head[section]].name for section in own], depots),
        )

    @property
    def size(self) -> int:
        """Number of sections Q."""
        return len(self.buses)


class _SupplyTree:
    """The sections in the order in which the source supplies them through closed switches.

    Args:
        feeder: with its initial switch states.
    """

    def __init__(self, feeder: Feeder) -> None:
        self.of_bus = np.asarray(sections(feeder))
        self._ends: dict[int, tuple[int, int]] = {}
        first, second, switch = feeder.joints
        for a, b, s in zip(feeder.node_bus[first], feeder.node_bus[second], switch, strict=True):
            if s < len(feeder.switches):
                self._ends[int(s)] = (int(a), int(b))
        self._closed = np.array([row.closed for row in feeder.switches], bool)
        source = int(feeder.node_bus[feeder.source_nodes[0]])
        root = int(self.of_bus[source])
        self.head, self._above = {root: source}, {root: (-1, -1)}
        self.order = [root]
        for section in self.order:  # grows
            for s, ends in self._ends.items():
                self._reach(section, s, ends)
        self.line_km = dict.fromkeys(self.order, 0.0)
        for branch in feeder.branches:
            section = int(self.of_bus[feeder.bus_index[branch.bus1]])
            if branch.kind == "line" and branch.switch < 0 and section in self.line_km:
                self.line_km[section] += branch.length_km

    def _reach(self, section: int, switch: int, ends: tuple[int, int]) -> None:
        for here, there in (ends, ends[::-1]):
            other = int(self.of_bus[there])
            if self._closed[switch] and int(self.of_bus[here]) == section and other not in self.head:
                self.head[other], self._above[other] = there, (switch, section)
                self.order.append(other)

    def upstream(self, section: int, switches: Sequence[int]) -> int:
        """The nearest of these switches on the way to the source, -1 if there is none."""
        while section >= 0:
            switch, section = self._above[section]
            if switch in switches:
                return switch
        return -1

    def behind(self, switch: int) -> set[int]:
        """Sections that lose their supply when a switch opens."""
        found: set[int] = set()
        for section in self.order:
            by, above = self._above[section]
            if by == switch or above in found:
                found.add(section)
        return found

    def opened(self, dark: set[int]) -> BoolArray:
        """(S) the closed switches with an end in a dark section."""
        result = np.zeros(len(self._closed), bool)
        for s, ends in self._ends.items():
            result[s] = self._closed[s] and any(int(self.of_bus[bus]) in dark for bus in ends)
        return result


def _switch_row(feeder: Feeder, name: str) -> int:
    lines = [row for row in feeder.switches if row.kind == "switch"]
    return feeder.switches.index(lines[find(lines, name, "switch", feeder.name)])


def _distances(feeder: Feeder, heads: Sequence[str], depots: Sequence[str]) -> Array:
    """(Q + P, Q) shortest ways along lines, open ties included [km]."""
    graph = feeder.multigraph()
    rows = []
    for start in [*heads, *(feeder.bus(depot).name for depot in depots)]:
        reached = nx.single_source_dijkstra_path_length(graph, start, weight="length_km")
        rows.append([reached.get(bus, np.inf) for bus in heads])
    return np.array(rows)

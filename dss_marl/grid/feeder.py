"""The static data of one compiled circuit, and its graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import networkx as nx
import numpy as np

from dss_marl.grid.elements import AddedSwitch, AddedUnit, Branch, Bus, CircuitUnit, Injection, Switch, TapChanger, find
from dss_marl.grid.state import Array, BoolArray, IntArray, Setpoints

__all__ = [
    "AddedSwitch",
    "AddedUnit",
    "Branch",
    "Bus",
    "CircuitUnit",
    "Feeder",
    "Injection",
    "Switch",
    "TapChanger",
    "components",
    "find",
]

BRANCH_KINDS = ("regulator", "switch", "transformer", "reactor", "line")


@dataclass(frozen=True)
class Feeder:
    """Names, order, ratings and nominal powers of one compiled circuit.

    ``path`` and ``commands`` are what an engine compiles: the master file, then OpenDSS commands in order.
    The rows' order is the order of the arrays in Setpoints and Solution. Nodes are phase conductors: neutrals and
    whatever else is grounded take part in the solve but are not nodes here. Voltages are to the neutral conductor where
    the bus has one, else to earth.

    ``units`` are the generators, PV systems and batteries of the circuit itself, ``uncontrolled`` the elements that no
    set point controls, ``notes`` warnings; see ``feeder_report``.
    """

    name: str
    path: Path
    commands: tuple[str, ...]
    nodes: tuple[str, ...]
    source_bus: str
    buses: tuple[Bus, ...]
    branches: tuple[Branch, ...]
    injections: tuple[Injection, ...]
    taps: tuple[TapChanger, ...]
    switches: tuple[Switch, ...]
    uncontrolled: tuple[str, ...] = field(default=())
    other_sources: tuple[str, ...] = ()
    units: tuple[CircuitUnit, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"Feeder({self.name!r}: {len(self.buses)} buses, {len(self.nodes)} nodes, {len(self.branches)} branches, "
            f"{len(self.injections)} injections, {len(self.taps)} taps, {len(self.switches)} switches)"
        )

    @cached_property
    def node_index(self) -> dict[str, int]:
        """Node name ``"bus.phase"`` to its index."""
        return {node: i for i, node in enumerate(self.nodes)}

    @cached_property
    def bus_index(self) -> dict[str, int]:
        """Bus name to its index."""
        return {bus.name: i for i, bus in enumerate(self.buses)}

    @cached_property
    def node_bus(self) -> IntArray:
        """(N) index of each node's bus."""
        return np.array([self.bus_index[node.rsplit(".", 1)[0]] for node in self.nodes])

    @cached_property
    def kv_base(self) -> Array:
        """(N) line-to-neutral base voltage of each node [kV]."""
        return np.array([self.buses[b].kv_base for b in self.node_bus])

    @cached_property
    def neutrals(self) -> tuple[str, ...]:
        """(N) the node that each node's voltage is measured to: its bus's neutral conductor, or "" for earth."""
        rows = [self.buses[b] for b in self.node_bus]
        return tuple(f"{bus.name}.{bus.neutral}" if bus.neutral else "" for bus in rows)

    @cached_property
    def nominal_kw(self) -> Array:
        """(J) nominal injection [kW], + into the grid."""
        return np.array([row.kw for row in self.injections])

    @cached_property
    def nominal_kvar(self) -> Array:
        """(J) nominal injection [kvar], + into the grid."""
        return np.array([row.kvar for row in self.injections])

    @cached_property
    def loads(self) -> IntArray:
        """Indices of the injections that are loads."""
        return np.array([i for i, row in enumerate(self.injections) if row.kind == "load"], dtype=np.int64)

    @cached_property
    def grid_forming_units(self) -> IntArray:
        """(G) rows of ``switches`` that stand for grid-forming units."""
        return np.array([s for s, row in enumerate(self.switches) if row.kind == "grid_forming"], dtype=np.int64)

    def setpoints(self) -> Setpoints:
        """The circuit as compiled: nominal loads, other injections at zero, initial taps and switches."""
        is_load = np.zeros(len(self.injections), bool)
        is_load[self.loads] = True
        return Setpoints(
            kw=np.where(is_load, self.nominal_kw, 0.0),
            kvar=np.where(is_load, self.nominal_kvar, 0.0),
            tap=np.array([row.initial for row in self.taps], dtype=np.int64),
            closed=np.array([row.closed for row in self.switches], dtype=bool),
        )

    def bus(self, name: str) -> Bus:
        """The bus called ``name``; ValueError if there is none."""
        return self.buses[find(self.buses, name, "bus", self.name)]

    def graph(self) -> nx.Graph:
        """The feeder as a plain graph of buses.

        Nodes carry phases, kv_base [kV], x, y, load_kw. Edges carry name, kind, phases, length_km, r_ohm, x_ohm,
        normal_amps and closed. Parallel branches (for example three one-phase regulators) are one edge: ``branches``
        lists all of them, ``name`` joins their names with "+", the phases are their union, and the other data are those
        of the first regulator among them, else of the first switch, transformer, reactor or line.
        """
        every = self.multigraph()
        graph = nx.Graph(**every.graph)
        graph.add_nodes_from(every.nodes(data=True))
        for bus1, bus2, facts in every.edges(data=True):
            facts["branches"] = (facts["name"],)
            if graph.has_edge(bus1, bus2):
                edge, name = graph.edges[bus1, bus2], facts["name"]
                joined = {
                    "branches": (*edge["branches"], name),
                    "name": "+".join((*edge["branches"], name)),
                    "phases": tuple(sorted({*edge["phases"], *facts["phases"]})),
                    "closed": edge["closed"] or facts["closed"],
                }
                # In parallel with a jumper, the regulator's data matter; then the switch's, and so on.
                dominant = edge if BRANCH_KINDS.index(edge["kind"]) <= BRANCH_KINDS.index(facts["kind"]) else facts
                facts = {**dominant, **joined}
            graph.add_edge(bus1, bus2, **facts)
        return graph

    def multigraph(self) -> nx.MultiGraph:
        """The feeder with one edge per branch, keyed by the branch's name; otherwise as ``graph``.

        For what parallel branches change, such as ratings; three one-phase regulators are three edges, and no loop.
        Branches within a bus are none of its edges.
        """
        graph = nx.MultiGraph(name=self.name, source=self.source_bus)
        for bus in self.buses:
            graph.add_node(bus.name, phases=bus.phases, kv_base=bus.kv_base, x=bus.x, y=bus.y, load_kw=0.0)
        for load in self.loads:
            graph.nodes[self.injections[load].bus]["load_kw"] -= self.injections[load].kw
        for branch in self.branches:
            if branch.bus1 == branch.bus2:
                continue
            graph.add_edge(
                branch.bus1,
                branch.bus2,
                key=branch.name,
                name=branch.name,
                kind=branch.kind,
                phases=branch.phases,
                length_km=branch.length_km,
                r_ohm=branch.r_ohm,
                x_ohm=branch.x_ohm,
                normal_amps=branch.normal_amps,
                protection=branch.protection,
                closed=branch.switch < 0 or self.switches[branch.switch].closed,
            )
        return graph

    @cached_property
    def joints(self) -> tuple[IntArray, IntArray, IntArray]:
        """Pairs of nodes that a branch connects, and the switch that can disconnect them (S if none).

        Transformers and regulators connect phase to phase; where the phases of the two sides differ, as at a centre
        tap, all to all.
        """
        first: list[int] = []
        second: list[int] = []
        switch: list[int] = []
        for branch in self.branches:
            one, two = branch.nodes1, branch.nodes2
            if branch.kind in ("transformer", "regulator"):
                one, two = self.through_windings(one, two)
            first += one
            second += two
            switch += [branch.switch if branch.switch >= 0 else len(self.switches)] * len(one)
        return np.array(first, np.int64), np.array(second, np.int64), np.array(switch, np.int64)

    def through_windings(
        self, nodes1: tuple[int, ...], nodes2: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Which nodes of a transformer's two sides are joined: phase to phase, or all to all; see ``joints``.

        Within a bus the phases have other numbers on the other side: one to one, in their order.
        """
        phase1 = {self.nodes[n].rsplit(".", 1)[1]: n for n in nodes1}
        phase2 = {self.nodes[n].rsplit(".", 1)[1]: n for n in nodes2}
        if set(phase1) == set(phase2):
            return tuple(phase1.values()), tuple(phase2[p] for p in phase1)
        if len(nodes1) == len(nodes2) and self.node_bus[nodes1[0]] == self.node_bus[nodes2[0]]:
            return nodes1, nodes2
        others = (nodes1 + nodes2)[1:]
        return nodes1[:1] * len(others), others

    def at_ends(self, branches: Sequence[str]) -> BoolArray:
        """(N) True at the nodes that the named branches connect.

        Raises:
            ValueError: no such branch.
        """
        nodes = np.zeros(len(self.nodes), bool)
        for name in branches:
            branch = self.branches[find(self.branches, name, "branch", self.name)]
            nodes[[*branch.nodes1, *branch.nodes2]] = True
        return nodes

    @cached_property
    def source_nodes(self) -> IntArray:
        """Indices of the nodes of the circuit's own voltage sources."""
        sources = {self.source_bus, *self.other_sources}
        return np.array([i for i, node in enumerate(self.nodes) if node.rsplit(".", 1)[0] in sources], np.int64)

    @cached_property
    def grid_forming_nodes(self) -> IntArray:
        """(G, 3) indices of the nodes that each grid-forming unit feeds."""
        rows = [[self.node_index[f"{self.switches[s].bus}.{p}"] for p in (1, 2, 3)] for s in self.grid_forming_units]
        return np.array(rows, np.int64).reshape(-1, 3)

    def energised(self, closed: BoolArray) -> BoolArray:
        """Which nodes have a path to a source, or to a grid-forming unit that is on, per phase.

        Args:
            closed: (..., S) states of the switches. A batch is one graph with a copy of the feeder for each state.

        Returns:
            (..., N).

        Raises:
            ValueError: in some state a grid-forming unit is on in parallel with another source, which makes the power
                flow meaningless; or the states are not of this feeder's switches.
        """
        if closed.shape[-1:] != (len(self.switches),):
            raise ValueError(
                f"feeder {self.name!r} has {len(self.switches)} switches, so their states are (..., "
                f"{len(self.switches)}); got shape {closed.shape}"
            )
        first, second, switch = self.joints
        batch, count = closed.shape[:-1], len(self.nodes)
        states = closed.reshape(math.prod(batch), len(self.switches)).astype(bool)
        joined = np.append(states, np.ones((len(states), 1), bool), axis=-1)[:, switch]
        copy = count * np.arange(len(states))[:, None]
        label = components(count * len(states), (first + copy)[joined], (second + copy)[joined]).reshape(-1, count)
        alive = np.zeros(label.size, bool)
        alive[label[:, self.source_nodes]] = True
        for s, nodes in zip(self.grid_forming_units, self.grid_forming_nodes, strict=True):
            fed = label[states[:, s]][:, nodes]
            if alive[fed].any():
                raise ValueError(f"{self.switches[s].name} is on, but another source feeds its bus; turn one off")
            alive[fed] = True
        return alive[label].reshape(*batch, count)


def components(count: int, first: IntArray, second: IntArray) -> IntArray:
    """(count) the smallest index in each node's connected component; first[k] and second[k] are connected."""
    label = np.arange(count)
    while True:
        a, b = label[first], label[second]
        apart = a != b
        if not apart.any():
            return label
        first, second, a, b = first[apart], second[apart], a[apart], b[apart]
        np.minimum.at(label, np.maximum(a, b), np.minimum(a, b))  # attach the higher root to the lower
        while (label[label] != label).any():
            label = label[label]

"""Feeder: the frozen facts of one compiled circuit, and its graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import networkx as nx
import numpy as np

from dss_marl.state import Array, BoolArray, IntArray, Setpoints


@dataclass(frozen=True)
class Bus:
    """A place. ``kv_base`` is line to neutral [kV]; x, y are map coordinates in the circuit's own unit, or None."""

    name: str
    phases: tuple[int, ...]
    kv_base: float
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True)
class Branch:
    """A series element. Impedance is positive sequence or the phase's own [ohm]; normal_amps 0 means no rating.

    ``kind`` is line, switch, transformer, regulator or reactor; ``switch`` is its index in Feeder.switches, or -1.
    ``nodes1[k]`` and ``nodes2[k]`` are the node indices joined by conductor k (all to all in a transformer).
    """

    name: str
    kind: str
    bus1: str
    bus2: str
    phases: tuple[int, ...]
    nodes1: tuple[int, ...]
    nodes2: tuple[int, ...]
    length_km: float
    r_ohm: float
    x_ohm: float
    normal_amps: float
    switch: int = -1


@dataclass(frozen=True)
class Injection:
    """A load (kw < 0) or a device's unit (kw is its rating). kv is the element's own, as OpenDSS takes it [kV].

    ``nodes`` are the indices of the nodes that it connects to.
    """

    name: str
    kind: str
    bus: str
    phases: tuple[int, ...]
    kw: float
    kvar: float
    kv: float
    delta: bool = False
    nodes: tuple[int, ...] = ()


@dataclass(frozen=True)
class NewInjection:
    """A unit that a scenario adds to the circuit: where it is and what it can inject at most.

    ``phases`` empty means all phases of the bus.
    """

    name: str
    bus: str
    kw: float
    phases: tuple[int, ...] = ()
    kind: str = "inverter"


@dataclass(frozen=True)
class Tap:
    """A tap-changing transformer winding; positions are integers, one step is ``step_pu``, 0 is neutral."""

    name: str
    winding: int
    bus1: str
    bus2: str
    phases: tuple[int, ...]
    minimum: int
    maximum: int
    step_pu: float
    initial: int


@dataclass(frozen=True)
class Switch:
    """A line that opens (``kind`` switch) or a step of a capacitor bank (capacitor; ``step`` from 1, kvar of it)."""

    name: str
    kind: str
    element: str
    bus: str
    phases: tuple[int, ...]
    closed: bool
    step: int = 1
    kvar: float = 0.0


_KINDS = ("regulator", "switch", "transformer", "reactor", "line")

_Row = TypeVar("_Row", Branch, Injection, Tap, Switch, Bus)


def find(rows: Iterable[_Row], name: str, what: str, feeder: str) -> int:
    """Index of the row called ``name`` (case does not matter; the class prefix may be left out).

    Raises:
        ValueError: no such row; the message lists the known names.
    """
    wanted = str(name).lower()
    names = [row.name for row in rows]
    for index, known in enumerate(names):
        if known == wanted or known.split(".", 1)[-1] == wanted:
            return index
    shown = ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
    raise ValueError(f"{what} {name!r} does not exist on feeder {feeder!r}; known: {shown or 'none'}")


@dataclass(frozen=True)
class Feeder:
    """Names, order, ratings and nominal powers of one compiled circuit.

    ``path`` and ``commands`` are what an engine compiles: the master file, then OpenDSS commands in order.
    The rows' order is the order of the arrays in Setpoints and Solution.
    """

    name: str
    path: Path
    commands: tuple[str, ...]
    nodes: tuple[str, ...]
    source_bus: str
    buses: tuple[Bus, ...]
    branches: tuple[Branch, ...]
    injections: tuple[Injection, ...]
    taps: tuple[Tap, ...]
    switches: tuple[Switch, ...]
    uncontrolled: tuple[str, ...] = field(default=())

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
        normal_amps and closed. Parallel branches (three one-phase regulators, say) are one edge: its ``branches``
        names all of them, its ``name`` joins the names with "+", its phases are the union, and its other data are of
        the first regulator among them, else of the first switch, transformer, reactor or line.
        """
        graph = nx.Graph(name=self.name, source=self.source_bus)
        for bus in self.buses:
            graph.add_node(bus.name, phases=bus.phases, kv_base=bus.kv_base, x=bus.x, y=bus.y, load_kw=0.0)
        for load in self.loads:
            graph.nodes[self.injections[load].bus]["load_kw"] -= self.injections[load].kw
        for branch in self.branches:
            closed = branch.switch < 0 or self.switches[branch.switch].closed
            facts: dict[str, Any] = {
                "name": branch.name,
                "branches": (branch.name,),
                "kind": branch.kind,
                "phases": branch.phases,
                "length_km": branch.length_km,
                "r_ohm": branch.r_ohm,
                "x_ohm": branch.x_ohm,
                "normal_amps": branch.normal_amps,
                "closed": closed,
            }
            if graph.has_edge(branch.bus1, branch.bus2):
                edge = graph.edges[branch.bus1, branch.bus2]
                # Beside a jumper, the regulator is what matters; then the switch, and so on.
                facts = {**facts, **edge} if _KINDS.index(edge["kind"]) <= _KINDS.index(branch.kind) else facts
                facts["branches"] = (*edge["branches"], branch.name)
                facts["name"] = "+".join(facts["branches"])
                facts["phases"] = tuple(sorted({*edge["phases"], *branch.phases}))
                facts["closed"] = edge["closed"] or closed
            graph.add_edge(branch.bus1, branch.bus2, **facts)
        return graph

    def energised(self, closed: BoolArray) -> BoolArray:
        """(N) which nodes have a path to the source with the switches (S) in these states; per phase."""
        parent = list(range(len(self.nodes)))

        def root(i: int) -> int:
            while parent[i] != i:
                parent[i] = parent[parent[i]]
                i = parent[i]
            return i

        for branch in self.branches:
            if branch.switch >= 0 and not closed[branch.switch]:
                continue
            if branch.kind in ("transformer", "regulator"):  # windings couple the phases they connect to
                everyone = branch.nodes1 + branch.nodes2
                pairs = [(everyone[0], other) for other in everyone[1:]]
            else:
                pairs = list(zip(branch.nodes1, branch.nodes2, strict=True))
            for a, b in pairs:
                parent[root(a)] = root(b)
        alive = {root(i) for i, node in enumerate(self.nodes) if node.rsplit(".", 1)[0] == self.source_bus}
        return np.array([root(i) in alive for i in range(len(self.nodes))])

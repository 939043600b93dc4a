"""A balanced radial feeder in per unit: what the branch-flow relaxation is written for."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np

from dss_marl.engines import open_engine
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, IntArray, Setpoints, Solution

BASE_MVA = 1.0
_PHASES = 3


@dataclass(frozen=True)
class RadialNetwork:
    """Buses but the source bus, each with the branch that feeds it.

    Attributes:
        above: (B) index of the bus on the source's side, -1 for the source.
        r, x: (B) of the branch [pu].
        injection_bus: (J) bus of each injection, -1 at the source.
        scored: (B) share of the scored nodes at each bus.
        source_v: voltage of the source, squared [pu^2].
    """

    above: IntArray
    r: Array
    x: Array
    injection_bus: IntArray
    scored: Array
    source_v: float

    @classmethod
    def of(cls, task: Task) -> RadialNetwork:
        """The network of a task that ``network_reason`` accepts."""
        feeder = task.feeder
        graph = _closed_graph(task)
        order = list(nx.bfs_edges(graph, feeder.source_bus))
        place = {feeder.source_bus: -1} | {bus: k for k, (_, bus) in enumerate(order)}
        kv = np.sqrt(3) * feeder.bus(feeder.source_bus).kv_base
        ohm = kv**2 / BASE_MVA
        edges = [graph.edges[edge] for edge in order]
        scored = np.concatenate([zone.scored_nodes for zone in task.zones])
        at = np.array([place[feeder.buses[b].name] for b in feeder.node_bus[scored]])
        v = _nominal(task)[1].v_pu[feeder.source_nodes]
        return cls(
            above=np.array([place[one] for one, _ in order]),
            r=np.array([edge["r_ohm"] for edge in edges]) / ohm,
            x=np.array([edge["x_ohm"] for edge in edges]) / ohm,
            injection_bus=np.array([place[row.bus] for row in feeder.injections]),
            scored=np.bincount(at[at >= 0], minlength=len(order)) / len(scored),
            source_v=float(np.mean(v)) ** 2,
        )

    def solved(self, kw: Array, kvar: Array) -> tuple[Array, float]:
        """(B) voltages [pu] and losses [kW] with these injections (J), by backward and forward sweeps."""
        count = len(self.above)
        p, q = (self.injected(x) for x in (kw, kvar))
        square, current = np.full(count, self.source_v), np.zeros(count)
        for _ in range(100):
            flow_p, flow_q = self.r * current - p, self.x * current - q
            for k in reversed(range(count)):
                if self.above[k] >= 0:
                    flow_p[self.above[k]] += flow_p[k]
                    flow_q[self.above[k]] += flow_q[k]
            last = square.copy()
            for k in range(count):
                up = self.source_v if self.above[k] < 0 else square[self.above[k]]
                square[k] = up - 2 * (self.r[k] * flow_p[k] + self.x[k] * flow_q[k])
                square[k] += (self.r[k] ** 2 + self.x[k] ** 2) * current[k]
                current[k] = (flow_p[k] ** 2 + flow_q[k] ** 2) / max(up, 1e-9)
            if np.abs(square - last).max() < 1e-12:
                break
        return np.sqrt(square), float(self.r @ current) * BASE_MVA * 1e3

    def injected(self, values: Array) -> Array:
        """(B) sum of injections (J) at each bus [pu of the base, from kW or kvar]."""
        inside = self.injection_bus >= 0
        total = np.bincount(self.injection_bus[inside], values[inside], len(self.above))
        return total / (1e3 * BASE_MVA)


def network_reason(task: Task) -> str:
    """Why a task's feeder is not balanced and radial with series impedances only; "" if it is."""
    feeder = task.feeder
    graph = _closed_graph(task)
    if len(feeder.taps) or feeder.other_sources or feeder.uncontrolled:
        return "regulators, further sources, or elements that no set point controls"
    if any(row.kind != "switch" for row in feeder.switches):
        return "capacitor banks or grid-forming units"
    if any(branch.kind not in ("line", "switch") or len(branch.phases) != _PHASES for branch in feeder.branches):
        return "branches other than three-phase lines"
    if any(len(row.nodes) != _PHASES for row in feeder.injections):
        return "injections that are not three-phase"
    if not nx.is_tree(graph):
        return "a meshed feeder"
    return _numbers_reason(task)


def _nominal(task: Task) -> tuple[Setpoints, Solution]:
    """The circuit at nominal load, as the engine solves it."""
    points, engine = task.feeder.setpoints(), open_engine(task.feeder)
    try:
        return points, engine.solve(points)
    finally:
        engine.close()


def _closed_graph(task: Task) -> nx.Graph:
    """The feeder without its open switches."""
    graph = task.feeder.graph()
    graph.remove_edges_from([(one, two) for one, two, closed in list(graph.edges(data="closed")) if not closed])
    return graph


def _numbers_reason(task: Task) -> str:
    """Why the network does not reproduce the engine's power flow at nominal load; "" if it does."""
    network, (points, solution) = RadialNetwork.of(task), _nominal(task)
    v, loss_kw = network.solved(points.kw, points.kvar)
    bus = {name: k for k, (_, name) in enumerate(nx.bfs_edges(_closed_graph(task), task.feeder.source_bus))}
    place = np.array([bus.get(task.feeder.buses[b].name, -1) for b in task.feeder.node_bus])
    off = float(np.abs(np.where(place < 0, solution.v_pu, v[place]) - solution.v_pu).max())
    if off > 1e-4 or abs(loss_kw - float(solution.loss_kw)) > 1e-3 * max(loss_kw, 1.0):
        return f"a power flow that differs from the balanced network's by up to {off:.1e} pu"
    return ""

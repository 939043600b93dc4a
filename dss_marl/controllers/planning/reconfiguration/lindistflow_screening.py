"""LinDistFlow screening: a linear model that ranks all radial configurations of an interval at once."""

from __future__ import annotations

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dss_marl.devices import OpenPoints
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, GridState, IntArray
from dss_marl.mdp.rewards import loss, violating_share, voltage_violation

Single = NDArray[np.float32]  # half the memory; sufficient precision for ranking
_TOGETHER = 5_000  # configurations per batch


class LinDistFlowScreening:
    """Lossless branch flows with linear voltage drops (LinDistFlow; Baran and Wu, doi:10.1109/61.25627).

    The flows of a configuration are those of the initial one plus ring flows, which cancel the flow through the open
    switches. There is no iteration, so it always has a solution; high-ranked configurations are checked on the engine.

    Args:
        task: with open points.
        group: the open points.
        trees: (K, D) from ``spanning_trees.all_trees``.
    """

    def __init__(self, task: Task, group: OpenPoints, trees: IntArray) -> None:
        feeder = task.feeder
        self._task, self._trees = task, trees
        places = {int(s): k for k, s in enumerate(group.places)}
        edges = [
            (branch.bus1, branch.bus2, branch, places.get(branch.switch, -1))
            for branch in feeder.branches
            if branch.switch < 0 or task.start.closed[branch.switch]
        ]
        graph = nx.Graph()
        for one, two, branch, place in edges:
            graph.add_edge(one, two, branch=branch, place=place)
        order = list(nx.bfs_edges(graph, feeder.source_bus))
        self._buses = {feeder.source_bus: 0} | {bus: k for k, (_, bus) in enumerate(order, start=1)}
        homes = [next(b for b in feeder.branches if b.switch == group.places[home]) for home in group.home]
        count, width = len(order), len(order) + len(homes)
        rows = [graph.edges[edge] for edge in order]
        branches = [row["branch"] for row in rows] + homes
        self._r, self._x = (np.array([getattr(b, name) for b in branches], np.float32) for name in ("r_ohm", "x_ohm"))
        column_of = {row["place"]: k for k, row in enumerate(rows) if row["place"] >= 0}
        column_of |= {int(home): count + k for k, home in enumerate(group.home)}
        self._column = np.array([column_of[k] for k in range(len(group.places))])
        # _paths: (buses, branches) 1 if the initial path from the source to a bus contains the branch
        self._paths = np.zeros((count + 1, width), np.float32)
        for k, (above, bus) in enumerate(order):
            self._paths[self._buses[bus]] = self._paths[self._buses[above]]
            self._paths[self._buses[bus], k] = 1
        self._rings = np.zeros((len(homes), width), np.float32)
        for d, branch in enumerate(homes):  # around each ring: through the home switch from bus1 to bus2, and back
            self._rings[d] = self._paths[self._buses[branch.bus1]] - self._paths[self._buses[branch.bus2]]
            self._rings[d, count + d] = 1
        minors = self._rings[:, self._column[trees]].transpose(1, 0, 2)
        self._inverse = np.linalg.inv(minors.astype(float)).astype(np.float32)
        self._injection_bus = np.array([self._buses.get(row.bus, 0) for row in feeder.injections])
        self._volt = float(feeder.bus(feeder.source_bus).kv_base) * np.sqrt(3) * 1e3
        scored_nodes = np.concatenate([zone.scored_nodes for zone in task.zones])
        at = np.array([self._buses.get(feeder.buses[b].name, 0) for b in feeder.node_bus[scored_nodes]])
        self._scored = np.bincount(at, minlength=count + 1).astype(np.float32) / len(scored_nodes)
        nodes = np.zeros(count + 1, np.int64)  # a node of each bus; without a scored one its limits do not matter
        nodes[at] = scored_nodes
        self._band = task.band.at(nodes)
        self._weights = [task.reward_model.weight(term) for term in (loss, voltage_violation, violating_share)]

    def scores(self, now: GridState) -> Array:
        """(K) approximate values of the terms loss, voltage_violation and violating_share.

        Args:
            now: the interval as observed, with its loads and units.
        """
        flow = np.stack([self._home_flows(power) for power in (now.setpoints.kw, now.setpoints.kvar)])
        nodes = self._task.feeder.source_nodes
        square = float(np.mean(now.solution.v_pu[nodes])) ** 2
        parts = range(0, len(self._trees), _TOGETHER)
        return np.concatenate([self._part(slice(k, k + _TOGETHER), flow, square) for k in parts])

    def _home_flows(self, power: Array) -> Single:
        """(branches) flow away from the source in the initial configuration [kW or kvar]."""
        drawn = -np.bincount(self._injection_bus, power, len(self._paths)).astype(np.float32)
        return np.asarray(drawn @ self._paths, np.float32)

    def _part(self, part: slice, flow: Single, square: float) -> Array:
        column, inverse = self._column[self._trees[part]], self._inverse[part]
        round_rings = -np.einsum("ckp,kpd->ckd", flow[:, column], inverse)
        flows = flow[:, None] + round_rings @ self._rings  # (2, K, branches)
        rows = np.arange(len(column))[:, None]
        flows[:, rows, column] = 0.0
        lost_mw = ((flows**2).sum(0) @ self._r) / (square * self._volt**2)  # kW^2 ohm / V^2 is MW
        drop = 2e3 * (flows[0] * self._r + flows[1] * self._x) / self._volt**2  # drop of the squared voltage [pu^2]
        drop[rows, column] = -np.einsum("kd,kpd->kp", drop @ self._rings.T, inverse)
        v = np.sqrt(np.maximum(square - drop @ self._paths.T, 1e-4))
        out = self._band.beyond(v)
        by_loss, by_pu, by_node = self._weights
        scores = -by_loss * lost_mw - by_pu * (out @ self._scored) - by_node * ((out > 0) @ self._scored)
        return np.asarray(scores, float)

"""How sections are supplied while crews work: the switches between them, and which of them close next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dss_marl.devices import Crews, Switches
from dss_marl.devices.load_shedder import sections
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray

FAR = 10**6  # more switches than any feeder has


class _Joint(NamedTuple):
    """A controlled switch: its group and row there, its row of Feeder.switches, two nodes, and whether it is a tie."""

    group: int
    device: int
    switch: int
    nodes: tuple[int, int]
    tie: bool


class SectionSupply:
    """The sections that crews work on, joined by controlled switches with all phases of a section.

    Args:
        task: with crews and switches.
        crews: its crews.

    Attributes:
        edges: pairs of sections that a switch joins; a section of number Q is always supplied.
    """

    def __init__(self, task: Task, crews: Crews) -> None:
        self._task, self._size, self._of_node = task, crews.sections.size, crews.sections.of_node
        self._joints = [joint for joint in _joints(task) if _whole(task, joint)]
        alive = task.feeder.energised(task.feeder.setpoints().closed)
        self.edges: list[tuple[int, int]] = []
        for joint in self._joints:
            a, b = (int(self._of_node[node]) for node in joint.nodes)
            if a != b and all(alive[node] for node in joint.nodes):
                self.edges.append((a, b))
        self._neighbours: list[list[int]] = [[] for _ in range(self._size + 1)]
        for a, b in self.edges:
            self._neighbours[a].append(b)
            self._neighbours[b].append(a)
        loads = task.feeder.loads
        first = np.array([task.feeder.injections[j].nodes[0] for j in loads], np.int64)
        self._loads, self._of_load = loads, self._of_node[first]
        priorities = task.priorities
        self._weight = np.ones(len(loads)) if priorities is None else priorities.weight[loads]

    def weighted_kw(self, now: GridState) -> Array:
        """(Q) load of each section in an interval, times its priority, energised or not [kW]."""
        return self.weighted(now.available)

    def weighted(self, injections_kw: Array) -> Array:
        """(Q) the same from injections (J) before control."""
        kw = np.maximum(-injections_kw[self._loads], 0.0) * self._weight
        return np.asarray(np.bincount(self._of_load, kw, self._size + 1)[: self._size], float)

    def layers(self, barred: BoolArray) -> IntArray:
        """(Q) number of barred sections on the way to each, itself included, by the way with the fewest."""
        result = np.full(self._size + 1, FAR)
        result[self._size] = 0
        changed = True
        while changed:
            changed = False
            for a, b in [*self.edges, *((b, a) for a, b in self.edges)]:
                steps = result[a] + (bool(barred[b]) if b < self._size else 0)
                if b < self._size and steps < result[b]:
                    result[b], changed = steps, True
        return result[: self._size]

    def with_downstream(self, weighted_kw: Array, layers: IntArray) -> Array:
        """(Q) the load of each section, and half of what its neighbours farther from the supply have likewise."""
        total = weighted_kw.copy()
        for q in np.argsort(-layers, kind="stable"):
            total[q] += 0.5 * sum(
                total[n] for n in set(self._neighbours[q]) if n < self._size and layers[n] > layers[q]
            )
        return total

    def supplied_from(self, clear: Sequence[int]) -> IntArray:
        """(Q) the step from which each section is supplied, if each may be energised from step ``clear`` (Q) on."""
        result = [FAR] * (self._size + 1)
        result[self._size] = 0
        ahead = [self._size]
        while ahead:
            a = ahead.pop()
            for b in self._neighbours[a]:
                if b < self._size:
                    step = max(result[a], clear[b])
                    if step < result[b]:
                        result[b] = step
                        ahead.append(b)
        return np.array(result[: self._size])

    def closings(self, simulator: Simulator, now: GridState) -> Array:
        """(F) a joint action that closes what may be closed, all other devices holding.

        Switches that are normally closed close as soon as no section at their ends is barred. A tie closes, one per
        step, if it supplies what they do not.
        """
        joint_action = simulator.hold_action(now)
        entries = self._task.agents.action_layout.by_group(joint_action)  # views
        ones = np.ones_like(joint_action)
        may = self._task.agents.action_layout.by_group(simulator.feasible(now, ones[:, None])[:, 0].astype(float))
        closed = now.setpoints.closed.copy()
        barred = np.zeros(len(self._of_node), bool) if now.faulted is None else now.faulted
        ready = [
            joint
            for joint in self._joints
            if not closed[joint.switch] and may[joint.group][joint.device, 0] and not barred[list(joint.nodes)].any()
        ]
        for joint in ready:
            if not joint.tie:
                entries[joint.group][joint.device, 0] = 1.0
                closed[joint.switch] = True
        topology = self._task.topology
        supplied = topology.sourced(closed)[topology.block]
        for joint in ready:
            one, two = supplied[list(joint.nodes)]
            if joint.tie and one != two:
                entries[joint.group][joint.device, 0] = 1.0
                break
        return joint_action


def _joints(task: Task) -> list[_Joint]:
    feeder = task.feeder
    first, second, switch = feeder.joints
    found = []
    for k, group in enumerate(task.device_groups):
        if isinstance(group, Switches):
            for d, s in enumerate(group.switches.tolist()):
                at = np.flatnonzero(switch == s)[:1]
                nodes = int(first[at[0]]), int(second[at[0]])
                found.append(_Joint(k, d, s, nodes, not feeder.switches[s].closed))
    return found


def _whole(task: Task, joint: _Joint) -> bool:
    """Whether a switch has all phases of the narrower section at its ends, and so supplies it whole."""
    section, feeder = sections(task.feeder)[task.feeder.node_bus], task.feeder
    widths = []
    for node in joint.nodes:
        own = np.flatnonzero(section == section[node])
        widths.append(len({feeder.nodes[n].rsplit(".", 1)[1] for n in own}))
    return len(task.topology.pairs[joint.switch]) >= min(widths)

"""Nearest tie: a restoration rule that closes the tie nearest to the outage."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from dss_marl.devices import FeederTies, Generators, Switches
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, GridState
from dss_marl.grid.topology import Topology


class NearestTie:
    """Closes, one per step, a switch or feeder tie between energised and de-energised parts, as the interlock allows.

    Of several, the one with the fewest branches to the fault. When none is left, generators on de-energised buses
    start, one per step, and form islands. The rule never opens a switch and considers neither the capacity of ties, nor
    voltages, nor loads: local knowledge.
    """

    circuit_controls = False
    local = True

    def reset(self, env: ZoneEnv) -> None:
        """Find the switches.

        Raises:
            ValueError: there are none.
        """
        if not any(isinstance(group, Switches | FeederTies) for group in env.task.device_groups):
            raise ValueError(f"nearest_tie closes switches; scenario {env.task.scenario.name!r} has none")
        self._adjacent_buses = _adjacent_buses(env.task.feeder)

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Actions of all agents."""
        return env.task.encoding.encode(self.requests(env))

    def requests(self, env: ZoneEnv) -> Array:
        """(F) joint action for the coming interval."""
        now, task = env.now, env.task
        assert now is not None
        joint_action = env.simulator.hold_action(now)
        entries = task.agents.action_layout.by_group(joint_action)  # views
        ones = np.ones_like(joint_action)
        feasible = task.agents.action_layout.by_group(env.simulator.feasible(now, ones[:, None])[:, 0].astype(float))
        found = []
        distance = self._distances(task.feeder, now)
        for k, group in enumerate(task.device_groups):
            if isinstance(group, Switches | FeederTies):
                rows = group.switches if isinstance(group, Switches) else group.grid_forming_units
                for d, s in enumerate(rows.tolist()):
                    if not now.setpoints.closed[s] and feasible[k][d, 0] and self._restores(task.topology, now, s):
                        found.append((distance[task.feeder.bus_index[group.buses[d]]], k, d))
        if found:
            _, k, d = min(found)
            entries[k][d, 0] = 1.0
            return joint_action
        for k, group in enumerate(task.device_groups):
            if isinstance(group, Generators):
                self._start_unit(group, entries[k], now)
        return joint_action

    def _restores(self, topology: Topology, now: GridState, switch: int) -> bool:
        """Whether closing it energises nodes."""
        closed = now.setpoints.closed.copy()
        closed[switch] = True
        alive = topology.sourced(closed)[topology.block]  # an island that it joins to a source is formed no longer
        return bool(alive.sum() > now.solution.energised.sum())

    def _start_unit(self, group: Generators, entries: Array, now: GridState) -> None:
        """Start the first unit on de-energised nodes that can form an island."""
        for d in np.flatnonzero(group.grid_forming_units >= 0):
            dark = not now.solution.energised[group.roles.nodes[d]].any()
            if dark and entries[d, 0] <= -1:
                entries[d, 0] = 1.0
                return

    def _distances(self, feeder: Feeder, now: GridState) -> Array:
        """(buses) number of branches to the nearest fault, regardless of switch states; all 0 without faults."""
        if now.faulted is None:
            return np.zeros(len(feeder.buses))
        start = set(feeder.node_bus[now.faulted].tolist())
        result = np.full(len(feeder.buses), np.inf)
        result[list(start)] = 0
        ahead = deque(start)
        while ahead:
            bus = ahead.popleft()
            for other in self._adjacent_buses[bus]:
                if result[other] == np.inf:
                    result[other] = result[bus] + 1
                    ahead.append(other)
        return result


def _adjacent_buses(feeder: Feeder) -> list[list[int]]:
    """Adjacent buses of each bus."""
    ways: list[list[int]] = [[] for _ in feeder.buses]
    for branch in feeder.branches:
        a, b = feeder.bus_index[branch.bus1], feeder.bus_index[branch.bus2]
        ways[a].append(b)
        ways[b].append(a)
    return ways

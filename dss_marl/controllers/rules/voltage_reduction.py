"""Conservation voltage reduction: regulators hold the lowest voltages at one set point, batteries a timetable."""

from __future__ import annotations

from collections.abc import Iterable

import networkx as nx
import numpy as np

from dss_marl.controllers.rules.droop import Droop
from dss_marl.controllers.rules.time_of_use import TimeOfUse, timetable
from dss_marl.controllers.rules.typical_day import intervals_ahead
from dss_marl.devices import Batteries, FlexibleLoads, Inverters, Regulators
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array, GridState, IntArray
from dss_marl.profiles.splits import seed_of, spread_days

SET_POINTS_PU = tuple(np.round(np.arange(0.95, 1.0301, 0.01), 3).tolist())  # those tried on training days
SHARES = (0.5, 0.0)  # of the batteries' timetable, tried as well
_ROUNDS = 3  # power flows in which regulators in series agree
_SAMPLED = 3  # training days
_HALF_PU = 0.005  # half the distance of set points
_SLACK = 1e-6  # tap steps


class VoltageReduction(TimeOfUse):
    """``time_of_use`` with the regulators at one common, low set point, as utilities do to save energy.

    Each regulator keeps the lowest voltage that it alone supplies, of its own phases and up to the next regulator,
    within a tap step above the set point, through the actions that agents have: what a utility does with meters at
    the ends of its lines. The set point, and whether batteries charge and discharge at all, at half or at full power,
    are what has the best mean return on training days. Capacitor banks stay as they are.

    Args:
        v_ref_pu: the set point; None: both are found on training days, on the first day of a scenario [pu].
        share: of the power at which batteries charge and discharge, if the set point is given.
    """

    circuit_controls = False
    local = False

    def __init__(self, v_ref_pu: float | None = None, share: float = 1.0) -> None:
        Droop.__init__(self)
        self._given, self.share = v_ref_pu, share
        self._scenario: Scenario | None = None

    def reset(self, env: ZoneEnv) -> None:
        """Find the regulators, and the set point.

        Raises:
            ValueError: the scenario has no regulators that agents move.
        """
        groups = env.task.device_groups
        places = [k for k, group in enumerate(groups) if isinstance(group, Regulators)]
        if not places:
            raise ValueError(
                f"voltage_reduction moves regulators; scenario {env.task.scenario.name!r} has none that agents move"
            )
        self._regulators_at, group = places[0], groups[places[0]]
        assert isinstance(group, Regulators)
        self._group_of_taps, self._decided = group, (-1, np.zeros(0))
        self._supplied = _supplied(env.task, group)
        self._step_pu = np.array([env.task.feeder.taps[row].step_pu for row in group.taps])
        self._inverters = any(isinstance(one, Inverters) for one in groups)
        if self._inverters:
            Droop.reset(self, env)
        if self._scenario != env.task.scenario:
            stored = any(isinstance(one, Batteries | FlexibleLoads) for one in groups)
            self._scenario = env.task.scenario
            self.v_ref_pu, self.share = _found(env.task) if self._given is None else (self._given, self.share)
            self._schedule = _scaled(env.task, self.share) if stored else None

    def _others(self, env: ZoneEnv) -> Array:
        """(F) the timetable, and the regulators' moves; decided once per interval."""
        assert env.now is not None
        if self._decided[0] != env.now.step:
            self._decided = env.now.step, self._decide(env, env.now)
        return self._decided[1].copy()

    def _decide(self, env: ZoneEnv, now: GridState) -> Array:
        joint_action = env.task.default_action.copy()
        if self._schedule is not None:
            joint_action = self._schedule[intervals_ahead(env.task, now.step, 1)[0]].copy()
        group, layout = self._group_of_taps, env.task.agents.action_layout
        place = layout.parts[self._regulators_at]
        before = now.setpoints.tap[group.taps][group.leading]
        low, high = group.room(env.simulator.fleet.states(now.device_state)[self._regulators_at], now.setpoints)
        moves = np.zeros(group.size, np.int64)
        for _ in range(_ROUNDS):
            joint_action[place] = group.request(before, before + moves).ravel()
            wanted = np.clip(moves + self._lacking(env.what_if(env.task.encoding.encode(joint_action))), low, high)
            if np.array_equal(wanted, moves):
                break
            moves = wanted
        joint_action[place] = group.request(before, before + moves).ravel()
        return joint_action

    def _lacking(self, state: GridState) -> IntArray:
        """(D) further moves that bring the lowest voltage of each to the set point or up to a tap step above it."""
        v, alive = state.solution.v_pu, state.solution.energised
        lowest = [v[nodes[alive[nodes]]].min(initial=np.inf) for nodes in self._supplied]
        off = (self.v_ref_pu - np.array(lowest)) / self._step_pu[self._group_of_taps.leading]
        return np.where(np.isfinite(off), np.ceil(off - _SLACK), 0).astype(np.int64)


def _supplied(task: Task, group: Regulators) -> list[IntArray]:
    """For each regulator, the nodes of its phases that it supplies and no other one after it."""
    feeder, graph = task.feeder, task.feeder.graph()
    taps = [feeder.taps[row] for row in group.taps]
    cut = {frozenset((tap.bus1, tap.bus2)) for tap in taps if tap.bus1 != tap.bus2}
    graph.remove_edges_from([edge for edge in list(graph.edges) if frozenset(edge) in cut])
    graph.remove_edges_from([(a, b) for a, b, closed in list(graph.edges(data="closed")) if not closed])
    found = []
    for d in range(group.size):
        own = [tap for tap, owner in zip(taps, group.owner, strict=True) if owner == d]
        buses = {bus for tap in own for bus in nx.node_connected_component(graph, tap.bus2)}
        phases = {phase for tap in own for phase in tap.phases}
        named = [f"{bus}.{phase}" for bus in buses for phase in phases]
        found.append(np.sort([feeder.node_index[name] for name in named if name in feeder.node_index]))
    return found


def _scaled(task: Task, share: float) -> Array:
    """(T, F) the timetable with a share of the batteries' power."""
    table = timetable(task)
    for part, group in zip(task.agents.action_layout.parts, task.device_groups, strict=True):
        if isinstance(group, Batteries):
            table[:, part] *= share
    return table


def _found(task: Task) -> tuple[float, float]:
    """The set point [pu] and the share with the best mean return on training days."""
    days, env = spread_days(task.profiles.days("train"), _SAMPLED), ZoneEnv(task, "train")
    earned: dict[tuple[float, float], float] = {}

    def best(tried: Iterable[tuple[float, float]]) -> tuple[float, float]:
        for v, share in tried:
            earned[v, share] = sum(_played(env, VoltageReduction(v, share), day) for day in days)
        return max(earned, key=lambda at: earned[at])

    v, _ = best((v, 1.0) for v in SET_POINTS_PU)
    if any(isinstance(group, Batteries) for group in task.device_groups):
        _, share = best((v, share) for share in SHARES)
        v, _ = best((v, share) for v in SET_POINTS_PU if (v, share) not in earned)
    v, share = max(earned, key=lambda at: earned[at])
    found = best((round(v + off, 4), share) for off in (-_HALF_PU, _HALF_PU))
    env.close()
    return found


def _played(env: ZoneEnv, rule: VoltageReduction, day: int) -> float:
    observations, _ = env.reset(seed=seed_of(day), options={"day": day})
    rule.reset(env)
    total = 0.0
    while env.agents:
        observations = env.step(rule.act(env, observations))[0]
        total += env.team_reward
    return total

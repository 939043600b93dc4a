"""Trial power flows: team reward of candidate actions in an interval."""

from __future__ import annotations

import numpy as np

from dss_marl.engines.base import PowerFlowError
from dss_marl.envs.simulator import Simulator
from dss_marl.grid.state import Array, GridState
from dss_marl.mdp.adversary import Attack
from dss_marl.zones import over_zones


class TrialSolver:
    """Evaluates joint actions by the scenario's own reward.

    Args:
        simulator: with a started day; its state is not changed.
        attack: whose effect on the joint action is included.

    Attributes:
        solves: number of power flows so far.
    """

    def __init__(self, simulator: Simulator, attack: Attack | None = None) -> None:
        self.simulator = simulator
        self.attack = attack
        self.task = simulator.task
        self.solves = 0

    def reward(self, now: GridState, joint_action: Array) -> float:
        """Team reward of a joint action; -inf if the power flow fails.

        Args:
            now: before the interval.
            joint_action: (F) in [-1, 1].
        """
        after = self.after(now, joint_action)
        return -np.inf if after is None else self.team_reward(now, after)

    def zone(self, place: int, now: GridState, joint_action: Array) -> float:
        """Weighted reward terms of one zone; -inf if the power flow fails.

        Args:
            place: index of the zone.
            now, joint_action: as for ``reward``.
        """
        after, zone = self.after(now, joint_action), self.task.zones[place]
        if after is None:
            return -np.inf
        return sum(weight * float(term(zone, now, after)) for weight, term in self.task.rewards.values())

    def after(self, now: GridState, joint_action: Array) -> GridState | None:
        """The state after the interval with this joint action; None if the power flow fails."""
        self.solves += 1
        if self.attack is not None:
            joint_action = self.attack.act(joint_action, self.task.agents.action_layout.entry_agent, now)
        try:
            return self.simulator.operate(now, joint_action)[0]
        except PowerFlowError:
            return None

    def team_reward(self, before: GridState, after: GridState, without: frozenset[str] = frozenset()) -> float:
        """Sum of the weighted reward terms over all zones.

        Args:
            before, after: states around the step.
            without: terms that are left out.
        """
        task, total = self.task, 0.0
        for name, (weight, term) in task.rewards.items():
            if name not in without:
                values = over_zones(term, task.zones, task.all_zones, before, after)
                total += weight * float(np.broadcast_to(values, len(task.zones)).sum())
        return total

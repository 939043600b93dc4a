"""Trial power flows: team reward of candidate actions in an interval."""

from __future__ import annotations

import numpy as np

from dss_marl.engines.base import PowerFlowError
from dss_marl.envs.simulator import Simulator
from dss_marl.grid.state import Array, GridState
from dss_marl.mdp.adversary import Attack


class TrialSolver:
    """Evaluates joint actions by the scenario's own reward.

    Args:
        simulator: on a day; trials do not change its state.
        attack: of compromised agents on the requests.

    Attributes:
        reward_model: of the task.
        solves: power flows so far.
    """

    def __init__(self, simulator: Simulator, attack: Attack | None = None) -> None:
        self.simulator = simulator
        self.attack = attack
        self.task = simulator.task
        self.reward_model = simulator.task.reward_model
        self.solves = 0

    def reward(self, now: GridState, joint_action: Array) -> float:
        """Team reward of ``joint_action``; -inf if the power flow fails.

        Args:
            now: before the interval.
            joint_action: (F) in [-1, 1].
        """
        after = self.operate(now, joint_action)
        return -np.inf if after is None else self.reward_model.team_reward(now, after)

    def zone_reward(self, zone: int, now: GridState, joint_action: Array) -> float:
        """What one zone's own reward terms would be; -inf where the power flow fails.

        Args:
            zone: its number among the task's zones.
            now, joint_action: as for ``reward``.
        """
        after = self.operate(now, joint_action)
        return -np.inf if after is None else self.reward_model.zone_reward(zone, now, after)

    def operate(self, now: GridState, joint_action: Array) -> GridState | None:
        """The state after the interval with this joint action; None if the power flow fails."""
        self.solves += 1
        if self.attack is not None:
            joint_action = self.attack.act(joint_action, self.task.agents.action_layout.entry_agent, now)
        try:
            return self.simulator.operate(now, joint_action)[0]
        except PowerFlowError:
            return None

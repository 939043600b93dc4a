"""RewardAssignment: assigns a step's reward to the agents."""

from __future__ import annotations

import numpy as np

from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, GridState, Number


class RewardAssignment:
    """A task's ``reward_sharing``: team reward, zone reward, the agent's own view, or difference reward.

    Args:
        task: defines agents and terms.
        simulator: evaluates the counterfactuals of difference rewards.
    """

    def __init__(self, task: Task, simulator: Simulator) -> None:
        self.task = task
        self.simulator = simulator

    def agent_rewards(self, terms: Array, before: GridState, after: GridState, joint_action: Array) -> Array:
        """(..., A) the reward of each agent.

        Args:
            terms: (..., K, Z) weighted reward terms of the zones.
            before, after: states around the step.
            joint_action: (..., F) as requested.
        """
        sharing, agents = self.task.scenario.reward_sharing, self.task.agents
        if sharing == "team":
            team = np.add.reduce(terms, axis=(-2, -1))
            return np.repeat(team[..., None], len(agents.names), axis=-1)
        if sharing == "zone" or (sharing == "agent" and agents.how == "zone"):
            return np.asarray(terms.sum(-2)[..., agents.zone])
        if sharing == "agent":
            return self.task.reward_model.rewards_of(agents.views, agents.all_views, before, after)
        team = np.add.reduce(terms, axis=(-2, -1))
        rows = [team - self._without(a, before, joint_action) for a in range(len(agents.names))]
        return np.stack(rows, axis=-1)

    def _without(self, agent: int, before: GridState, joint_action: Array) -> Number:
        """(...) team reward if this agent had held."""
        held = np.where(
            self.task.agents.action_layout.entry_agent == agent, self.simulator.hold_action(before), joint_action
        )
        other, failed = self.simulator.attempt(before, held)
        penalty, model = -self.task.scenario.failure_penalty, self.task.reward_model
        if other is None:
            return np.float64(penalty)
        worth = np.add.reduce(model.zone_terms(before, other)[..., : len(model.rewards), :], axis=(-2, -1))
        return np.where(failed, penalty, worth) if np.ndim(failed) else worth

"""RewardModel: what a step was worth, to the zones, to the team and to each agent."""

from __future__ import annotations

import numpy as np

from dss_marl.engines.base import PowerFlowError
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import Task
from dss_marl.grid.batches import check_one_state
from dss_marl.grid.state import Array, GridState
from dss_marl.zones import over_zones


class RewardModel:
    """The reward terms and costs of a task.

    Args:
        task: names them.
        plant: on which a difference reward tries what would have been.
    """

    def __init__(self, task: Task, simulator: Simulator) -> None:
        self.task = task
        self.simulator = simulator

    def zone_terms(self, before: GridState, after: GridState) -> Array:
        """(..., K, Z) weighted reward terms, then costs, of all zones."""
        task, batch = self.task, after.solution.v_pu.shape[:-1]
        values = np.zeros((len(task.rewards) + len(task.costs), *batch, len(task.zones)))
        for row, (weight, term) in enumerate(task.rewards.values()):
            values[row] = over_zones(term, task.zones, task.all_zones, before, after)
            values[row] *= weight
        for row, cost in enumerate(task.costs.values(), start=len(task.rewards)):
            values[row] = over_zones(cost, task.zones, task.all_zones, before, after)
        return np.moveaxis(values, 0, -2) if batch else values

    def shared(self, terms: Array, before: GridState, after: GridState, joint_action: Array) -> Array:
        """(..., A) the reward of each agent.

        Args:
            terms: (..., terms, Z) weighted, of the zones.
            before, after: states around the step.
            joint_action: (F) what the devices were asked.

        Raises:
            ValueError: a difference reward of several states; what would have been is solved one by one.
        """
        sharing, agents = self.task.scenario.reward_sharing, self.task.agents
        if sharing == "team":
            rewards = np.empty((*terms.shape[:-2], len(agents.names)))
            rewards[...] = np.add.reduce(terms, axis=(-2, -1))[..., None]
            return rewards
        if sharing == "zone" or (sharing == "agent" and agents.how == "zone"):
            return np.asarray(terms.sum(-2)[..., agents.zone])
        if sharing == "agent":
            own = [
                weight * over_zones(term, agents.views, agents.all_views, before, after)
                for weight, term in self.task.rewards.values()
            ]
            return np.sum(np.broadcast_arrays(*own, np.zeros(len(agents.names))), axis=0)
        check_one_state(joint_action, self.task.default_action.shape, "difference rewards: the joint action")
        return np.array([terms.sum() - self._without(a, before, joint_action) for a in range(len(agents.names))])

    def _without(self, agent: int, before: GridState, joint_action: Array) -> float:
        """The team's reward had this agent held."""
        held = np.where(
            self.task.agents.action_layout.entry_agent == agent, self.simulator.hold_action(before), joint_action
        )
        try:
            other = self.simulator.operate(before, held)[0]
        except PowerFlowError:
            return -self.task.scenario.failure_penalty
        return float(self.zone_terms(before, other)[: len(self.task.rewards)].sum())

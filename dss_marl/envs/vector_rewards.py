"""VectorRewards: an environment that returns the objectives of a step instead of their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo.utils import BaseParallelWrapper

from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv


class VectorRewards(BaseParallelWrapper):  # type: ignore[misc]  # untyped there
    """A ZoneEnv whose rewards are vectors, one entry for each of the scenario's ``objectives``.

    Rewards and ``reward_space(agent)`` are as in MOMAland and MO-Gymnasium. The dot product of a vector with
    ``weights`` is the reward that the ZoneEnv itself returns. With ``reward_sharing`` "team" all agents get the vector
    of the team, with "zone" each that of its zone. After a failed flow every entry is the failure penalty, divided
    by the sum of the weights.

    Attributes:
        objectives: (O) their names.
        weights: (O) of each in the reward.
        reward_spaces: of each agent.

    Args:
        env: with objectives.

    Raises:
        ValueError: the scenario has none.

    >>> import dss_marl
    >>> env = dss_marl.VectorRewards(dss_marl.make("eulv_fair_curtailment", steps=2))
    >>> env.objectives
    ('efficiency', 'equity')
    >>> env.reward_space(env.possible_agents[0]).shape
    (2,)
    >>> env.close()
    """

    env: ZoneEnv

    def __init__(self, env: ZoneEnv) -> None:
        scenario = env.task.scenario
        if not scenario.objectives:
            raise ValueError(
                f"scenario {scenario.name!r} has a single objective; name several, such as "
                "objectives: {energy: {terms: [loss]}, voltage: {terms: [voltage_violation]}}"
            )
        super().__init__(env)
        self.objectives = tuple(scenario.objectives)
        self.weights = np.array([spec.weight for spec in scenario.objectives.values()])
        self.reward_spaces = {
            agent: spaces.Box(-np.inf, np.inf, (len(self.objectives),), np.float64) for agent in env.possible_agents
        }

    @property
    def task(self) -> Task:
        """The task, see Task."""
        return self.env.task

    def labels(self, agent: str) -> dict[str, list[str]]:
        """As ``ZoneEnv.labels``."""
        return self.env.labels(agent)

    def reward_space(self, agent: str) -> spaces.Box:
        """Space of the agent's reward; always the same object."""
        return self.reward_spaces[agent]

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Operate one interval; as ``ZoneEnv.step`` with a vector (O) for each agent's reward."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        vectors = {agent: self._vector(agent, infos) for agent in rewards}
        return observations, vectors, terminations, truncations, infos

    def _vector(self, agent: str, infos: Mapping[str, Mapping[str, Any]]) -> np.ndarray:
        scenario = self.task.scenario
        if infos[agent]["failed"]:
            return np.full(len(self.objectives), -scenario.failure_penalty / self.weights.sum())
        if scenario.reward_sharing == "zone":
            return np.array([infos[agent][f"objective/{name}"] for name in self.objectives])
        return self.env.reward_vector.copy()

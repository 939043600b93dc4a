"""Uniform spaces: agents with different spaces as zero-padded rows of equal width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv
from pettingzoo.utils import BaseParallelWrapper

from dss_marl.envs.flattening import ByAgent, action_in, flatten_env, width


class UniformSpaces(BaseParallelWrapper):
    """Observations and actions as numeric rows of the largest width among agents, padded with 0.

    For users that know each agent's own spaces (``own_spaces``), such as one policy per kind of agent.

    Raises:
        ValueError: an agent's observation is not a Box, or its action neither Box, Discrete nor MultiDiscrete.
    """

    def __init__(self, env: ParallelEnv) -> None:
        super().__init__(flatten_env(env)[0])
        agents = self.env.possible_agents
        self._own = {a: (self.env.observation_space(a), self.env.action_space(a)) for a in agents}
        self._widths = {a: width(done) for a, (_, done) in self._own.items()}
        for agent, (seen, done) in self._own.items():
            if not isinstance(seen, spaces.Box) or not isinstance(
                done, spaces.Box | spaces.Discrete | spaces.MultiDiscrete
            ):
                wrong = done if isinstance(seen, spaces.Box) else seen
                raise ValueError(
                    f"{agent!r} has the space {wrong}, which SB3's algorithms do not support; "
                    "use actions='box' or 'multidiscrete', or agents='device'"
                )
        self._seen = spaces.Box(-np.inf, np.inf, (max(width(seen) for seen, _ in self._own.values()),), np.float32)
        self._done = spaces.Box(-np.inf, np.inf, (max(self._widths.values()),), np.float64)

    def own_spaces(self) -> dict[str, tuple[spaces.Space[Any], spaces.Space[Any]]]:
        """Original observation and action space of each agent."""
        return self._own

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Box of the widest agent's size."""
        return self._seen

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Box of the widest agent's size, float64, since it also holds discrete choices."""
        return self._done

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[ByAgent, ByAgent]:
        """The environment's reset."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return self._rows(observations), infos

    def step(self, actions: Mapping[str, NDArray[Any]]) -> tuple[ByAgent, ByAgent, ByAgent, ByAgent, ByAgent]:
        """The environment's step, with numeric rows."""
        own = {agent: action_in(self._own[agent][1], row[: self._widths[agent]]) for agent, row in actions.items()}
        observations, *rest = self.env.step(own)
        return self._rows(observations), *rest

    def _rows(self, observations: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        rows = {agent: np.zeros(self._seen.shape, np.float32) for agent in observations}
        for agent, row in rows.items():
            own = np.ravel(observations[agent])
            row[: len(own)] = own
        return rows

"""TurnEnv: the environment as PettingZoo's AEC environment, in which agents act one after the other."""

from __future__ import annotations

from typing import Any

from pettingzoo.utils.conversions import parallel_to_aec_wrapper

from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv


class TurnEnv(parallel_to_aec_wrapper):  # type: ignore[misc]  # untyped there
    """A ZoneEnv whose agents act in turn; the grid moves after the last.

    Each action is checked in its agent's turn: checked after the last, a wrong one of another agent could no longer be
    corrected.

    Args:
        env: the environment.
    """

    env: ZoneEnv

    def __init__(self, env: ZoneEnv) -> None:
        super().__init__(env)

    @property
    def task(self) -> Task:
        """The task, see Task."""
        return self.env.task

    def labels(self, agent: str) -> dict[str, list[str]]:
        """As ``ZoneEnv.labels``."""
        return self.env.labels(agent)

    def __str__(self) -> str:
        return str(self.env)

    def step(self, action: Any) -> None:
        """Take the action of the agent whose turn it is; None of one that has ended.

        Raises:
            ValueError, RuntimeError: as ``ZoneEnv.step``; it is still the agent's turn.
        """
        agent = self.agent_selection
        if not (self.terminations[agent] or self.truncations[agent]):
            self.env.check_action(agent, action)
        super().step(action)

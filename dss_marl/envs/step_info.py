"""StepInfo: the infos of a step, by name."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, IntArray

_COUNTS = ("clipped", "limited", "refused", "illegal", "attacked", "failed")  # described in ZoneEnv


class Request(NamedTuple):
    """The joint action requested in a step, and what was changed on the way from the agents' actions.

    Attributes:
        joint_action: (F) in [-1, 1].
        clipped: (A) count of each agent's values outside [-1, 1].
        illegal: (A) count of each agent's masked choices.
        attacked: (A) True where an agent is compromised.
    """

    joint_action: Array
    clipped: IntArray
    illegal: IntArray
    attacked: BoolArray


class StepInfo:
    """Builds the infos of a task: always the same keys in the same order.

    Args:
        task: defines reward terms and costs.
        coupled: (D) True for devices whose requests can exclude each other; their limits count as refused.
    """

    def __init__(self, task: Task, coupled: BoolArray) -> None:
        self._agents, self._coupled = task.agents, coupled
        terms = (*(f"reward/{name}" for name in task.rewards), *(f"cost/{name}" for name in task.costs))
        self._keys = (*terms, *_COUNTS, "day", "TimeLimit.truncated")
        self._terms = slice(0, len(terms))
        self._row = {name: row for row, name in enumerate(self._keys[:-1])}

    def at_reset(self, day: int, attacked: BoolArray) -> dict[str, dict[str, Any]]:
        """Infos of a new episode; ``attacked`` (A) are the agents compromised in its first step."""
        return self._by_agent(self._blank(), False, day=day, attacked=attacked)

    def of_step(
        self, day: int, request: Request, terms: Array, limited: IntArray, truncated: bool
    ) -> dict[str, dict[str, Any]]:
        """Infos of an interval as operated.

        Args:
            day: number of the day.
            request: of the step.
            terms: (K, Z) reward terms and costs of all zones.
            limited: (D) 1 where a device's limit cut the request.
            truncated: whether the episode is over.
        """
        values, cut = self._blank(), {}
        values[self._terms] = terms.take(self._agents.zone, axis=-1)
        if np.count_nonzero(limited):
            home, count = self._agents.action_layout.device_agent, len(self._agents.names)
            cut["limited"] = np.bincount(home, limited * ~self._coupled, count)
            cut["refused"] = np.bincount(home, limited * self._coupled, count)
        return self._by_agent(
            values,
            truncated,
            day=day,
            clipped=request.clipped,
            illegal=request.illegal,
            attacked=request.attacked,
            **cut,
        )

    def of_failure(self, day: int, request: Request) -> dict[str, dict[str, Any]]:
        """Infos after a failed power flow: no interval was operated."""
        return self._by_agent(
            self._blank(),
            False,
            day=day,
            clipped=request.clipped,
            illegal=request.illegal,
            attacked=request.attacked,
            failed=1,
        )

    def _blank(self) -> Array:
        """(keys, A) zeros."""
        return np.zeros((len(self._row), len(self._agents.names)))

    def _by_agent(self, values: Array, truncated: bool, **counts: Any) -> dict[str, dict[str, Any]]:
        """One dict per agent from (keys, A) values, after writing these counts, (A) or scalar, into them."""
        for name, count in counts.items():
            values[self._row[name]] = count
        return {
            agent: dict(zip(self._keys, (*column, truncated), strict=True))
            for agent, column in zip(self._agents.names, values.T.tolist(), strict=True)
        }

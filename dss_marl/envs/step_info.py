"""StepInfo: the numbers that agents get with each step, by name."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, IntArray

_COUNTS = ("clipped", "limited", "refused", "illegal", "attacked", "failed")  # see ZoneEnv for what each is


class Request(NamedTuple):
    """What is asked of the devices in a step, and what became of the agents' actions on the way there.

    Attributes:
        joint_action: (F) in [-1, 1].
        clipped: (A) numbers of each agent that were out of range.
        illegal: (A) choices of each agent that its mask forbids.
        attacked: (A) True where an agent is compromised.
    """

    joint_action: Array
    clipped: IntArray
    illegal: IntArray
    attacked: BoolArray


class StepInfo:
    """The infos of a task: the same keys in each, in one order.

    Args:
        task: names the reward terms and costs.
        coupled: (D) True where devices stand in each other's way; their limits count as refusals.
    """

    def __init__(self, task: Task, coupled: BoolArray) -> None:
        self._agents, self._coupled = task.agents, coupled
        terms = (*(f"reward/{name}" for name in task.rewards), *(f"cost/{name}" for name in task.costs))
        self._keys = (*terms, *_COUNTS, "day")
        self._terms = slice(0, len(terms))
        self._row = {name: row for row, name in enumerate(self._keys)}

    def at_reset(self, day: int, attacked: BoolArray) -> dict[str, dict[str, Any]]:
        """Infos of a new episode, whose first step finds these agents (A) compromised."""
        return self._by_agent(self._blank(), False, day=day, attacked=attacked)

    def of_step(
        self, day: int, request: Request, terms: Array, limited: IntArray, truncated: bool
    ) -> dict[str, dict[str, Any]]:
        """Infos of an interval as operated.

        Args:
            day: number of the day.
            request: what was asked.
            terms: (K, Z) reward terms and costs of all zones.
            limited: (D) 1 where a device's limit cut the request.
            truncated: whether the episode is over.
        """
        values, count = self._blank(), len(self._agents.names)
        home = self._agents.action_layout.device_agent
        values[self._terms] = terms[:, self._agents.zone]
        return self._by_agent(
            values,
            truncated,
            day=day,
            clipped=request.clipped,
            limited=np.bincount(home, limited * ~self._coupled, count),
            refused=np.bincount(home, limited * self._coupled, count),
            illegal=request.illegal,
            attacked=request.attacked,
        )

    def of_failure(self, day: int, request: Request) -> dict[str, dict[str, Any]]:
        """Infos where the power flow failed: no interval was operated."""
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
        return np.zeros((len(self._keys), len(self._agents.names)))

    def _by_agent(self, values: Array, truncated: bool, **counts: Any) -> dict[str, dict[str, Any]]:
        """One dict for each agent, of (keys, A) values with these counts, (A) or a number each, written in."""
        for name, count in counts.items():
            values[self._row[name]] = count
        return {
            agent: {**dict(zip(self._keys, column, strict=True)), "TimeLimit.truncated": truncated}
            for agent, column in zip(self._agents.names, values.T.tolist(), strict=True)
        }

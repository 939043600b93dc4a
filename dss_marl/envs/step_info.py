"""StepInfo: the infos of a step, by name."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.grid.batch_axes import counted
from dss_marl.grid.state import Array, BoolArray, IntArray

_COUNTS = ("clipped", "limited", "refused", "illegal", "attacked", "failed")  # described in ZoneEnv


class Request(NamedTuple):
    """The joint action requested in a step, and what was changed on the way from the agents' actions.

    Attributes:
        joint_action: (..., F) in [-1, 1].
        clipped: (..., A) count of each agent's values outside [-1, 1].
        illegal: (..., A) count of each agent's masked choices.
        attacked: (..., A) True where an agent is compromised.
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

    Attributes:
        keys: of the numbers.
    """

    def __init__(self, task: Task, coupled: BoolArray) -> None:
        self._agents, self._coupled, self._alone = task.agents, coupled, ~coupled
        self._any_coupled = bool(coupled.any())
        zones = task.agents.zone
        self._in_order = len(zones) == len(task.zones) and bool((zones == np.arange(len(zones))).all())
        terms = (*(f"reward/{name}" for name in task.rewards), *(f"cost/{name}" for name in task.costs))
        objectives = tuple(f"objective/{name}" for name in task.scenario.objectives)
        self.keys = (*terms, *objectives, *_COUNTS, "day")
        self._terms = slice(0, len(terms))
        self._objectives = slice(len(terms), len(terms) + len(objectives))
        self._objective_rows = task.objective_rows
        self._row = {name: row for row, name in enumerate(self.keys)}

    def at_reset(self, day: int, attacked: BoolArray) -> dict[str, dict[str, Any]]:
        """Infos of a new episode; ``attacked`` (A) are the agents compromised in its first step."""
        return self._by_agent(self.values_at_reset(day, attacked), False)

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
        return self._by_agent(self.values_of_step(day, request, terms, limited), truncated)

    def of_failure(self, day: int, request: Request) -> dict[str, dict[str, Any]]:
        """Infos after a failed power flow: no interval was operated."""
        return self._by_agent(self.values_of_failure(day, request), False)

    def _by_agent(self, values: Array, truncated: bool) -> dict[str, dict[str, Any]]:
        """One dict per agent from (keys, A) values."""
        names = (*self.keys, "TimeLimit.truncated")
        return {
            agent: dict(zip(names, (*column, truncated), strict=True))
            for agent, column in zip(self._agents.names, values.T.tolist(), strict=True)
        }

    # --- as arrays, in the order of ``keys`` -------------------------------------------------------------------------

    def values_at_reset(self, day: Any, attacked: BoolArray) -> Array:
        """(..., keys, A) of new episodes on days (...); see ``at_reset``."""
        return self._with_counts(self._blank(attacked.shape[:-1]), day=day, attacked=attacked)

    def values_of_step(self, day: Any, request: Request, terms: Array, limited: IntArray) -> Array:
        """(..., keys, A) of intervals as operated; arguments as of ``of_step``, with leading axes."""
        values, cut = self._blank(terms.shape[:-2]), {}
        values[..., self._terms, :] = terms if self._in_order else terms.take(self._agents.zone, axis=-1)
        if len(self._objective_rows):
            earned = values[..., : self._objective_rows.shape[1], :]
            values[..., self._objectives, :] = self._objective_rows @ earned
        if np.count_nonzero(limited):
            home, count = self._agents.action_layout.device_agent, len(self._agents.names)
            cut["limited"] = counted(home, limited * self._alone if self._any_coupled else limited, count)
            if self._any_coupled:
                cut["refused"] = counted(home, limited * self._coupled, count)
        return self._with_counts(
            values,
            day=day,
            clipped=request.clipped,
            illegal=request.illegal,
            attacked=request.attacked,
            **cut,
        )

    def values_of_failure(self, day: Any, request: Request) -> Array:
        """(..., keys, A) after failed power flows."""
        blank = self._blank(request.clipped.shape[:-1])
        given = {"clipped": request.clipped, "illegal": request.illegal, "attacked": request.attacked}
        return self._with_counts(blank, day=day, **given, failed=1)

    def _blank(self, batch: tuple[int, ...]) -> Array:
        """(..., keys, A) zeros."""
        return np.zeros((*batch, len(self.keys), len(self._agents.names)))

    def _with_counts(self, values: Array, **counts: Any) -> Array:
        """The values (..., keys, A) after writing counts into them: (..., A), or (...) for all agents."""
        for name, count in counts.items():
            if values.ndim == 2:
                values[self._row[name]] = count
            else:
                values[..., self._row[name], :] = count[..., None] if np.ndim(count) == values.ndim - 2 else count
        return values

"""Best constant: one joint action for all intervals of all days, found on training days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dss_marl.controllers.search.constant_search import climbed, constant_returns, constants
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array
from dss_marl.profiles.splits import spread_days

_TOGETHER = 16  # changes of single entries tried at once


class BestConstant:
    """Requests the same joint action in every interval: what a controller achieves that observes nothing.

    It is the best, on a few training days, of a grid over each kind of entry, and of changes of single entries from
    there. Devices whose entry is a move, such as regulators, move on until they reach an end position.

    Args:
        days: number of training days.
        tries: number of changes of single entries.
    """

    circuit_controls = False
    local = True

    def __init__(self, days: int = 4, tries: int = 96) -> None:
        if days < 1 or tries < 1:
            raise ValueError(f"best_constant needs at least one training day and one try; got {days} and {tries}")
        self.days, self.tries = days, tries
        self._scenario: Scenario | None = None

    def reset(self, env: ZoneEnv) -> None:
        """Search, on the first day of a scenario."""
        if self._scenario != env.task.scenario:
            self._scenario, self.joint_action = env.task.scenario, self._found(env.task)

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The constant actions."""
        return env.task.encoding.encode(self.joint_action)

    def _found(self, task: Task) -> Array:
        """(F) the best constant found."""
        days = spread_days(task.profiles.days("train"), self.days)

        def returns(rows: Array) -> Array:
            return np.asarray(constant_returns(task, rows, days, "train").mean(-1))

        grid = np.array([task.default_action, *constants(task).values()])
        earned = returns(grid)
        best = int(np.argmax(earned))
        return climbed(grid[best], float(earned[best]), task, self.tries, returns, _TOGETHER)

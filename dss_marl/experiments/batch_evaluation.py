"""Evaluation of a trained policy on a batch engine: many days at once, each as a copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dss_marl.envs.batch_env import BatchZoneEnv
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.metrics import EpisodeFigures
from dss_marl.grid.copies import rows_of
from dss_marl.grid.state import GridState
from dss_marl.integrations.sb3.trained_policy import PolicyPerKind
from dss_marl.integrations.vector.batched import action_dtype
from dss_marl.profiles.splits import seed_of

_MOST = 64  # days at once


class DaysTogether:
    """Days of a split played at once by a trained policy, as copies of a task on a batch engine.

    Args:
        task: without circuit controls other than its own.
        split: of the environments.
        engine: name of a batch engine.
        copies: days at once.

    Raises:
        ValueError: the engine is unknown or refuses the feeder.
    """

    def __init__(self, task: Task, split: str, engine: str, copies: int) -> None:
        self._batch = BatchZoneEnv(task, copies, split, engine)
        self._alone = ZoneEnv(task, split)  # whose spaces are those of a copy

    def figures(self, policy: PolicyPerKind, days: Sequence[int]) -> list[dict[str, float]]:
        """Key figures of each day, as ``run_day`` gives them.

        Raises:
            ValueError: the policy is of another scenario.
        """
        found: list[dict[str, float]] = []
        copies = self._batch.copies
        for first in range(0, len(days), copies):
            some = list(days[first : first + copies])
            filled = some + some[-1:] * (copies - len(some))  # a batch is never smaller
            found += self._played(policy, filled)[: len(some)]
        return found

    def close(self) -> None:
        """Close the environments."""
        self._batch.close()
        self._alone.close()

    def _played(self, policy: PolicyPerKind, days: Sequence[int]) -> list[dict[str, float]]:
        """Figures of one day for each copy."""
        batch, alone = self._batch, self._alone
        policy.reset(alone)
        figures = [EpisodeFigures(batch.task) for _ in days]
        going_on, width, dtype = np.ones(len(days), bool), batch.action_rows.shape[-1], action_dtype(batch, alone)
        batch.reset([seed_of(day) for day in days], [{"day": day} for day in days])
        while going_on.any():
            done = batch.step(policy.act_rows(alone, batch.observations, batch.masks, width).astype(dtype))
            before, after = batch.before, batch.after
            assert before is not None
            assert after is not None
            for b in np.flatnonzero(going_on).tolist():
                if done.terminated[b]:
                    figures[b].fail(float(batch.team_reward[b]))
                else:
                    figures[b].add(_one(before, b), _one(after, b), float(batch.team_reward[b]))
            going_on &= ~(done.terminated | done.truncated)
        return [own.result() for own in figures]


def evaluate_on(
    engine: str, policy: PolicyPerKind, task: Task, days: Sequence[int], split: str = "test"
) -> list[dict[str, float]]:
    """Key figures of a trained policy on each day, as ``evaluate`` gives them on OpenDSS; see DaysTogether.

    Raises:
        ValueError: the engine is unknown or refuses the feeder, or the policy is of another scenario.
    """
    together = DaysTogether(task, split, engine, min(len(days), _MOST))
    try:
        return together.figures(policy, days)
    finally:
        together.close()


def _one(state: GridState, copy: int) -> GridState:
    own = rows_of(state, copy)
    return own.replace(step=int(own.step), hour=float(own.hour))

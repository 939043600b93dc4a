"""Lessons: the states of training days that somebody plays, with what a teacher would do in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from dss_marl.envs.batch_env import BatchZoneEnv
from dss_marl.envs.flattening import action_row, width
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.training.teachers import SPLIT, Teacher, reset_to
from dss_marl.grid.state import Array, BoolArray
from dss_marl.integrations.sb3.trained_policy import PolicyPerKind
from dss_marl.integrations.vector.batched import action_dtype

_MOST_COPIES, _MOST_NODES = 12, 20_000  # days side by side, and nodes of all their circuits


@dataclass(frozen=True)
class Lesson:
    """N states: T steps of some days.

    Attributes:
        observations: (N, A, n) float32.
        targets: (N, A, W) what the teacher would do, each agent's action in the first entries of its row.
        used: (N, A, W) False for padding, devices that cannot act in the step, and states without a label.
        masks: (N, A, M) allowed choices; (N, A, 0) without choices.
        returns: (N, A) discounted rewards from there to the end of the day.
        left: (N) discount of the value at the end of the day, as seen from there; 0 if the day failed.
        last: (N, A, n) float32, the observations at the end of the day.
    """

    observations: np.ndarray
    targets: Array
    used: BoolArray
    masks: BoolArray
    returns: Array
    left: Array
    last: np.ndarray

    @classmethod
    def joined(cls, parts: Iterable[Lesson]) -> Lesson:
        """All states of several."""
        rows = list(parts)
        return cls(*(np.concatenate([getattr(own, field.name) for own in rows]) for field in fields(cls)))


class Classroom:
    """Copies of a task on OpenDSS, in which training days are played and a teacher is asked.

    Args:
        task: to play.
        teacher: asked in every state.
        days: number of days of each lesson.
        gamma: discount factor of the returns.

    Attributes:
        alone: an environment whose spaces are those of a copy.
    """

    def __init__(self, task: Task, teacher: Teacher, days: int, gamma: float) -> None:
        most = max(1, min(_MOST_COPIES, _MOST_NODES // len(task.feeder.nodes)))
        copies = max(n for n in range(1, most + 1) if days % n == 0)  # so that none plays a day in vain
        self.alone = ZoneEnv(task, SPLIT)
        self._batch = BatchZoneEnv(task, copies, SPLIT, "opendss")
        self._teacher, self._gamma = teacher, gamma
        self._spaces = [self.alone.action_space(agent) for agent in self.alone.possible_agents]
        self._used = task.agents.action_layout.used  # (A, W)
        if not task.encoding.by_rows:
            widths = np.array([width(space) for space in self._spaces])
            self._used = np.arange(self._batch.action_rows.shape[-1]) < widths[:, None]

    def lesson(self, days: Sequence[int], student: PolicyPerKind | None) -> tuple[Lesson, float]:
        """The states of these days as played by a student, or by the teacher itself, and the mean team return.

        Args:
            days: a multiple of the copies.
            student: acts deterministically; None: the teacher plays.
        """
        copies = self._batch.copies
        parts, total = [], 0.0
        for first in range(0, len(days), copies):
            lesson, earned = self._played(days[first : first + copies], student)
            parts.append(lesson)
            total += earned
        return Lesson.joined(parts), total / len(days)

    def close(self) -> None:
        """Close the environments."""
        self._batch.close()
        self.alone.close()

    def _played(self, days: Sequence[int], student: PolicyPerKind | None) -> tuple[Lesson, float]:
        """Of one day in each copy; and the sum of their team returns."""
        batch = self._batch
        reset_to(batch, days)
        self._teacher.begin(batch, days)
        dtype, going_on, total = action_dtype(batch, self.alone), np.ones(batch.copies, bool), 0.0
        steps: list[tuple[np.ndarray, ...]] = []
        last, failed = batch.observations.copy(), np.zeros(batch.copies, bool)
        while going_on.any():
            observations, masks = batch.observations.copy(), batch.masks
            targets, used = self._labelled(going_on)
            rows = targets
            if student is not None:
                rows = student.act_rows(self.alone, observations, masks, targets.shape[-1])
            done = batch.step(rows.astype(dtype))
            kept = np.zeros((*targets.shape[:2], 0), bool) if masks is None else masks.copy()
            steps.append((observations, targets, used, kept, done.rewards * going_on[:, None], going_on.copy()))
            total += float(batch.team_reward[going_on].sum())
            ended = going_on & (done.terminated | done.truncated)
            if done.final_observations is not None:
                last[ended] = done.final_observations[ended]
            failed |= going_on & done.terminated
            going_on = going_on & ~ended
        return self._lesson(steps, last, failed), total

    def _labelled(self, going_on: BoolArray) -> tuple[Array, BoolArray]:
        """(B, A, W) the teacher's actions in the present states, and which of their entries count."""
        batch = self._batch
        encoding, layout = batch.task.encoding, batch.task.agents.action_layout
        assert batch.now is not None
        labels, without = self._teacher.labels(batch)
        if batch.levels is not None:
            labels = _allowed(labels, encoding.values, batch.levels.allowed)
        targets = np.zeros((batch.copies, *self._used.shape))
        for own, label in zip(targets, labels, strict=True):
            actions = encoding.encode(label).values()
            for row, space, action in zip(own, self._spaces, actions, strict=True):
                values = action_row(space, action)
                row[: len(values)] = values
        used = np.broadcast_to(self._used, targets.shape) & (going_on & ~without)[:, None, None]
        if encoding.by_rows:
            used = used & (layout.rows(batch.simulator.fleet.can_act(batch.now.step).astype(float)) > 0)
        return targets, used

    def _lesson(self, steps: Sequence[tuple[np.ndarray, ...]], last: np.ndarray, failed: BoolArray) -> Lesson:
        observations, targets, used, masks, rewards, there = (np.stack(part) for part in zip(*steps, strict=True))
        returns, left = np.zeros(rewards.shape), np.zeros(there.shape)
        following, ahead = np.zeros(rewards.shape[1:]), np.where(failed, 0.0, 1.0)
        for step in reversed(range(len(steps))):
            following = rewards[step] + self._gamma * following
            ahead = np.where(there[step], self._gamma * ahead, ahead)
            returns[step], left[step] = following, ahead
        ends = np.broadcast_to(last, observations.shape)
        return Lesson(*(part[there] for part in (observations, targets, used, masks, returns, left, ends)))


def _allowed(labels: Array, values: Array, allowed: BoolArray) -> Array:
    """(..., F) the labels, moved to the nearest of the levels (..., F, L) that are allowed, where there are any.

    Args:
        labels: (..., F).
        values: (F, L) of the levels, NaN where there is none.
        allowed: (..., F, L).
    """
    off = np.where(allowed, np.abs(np.nan_to_num(values) - labels[..., None]), np.inf)
    nearest = np.take_along_axis(np.broadcast_to(values, off.shape), off.argmin(-1)[..., None], axis=-1)[..., 0]
    return np.where(np.isfinite(off.min(-1, initial=np.inf)), nearest, labels)

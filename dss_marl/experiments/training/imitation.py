"""Imitation: policies start from what a teacher does, asked in the states that the policies themselves come to.

The states of all rounds are kept (dataset aggregation, Ross, Gordon and Bagnell 2011). A label says how to come from
the present state to what the teacher has: see ``DeviceGroup.action_towards``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch as th

from dss_marl.envs.flattening import n_choices, width
from dss_marl.envs.task import Task
from dss_marl.envs.training_settings import TeacherSettings, TrainingSettings
from dss_marl.experiments.training.checkpointing import Tell
from dss_marl.experiments.training.lessons import Classroom, Lesson
from dss_marl.experiments.training.teachers import SPLIT, new_teacher
from dss_marl.grid.state import IntArray
from dss_marl.integrations.sb3.imitation_loss import (
    actor_parameters,
    check_imitates,
    critic_parameters,
    imitation_loss,
)
from dss_marl.integrations.sb3.per_kind import predicted, takes_masks
from dss_marl.integrations.sb3.trained_policy import PolicyPerKind

_NEAR = 0.1  # of a number in [-1, 1], within which two agree
_GOLDEN = 0.6180339887


def imitate(
    task: Task, settings: TrainingSettings, policy: PolicyPerKind, seed: int, tell: Tell = lambda text: None
) -> dict[str, Any]:
    """Fit the models of a policy to the settings' teacher, and their value functions to their own play.

    Args:
        task: that they play.
        settings: with a ``teacher``.
        policy: its models are changed.
        seed: of the days and of the order of the states.
        tell: called with a line for each round.

    Returns:
        what was imitated, for the run's record: the teacher's name, the split and the days, and of each round its
        ``states``, the mean ``team_return`` of its days (of the teacher's own play in the first), and after it the
        ``loss`` and the ``agreement``: the share of entries in which policy and teacher choose the same position or
        choice, or numbers at most 0.1 apart.

    Raises:
        ValueError: as ``new_teacher``, or a model cannot imitate.
    """
    asked = settings.teacher
    assert asked is not None
    for model in policy.models.values():
        check_imitates(model.policy)
    begin = time.perf_counter()
    teacher = new_teacher(task, asked)
    count = min(asked.days, len(teacher.days))
    classroom = Classroom(task, teacher, count, settings.gamma)
    days = [_days_of_round(teacher.days, count, number, seed) for number in range(asked.rounds + 1)]
    try:
        policy.reset(classroom.alone)
        rounds = _rounds(task, asked, policy, classroom, days, seed, tell)
    finally:
        classroom.close()
        teacher.close()
    used = sorted({day for own in days for day in own})
    seconds = time.perf_counter() - begin
    return {"teacher": asked.name, "split": SPLIT, "days": used, "rounds": rounds, "seconds": seconds}


def _rounds(
    task: Task,
    settings: TeacherSettings,
    policy: PolicyPerKind,
    classroom: Classroom,
    days: Sequence[Sequence[int]],
    seed: int,
    tell: Tell,
) -> list[dict[str, Any]]:
    """Play the days of each round and fit the models after it; the figures of each."""
    pupils = [_Pupil(task, model, kind, settings) for kind, model in policy.models.items()]
    rng, lessons, rounds = np.random.default_rng(seed), list[Lesson](), list[dict[str, Any]]()
    for number, own in enumerate(days):
        lesson, earned = classroom.lesson(own, policy if number else None)
        lessons.append(lesson)
        every = Lesson.joined(lessons)
        losses, agreed = zip(*(pupil.taught(every, rng) for pupil in pupils), strict=True)
        figures = {"team_return": earned, "loss": float(np.mean(losses)), "agreement": float(np.mean(agreed))}
        rounds.append({"round": number, "states": len(lesson.observations), **figures})
        tell(_line(settings.name, rounds[-1], settings.rounds))
    for pupil in pupils:
        pupil.valued(lessons[-1], rng)
    return rounds


def _line(name: str, row: dict[str, Any], rounds: int) -> str:
    player = "policy" if row["round"] else "teacher"
    return (
        f"imitating {name}, round {row['round']} of {rounds}: team return {row['team_return']:.3f} ({player}), "
        f"agreement {100 * row['agreement']:.1f} %"
    )


def _days_of_round(days: Sequence[int], count: int, number: int, seed: int) -> list[int]:
    """Days spread over the year, other ones in each round as long as there are any."""
    order = np.argsort(((np.arange(len(days)) + 7 * seed) * _GOLDEN) % 1, kind="stable")
    return [int(days[k]) for k in order[(number * count + np.arange(count)) % len(days)]]


class _Rows(NamedTuple):
    """Tensors of the agents that share a model: n observations."""

    observations: th.Tensor
    targets: th.Tensor
    used: th.Tensor
    masks: th.Tensor | None

    def some(self, which: th.Tensor) -> _Rows:
        """Some observations."""
        masks = None if self.masks is None else self.masks[which]
        return _Rows(self.observations[which], self.targets[which], self.used[which], masks)


class _Pupil:
    """One model of a policy."""

    def __init__(self, task: Task, model: Any, kind: str, settings: TeacherSettings) -> None:
        kinds = np.array(task.agents.kinds)
        self._mine = np.flatnonzero((kinds == kind) | (kind == ""))
        self._model, self._policy, self._settings = model, model.policy, settings
        self._width, self._choices = width(model.action_space), n_choices(model.action_space)
        self._positions = _positions(task)[self._mine, : self._width]

    def taught(self, lesson: Lesson, rng: np.random.Generator) -> tuple[float, float]:
        """Fit the actions; returns the mean loss of the last pass, and the agreement."""
        rows, settings = self._rows(lesson), self._settings
        parameters = actor_parameters(self._policy)
        losses = self._fitted(
            parameters, len(rows.observations), rng, lambda own: imitation_loss(self._policy, *rows.some(own))
        )
        log_std = getattr(self._policy, "log_std", None)
        if isinstance(log_std, th.nn.Parameter):
            with th.no_grad():
                log_std.fill_(settings.log_std)
        return losses, self._agreement(rows)

    def valued(self, lesson: Lesson, rng: np.random.Generator) -> None:
        """Fit the value function to the returns of a lesson, beyond whose end its own values count."""
        mine, policy = self._mine, self._policy
        observations, last = (_flat(part[:, mine]) for part in (lesson.observations, lesson.last))
        returns = _flat(lesson.returns[:, mine, None])[:, 0]
        left = th.as_tensor(np.repeat(lesson.left, len(mine)), dtype=th.float32)

        def loss(own: th.Tensor) -> th.Tensor:
            with th.no_grad():
                beyond = policy.predict_values(last[own])[:, 0]
            wanted = returns[own] + left[own] * beyond
            return th.nn.functional.mse_loss(policy.predict_values(observations[own])[:, 0], wanted)

        self._fitted(critic_parameters(policy), len(observations), rng, loss)

    def _fitted(
        self,
        parameters: list[th.nn.Parameter],
        count: int,
        rng: np.random.Generator,
        loss_of: Callable[[th.Tensor], th.Tensor],
    ) -> float:
        """Descend a loss of some of ``count`` rows; returns its mean over the last pass."""
        settings, total, batches = self._settings, 0.0, 0
        optimizer = th.optim.Adam(parameters, lr=settings.learning_rate)
        self._policy.set_training_mode(True)
        for epoch in range(settings.epochs):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * (1 - epoch / settings.epochs)
            order, total, batches = th.as_tensor(rng.permutation(count)), 0.0, 0
            for own in order.split(settings.batch_size):
                loss = loss_of(own)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total, batches = total + loss.item(), batches + 1
        self._policy.set_training_mode(False)
        return total / batches

    def _rows(self, lesson: Lesson) -> _Rows:
        mine = self._mine
        targets, used = (_flat(part[:, mine, : self._width]) for part in (lesson.targets, lesson.used))
        masked = bool(self._choices and lesson.masks.shape[-1]) and takes_masks(self._model)
        masks = _flat(lesson.masks[:, mine, : self._choices]) if masked else None
        return _Rows(_flat(lesson.observations[:, mine]), targets, used, masks)

    def _agreement(self, rows: _Rows) -> float:
        """Share of the used entries in which policy and teacher agree."""
        masks = None if rows.masks is None else rows.masks.numpy().astype(bool)
        chosen = predicted(self._model, rows.observations.numpy(), masks, deterministic=True)
        said, wanted = chosen.reshape(rows.targets.shape), rows.targets.numpy()
        top = np.tile(self._positions - 1, (len(said) // len(self._mine), 1))  # (n, W)
        same = np.abs(said - wanted) <= (0 if self._choices else _NEAR)
        if (top > 0).any():
            places = [np.rint((np.clip(numbers, -1, 1) + 1) / 2 * np.maximum(top, 1)) for numbers in (said, wanted)]
            same = np.where(top > 0, places[0] == places[1], same)
        return float(same[rows.used.numpy() > 0].mean())


def _positions(task: Task) -> IntArray:
    """(A, W) number of positions that a number of an agent's action stands for; 0 where it is none or a choice."""
    encoding, layout = task.encoding, task.agents.action_layout
    wide = max(layout.width, *(width(encoding.space(a)) for a in range(len(layout.agents))))
    counts = np.zeros((len(layout.agents), wide), np.int64)
    if encoding.by_rows and not encoding.discrete:
        by_nature = np.concatenate([np.asarray(group.n_levels(), np.int64).ravel() for group in task.device_groups])
        counts[:, : layout.width] = np.where(layout.used, by_nature[layout.place], 0)
    return counts


def _flat(part: np.ndarray) -> th.Tensor:
    """(N A, n) float32 of (N, A, n)."""
    return th.as_tensor(part.reshape(-1, part.shape[-1]).astype(np.float32))

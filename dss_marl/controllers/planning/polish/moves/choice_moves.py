"""Choice moves: taps, banks, switches and steps, moved earlier, later, for a while, or not at all."""

from __future__ import annotations

import numpy as np

from dss_marl.controllers.planning.polish.plan_entries import PlanEntries
from dss_marl.grid.state import Array

_SHIFTS = (-8, -4, -2, -1, 1, 2, 4, 8)  # intervals
_SPANS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)  # intervals between a move and the one back


def choice_moves(entries: PlanEntries, plan: Array, count: int, rng: np.random.Generator) -> Array:
    """(K, T, F) the plan with one or two choices changed.

    Args:
        entries: of the task.
        plan: (T, F).
        count: at most so many.
        rng: of the sample.
    """
    made = [*_without_or_shifted(entries, plan)]
    if len(made) > count // 2:
        made = [made[k] for k in np.sort(rng.choice(len(made), count // 2, replace=False))]
    made += [_inserted(entries, plan, rng) for _ in range(count - len(made))]
    return np.array(made)


def _without_or_shifted(entries: PlanEntries, plan: Array) -> list[Array]:
    """Each choice that is not neutral taken back, alone and with the next of the same device, or shifted."""
    made: list[Array] = []
    choices = np.flatnonzero(~entries.continuous)
    for entry in choices.tolist():
        column, neutral = plan[:, entry], entries.neutral[entry]
        busy = np.flatnonzero(column != neutral).tolist()
        for step, following in zip(busy, [*busy[1:], *[None] * bool(busy)], strict=True):
            made.append(_with(plan, entry, {step: neutral}))
            if following is not None:
                made.append(_with(plan, entry, {step: neutral, following: neutral}))
            made += [
                _with(plan, entry, {step: column[step + far], step + far: column[step]})
                for far in _SHIFTS
                if 0 <= step + far < len(plan)
            ]
    return made


def _inserted(entries: PlanEntries, plan: Array, rng: np.random.Generator) -> Array:
    """A choice of one interval changed by a level; half the time for a while: back afterwards, or in all between."""
    choices = np.flatnonzero(~entries.continuous)
    entry, step, up = int(rng.choice(choices)), int(rng.integers(len(plan))), int(rng.choice([-1, 1]))
    end, way = min(step + int(rng.choice(_SPANS)), len(plan)), rng.random()
    made = plan.copy()
    rows = np.arange(step, end) if way > 0.75 else np.array([step])
    made[rows, entry] = entries.other_level(made[rows, entry], np.full(len(rows), entry), np.full(len(rows), up))
    if way < 0.5 and end < len(plan):
        back = entries.other_level(plan[[end], entry], np.array([entry]), np.array([-up]))
        made[end, entry] = back[0]
    return made


def _with(plan: Array, entry: int, values: dict[int, float]) -> Array:
    made = plan.copy()
    for step, value in values.items():
        made[step, entry] = value
    return made

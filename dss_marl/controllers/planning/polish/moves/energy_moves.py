"""Energy moves: what storage, cars and flexible loads do, shifted in time by the slopes of their intervals."""

from __future__ import annotations

import numpy as np

from dss_marl.controllers.planning.polish.plan_entries import as_kept
from dss_marl.controllers.planning.polish.playing.judge import Judge
from dss_marl.grid.state import Array, IntArray

_STEP = 0.05  # of an entry, for slopes
_SIZES = (0.03, 0.1, 0.3, 0.8)
_LOSSES = (1.0, 0.95, 0.9, 1.05, 1.1)  # of the second entry to the first: efficiencies and paybacks
_WIDTHS = (1, 1, 2, 4, 8)  # intervals
_ALONE = 0.2  # share of moves without a second interval


def energy_moves(judge: Judge, places: IntArray, plan: Array, rng: np.random.Generator) -> Array:
    """(K, T, F) the plan with one entry raised in one window and lowered in another, where slopes say it pays.

    Args:
        judge: of the day.
        places: (n) entries with a memory.
        plan: (T, F).
        rng: of the sample.
    """
    slopes = _slopes(judge, places, plan)
    count, steps = judge.many, plan.shape[0]
    column = rng.integers(len(places), size=count)
    noise = rng.gumbel(size=(2, count, steps))
    scale = slopes.std(axis=0) + 1e-12
    wish = (slopes / scale).T[column]  # (K, T)
    raised, lowered = (wish + noise[0]).argmax(axis=1), (-wish + noise[1]).argmax(axis=1)
    size, ratio = rng.choice(_SIZES, count), rng.choice(_LOSSES, count)
    width, alone = rng.choice(_WIDTHS, count), rng.random(count)
    plans = np.repeat(plan[None], count, 0)
    for k, one in enumerate(plans):
        entry = places[column[k]]
        if alone[k] > _ALONE / 2:
            one[raised[k] : raised[k] + width[k], entry] += size[k]
        if not _ALONE / 2 < alone[k] < _ALONE:
            one[lowered[k] : lowered[k] + width[k], entry] -= size[k] * ratio[k]
    return as_kept(plans)


def _slopes(judge: Judge, places: IntArray, plan: Array) -> Array:
    """(T, n) of each interval's own reward by its entries."""
    course, (steps, n) = judge.course(plan), (len(plan), len(places))
    requests = np.repeat(plan[:, None], 2 * n, 1)
    ways = np.arange(n)
    requests[:, ways, places] += _STEP
    requests[:, n + ways, places] -= _STEP
    requests = np.clip(requests, -1.0, 1.0)
    rewards = judge.intervals(course, np.repeat(np.arange(steps), 2 * n), requests.reshape(-1, plan.shape[1]))
    rewards = rewards.reshape(steps, 2, n)
    span = requests[:, ways, places] - requests[:, n + ways, places]
    slopes = (rewards[:, 0] - rewards[:, 1]) / np.maximum(span, _STEP)
    return np.asarray(np.nan_to_num(slopes, nan=0.0, posinf=0.0, neginf=0.0))

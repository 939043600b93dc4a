"""Statistics of scores over runs and tasks: aggregates with stratified bootstrap intervals (Agarwal et al. 2021).

Scores are (runs, tasks): a line for each seed, a column for each scenario, normalised so that tasks can be averaged.
Runs are resampled within each task, so that every draw holds all tasks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from dss_marl.grid.state import Array, IntArray
from dss_marl.mdp.return_statistics import DRAWS, LEVEL, interquartile_mean

Interval = tuple[float, float, float]  # value, lower end, upper end
Aggregate = Callable[[Array], Array]  # (..., runs, tasks) scores to (...) one number for each


def over_runs_and_tasks(scores: Array) -> Array:
    """(...) interquartile mean of (..., runs, tasks) scores: over all runs of all tasks together."""
    return interquartile_mean(scores.reshape(*scores.shape[:-2], -1))


def mean_score(scores: Array) -> Array:
    """(...) mean of (..., runs, tasks) scores."""
    return np.asarray(scores.mean((-2, -1)))


def median_score(scores: Array) -> Array:
    """(...) median over tasks of the mean over runs, of (..., runs, tasks) scores."""
    return np.asarray(np.median(scores.mean(-2), axis=-1))


def optimality_gap(scores: Array) -> Array:
    """(...) by how much (..., runs, tasks) scores fall short of 1 on average; a score beyond 1 makes up for nothing."""
    return np.asarray(1.0 - np.minimum(scores, 1.0).mean((-2, -1)))


AGGREGATES: dict[str, Aggregate] = {
    "iqm": over_runs_and_tasks,
    "median": median_score,
    "mean": mean_score,
    "optimality_gap": optimality_gap,
}


def stratified_interval(scores: Array, aggregate: Aggregate) -> Interval:
    """An aggregate and its 95 % interval over runs (percentile method, fixed stream).

    Args:
        scores: (runs, tasks).
        aggregate: of them.

    Raises:
        ValueError: scores of another shape, or not finite.
    """
    x = checked_scores(scores)
    drawn = x[_drawn_runs(x, 0), np.arange(x.shape[1])]  # (draws, runs, tasks)
    return float(aggregate(x)), *_ends(aggregate(drawn))


def day_interval(returns: Array, aggregate: Callable[[Array], Array]) -> Interval:
    """An aggregate of returns and its 95 % interval over days, which are drawn for all runs together.

    Args:
        returns: (..., days) of all that enters the aggregate.
        aggregate: of (..., days) returns; gets (..., draws, days) of resampled days too, and returns (draws).

    Raises:
        ValueError: no day.
    """
    days = returns.shape[-1]
    if days < 1:
        raise ValueError("an interval over days needs at least one day")
    drawn = np.random.default_rng(0).integers(0, days, (DRAWS, days))
    return float(aggregate(returns)), *_ends(aggregate(returns[..., drawn]))


def probability_of_improvement(scores: Array, others: Array) -> Interval:
    """Probability that a run has a higher score than a run of another method on the same task, averaged over tasks.

    A tie counts half. The interval resamples the runs of both methods within each task.

    Args:
        scores: (runs, tasks) of a method.
        others: (runs, tasks) of another one on the same tasks; the number of runs may differ.

    Raises:
        ValueError: other tasks, or scores of another shape, or not finite.
    """
    x, y = checked_scores(scores), checked_scores(others)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"both methods need the same tasks; got {x.shape[1]} and {y.shape[1]}")
    tasks = np.arange(x.shape[1])
    drawn = _share_above(x[_drawn_runs(x, 0), tasks], y[_drawn_runs(y, 1), tasks])
    return float(_share_above(x, y)), *_ends(drawn)


def checked_scores(scores: Array) -> Array:
    """(runs, tasks) scores; of one task also (runs).

    Raises:
        ValueError: of another shape, or not finite.
    """
    x = np.asarray(scores, float)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or not x.size or not np.isfinite(x).all():
        raise ValueError(f"scores must be (runs, tasks), finite; got {np.shape(scores)}")
    return x


def _share_above(x: Array, y: Array) -> Array:
    """(...) share of pairs of (..., runs, tasks) x and y in which x is higher, ties as half: Mann and Whitney's U."""
    n, m = x.shape[-2], y.shape[-2]
    ranks = rankdata(np.concatenate([x, y], axis=-2), axis=-2)[..., :n, :]
    u = ranks.sum(-2) - n * (n + 1) / 2
    return np.asarray((u / (n * m)).mean(-1))


def _drawn_runs(scores: Array, stream: int) -> IntArray:
    """(draws, runs, tasks) numbers of runs, drawn with replacement within each task."""
    return np.random.default_rng(stream).integers(0, len(scores), (DRAWS, *scores.shape))


def _ends(drawn: Array) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)

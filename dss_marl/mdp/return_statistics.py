"""Statistics of returns over days and runs: means, interquartile means, bootstrap intervals (Agarwal et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import trim_mean

from dss_marl.grid.state import Array

LEVEL, DRAWS = 0.95, 2000


def interquartile_mean(runs: Array) -> Array:
    """(...) mean over the last axis of the middle half of the values; of fewer than four values, their mean."""
    return np.asarray(trim_mean(runs, 0.25, axis=-1))


def iqm_interval(runs: Array) -> tuple[Array, Array, Array]:
    """Interquartile mean of runs and its 95 % bootstrap interval (percentile method, fixed stream).

    Args:
        runs: (..., runs).

    Returns:
        mean, lower end, upper end, each (...).
    """
    count = runs.shape[-1]
    drawn = np.random.default_rng(0).integers(0, count, (DRAWS, count))
    low, high = np.quantile(interquartile_mean(runs[..., drawn]), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=-1)
    return interquartile_mean(runs), low, high


def mean_interval(
    values: Sequence[float] | Array, level: float = LEVEL, draws: int = DRAWS
) -> tuple[float, float, float]:
    """Mean and its bootstrap interval over days (percentile method, fixed stream).

    Returns:
        mean, lower end, upper end.
    """
    x = np.asarray(values, float)
    means = x[np.random.default_rng(0).integers(0, len(x), (draws, len(x)))].mean(-1)
    tail = (1 - level) / 2
    return float(x.mean()), float(np.quantile(means, tail)), float(np.quantile(means, 1 - tail))


def score_distribution(scores: Array, thresholds: Array) -> tuple[Array, Array, Array]:
    """Share of runs whose score exceeds each threshold, and its 95 % band; runs are resampled within each task.

    Args:
        scores: (runs, tasks).
        thresholds: (n).

    Returns:
        share, lower end, upper end, each (n).
    """
    above = scores[:, :, None] > thresholds  # (runs, tasks, n)
    runs, tasks = scores.shape
    drawn = np.random.default_rng(0).integers(0, runs, (DRAWS, runs, tasks))
    shares = np.array([above[rows, np.arange(tasks)].mean((0, 1)) for rows in drawn])
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return above.mean((0, 1)), low, high

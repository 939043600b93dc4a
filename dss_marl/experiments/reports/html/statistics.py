"""Statistics over seeds, and of paired days."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import trim_mean

from dss_marl.experiments.metrics import mean_interval
from dss_marl.grid.state import Array


def interquartile_mean(
    values: Sequence[float] | Array, level: float = 0.95, draws: int = 2000
) -> tuple[float, float, float]:
    """Mean of the middle half of the seeds, with its bootstrap interval over seeds (percentile method, fixed stream).

    With fewer than four seeds nothing is cut off, and it is the mean.

    Args:
        values: (seeds) a figure of each.
        level, draws: of the interval.

    Returns:
        interquartile mean, lower end, upper end.
    """
    x = np.asarray(values, float)
    drawn = trim_mean(x[np.random.default_rng(0).integers(0, len(x), (draws, len(x)))], 0.25, axis=1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(trim_mean(x, 0.25)), float(low), float(high)


def paired_difference(one: Array, other: Array) -> tuple[float, float, float]:
    """Mean over days of one minus the other on the same days, with its 95 % bootstrap interval."""
    return mean_interval(one - other)


def verdict_of(difference: tuple[float, float, float]) -> str:
    """``better``, ``worse`` or ``no clear difference``, by whether the interval of a difference of returns has 0."""
    _, low, high = difference
    return "better" if low > 0 else "worse" if high < 0 else "no clear difference"

"""Statistics over seeds, and of paired days."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dss_marl.grid.state import Array
from dss_marl.mdp.return_statistics import iqm_interval, mean_interval


def interquartile_mean(values: Sequence[float] | Array) -> tuple[float, float, float]:
    """(seeds) values' interquartile mean and the ends of its 95 % bootstrap interval over seeds."""
    mean, low, high = iqm_interval(np.asarray(values, float))
    return float(mean), float(low), float(high)


def paired_difference(one: Array, other: Array) -> tuple[float, float, float]:
    """Mean over days of one minus the other on the same days, with its 95 % bootstrap interval."""
    return mean_interval(one - other)


def verdict_of(difference: tuple[float, float, float]) -> str:
    """``better``, ``worse`` or ``no clear difference``, by whether the interval of a difference of returns has 0."""
    _, low, high = difference
    return "better" if low > 0 else "worse" if high < 0 else "no clear difference"

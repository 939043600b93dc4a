"""Noise: random streams by name and day, and first-order noise that is continuous across midnight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dss_marl.grid.state import Array

QUARTERS = 96  # 15-minute intervals per day, the resolution of loads, temperature and price
_PARTS = (
    "year",
    "sky",
    "weather",
    "midnight",
    "load",
    "minute",
    "sun",
    "price",
    "outage",
    "forecast",
    "devices",
    "table",
    "repair",
)


def stream(seed: int, part: str, day: int = 0) -> np.random.Generator:
    """Random stream of one quantity on one day, independent of draws for any other quantity or day."""
    return np.random.default_rng([seed, _PARTS.index(part), day])


def ar1(draws: Array, dt_h: float, hours: float) -> Array:
    """(T, ...) stationary first-order noise with this time constant [h], from draws of unit variance (overwritten).

    A loop rather than a matrix product: a fixed order of additions gives the same bits everywhere, and BLAS threads
    would block each other on a busy machine.
    """
    rho = float(np.exp(-dt_h / hours))
    draws[1:] *= np.sqrt(1 - rho**2)
    if draws.ndim == 1:  # the same sums, five times faster on numbers than on arrays
        numbers = draws.tolist()
        for t in range(1, len(numbers)):
            numbers[t] += rho * numbers[t - 1]
        return np.array(numbers)
    for t in range(1, len(draws)):
        draws[t] += rho * draws[t - 1]
    return draws


def bridged(draws: Array, hours: float) -> Array:
    """(96, ...) a day of such noise per 15 minutes, from one midnight to the next.

    Days generated independently then form one continuous series: the free series is corrected by its error at the next
    midnight, weighted by the correlation of each interval with that midnight.

    Args:
        draws: (98, ...) of unit variance: midnight, 96 innovations, and the next midnight.
        hours: time constant.
    """
    after, n = draws[-1].copy(), QUARTERS
    free = ar1(draws[:-1], 0.25, hours)
    rho, t = float(np.exp(-0.25 / hours)), np.arange(n)
    share = rho ** (n - t) * (1 - rho ** (2 * t)) / (1 - rho ** (2 * n))
    return free[:-1] + share.reshape(-1, *[1] * (draws.ndim - 1)) * (after - free[-1])


def series(rng: np.random.Generator, days: int, rho: float) -> Array:
    """(days) stationary first-order noise of unit variance from day to day."""
    return ar1(rng.standard_normal(days), 1.0, -1 / float(np.log(rho)))


def to_bits(x: Array, low: float, high: float) -> NDArray[np.uint16]:
    """Rounded to 16 bits of the range low to high, so that results do not depend on a platform's last bit."""
    return np.rint((np.clip(x, low, high) - low) * (65535 / (high - low))).astype(np.uint16)


def from_bits(bits: NDArray[np.uint16], low: float, high: float) -> Array:
    """The values that ``to_bits`` rounded."""
    return low + bits.astype(np.float64) * ((high - low) / 65535)


def block_means(x: Array, size: int) -> Array:
    """(T, ...) means over blocks of ``size`` rows."""
    return x if size == 1 else x.reshape(len(x) // size, size, *x.shape[1:]).mean(1)

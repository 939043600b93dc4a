"""Weather: climates, and the sky class and temperature of each day of a year."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from dss_marl.grid.state import Array, IntArray
from dss_marl.profiles.noise import series, stream

DAYS = 365
CLEAR, MIXED, OVERCAST = range(3)
_COLDEST = 20  # day of the northern year

Chain = tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Climate:
    """Typical weather of a location.

    Attributes:
        mean_c: yearly mean temperature [degree C].
        season_c: half the difference between summer and winter [K].
        swing_c: half the difference between afternoon and night under a clear sky [K]; half of that under clouds.
        spread_c: standard deviation of daily means about the seasonal mean [K].
        sky: transition probabilities to a clear, mixed or overcast day (columns) from a clear, mixed or overcast day
            (rows).
    """

    mean_c: float
    season_c: float
    swing_c: float
    spread_c: float
    sky: Chain


CLIMATES = {
    "temperate": Climate(15.0, 10.0, 5.5, 3.5, ((0.65, 0.25, 0.10), (0.35, 0.45, 0.20), (0.25, 0.40, 0.35))),
    "maritime": Climate(10.5, 6.5, 3.5, 3.0, ((0.45, 0.35, 0.20), (0.15, 0.45, 0.40), (0.08, 0.32, 0.60))),
    "cold": Climate(5.0, 13.0, 4.0, 5.0, ((0.50, 0.30, 0.20), (0.20, 0.45, 0.35), (0.12, 0.33, 0.55))),
    "dry": Climate(22.0, 9.0, 8.0, 2.5, ((0.85, 0.13, 0.02), (0.60, 0.32, 0.08), (0.40, 0.40, 0.20))),
    "tropical": Climate(26.5, 2.0, 4.5, 1.2, ((0.35, 0.55, 0.10), (0.20, 0.60, 0.20), (0.12, 0.53, 0.35))),
}


@functools.lru_cache(maxsize=64)
def sky_classes(seed: int, climate: str) -> IntArray:
    """(365) sky class of each day: 0 clear, 1 mixed, 2 overcast."""
    limits = np.cumsum(CLIMATES[climate].sky, axis=1)
    draws, sky = stream(seed, "sky").random(DAYS), np.zeros(DAYS, np.int64)
    for day in range(1, DAYS):
        sky[day] = min(np.searchsorted(limits[sky[day - 1]], draws[day]), OVERCAST)
    return sky


@functools.lru_cache(maxsize=64)
def daily_means(seed: int, climate: str, southern: bool) -> Array:
    """(365) mean temperature of each day [degree C]."""
    of = CLIMATES[climate]
    coldest = _COLDEST + (DAYS / 2 if southern else 0)
    season = -np.cos(2 * np.pi * (np.arange(DAYS) - coldest) / DAYS)
    return of.mean_c + of.season_c * season + of.spread_c * series(stream(seed, "weather"), DAYS, 0.75)


@functools.lru_cache(maxsize=64)
def _swings(seed: int, climate: str) -> Array:
    return CLIMATES[climate].swing_c * np.array([1.0, 0.8, 0.5])[sky_classes(seed, climate)]


def temperature(seed: int, climate: str, southern: bool, day: int, hour: Array) -> Array:
    """(T) air temperature, highest at 15 h [degree C].

    Mean and swing are interpolated linearly from noon to noon, so that midnight is continuous.
    """
    mean, swing = (
        np.interp(hour, [-12.0, 12.0, 36.0], values[[day - 1, day, (day + 1) % DAYS]])
        for values in (daily_means(seed, climate, southern), _swings(seed, climate))
    )
    return mean + swing * np.cos(2 * np.pi * (hour - 15) / 24)

"""Prices: tariffs, and a market price driven by demand, PV and chance."""

from __future__ import annotations

import functools

import numpy as np

from dss_marl.grid.state import Array
from dss_marl.profiles.noise import series, stream
from dss_marl.profiles.weather import DAYS

TARIFFS = ("day_ahead", "time_of_use", "flat")
_LOW, _MIDDLE, _PEAK = 0.6, 1.0, 1.7  # of the mean price
# Hourly market price over its mean on a day without PV: low at night, with a morning and a higher evening peak.
_MARKET = np.array([.78, .72, .69, .68, .71, .82, 1.02, 1.20, 1.26, 1.18, 1.12, 1.10,
                    1.08, 1.05, 1.03, 1.05, 1.12, 1.27, 1.42, 1.46, 1.34, 1.16, 1.01, .88])  # fmt: skip


@functools.lru_cache(maxsize=64)
def _levels(seed: int) -> Array:
    """(365) price level of each day, from fuel cost and wind, which vary over a few days."""
    return np.asarray(np.exp(0.22 * series(stream(seed, "price", DAYS), DAYS, 0.8) - 0.024))


def time_of_use(free: bool) -> Array:
    """(24) hourly price over the mean: low from 22 to 6 h, peak from 17 to 21 h on working days.

    Args:
        free: whether the day is a Saturday, a Sunday or a holiday.
    """
    hour = np.arange(24)
    price = np.where((hour < 6) | (hour >= 22), _LOW, _MIDDLE)
    return price if free else np.where((hour >= 17) & (hour < 21), _PEAK, price)


def day_ahead(seed: int, day: int, sun: Array, free: bool) -> Array:
    """(24) hourly price over the mean; regional PV lowers it, on sunny weekends below zero.

    Args:
        seed: of the year.
        day: of the year.
        sun: (24) the region's irradiance in each hour [kW/m2].
        free: whether the day is a Saturday, a Sunday or a holiday.
    """
    rng = stream(seed, "price", day)
    price = _MARKET * _levels(seed)[day] - (0.15 if free else 0.0) - 0.85 * sun
    price = price + 0.06 * rng.standard_normal(24)
    scarce = rng.random() < 0.03  # scarcity in the evening
    return np.asarray(np.where((np.arange(24) >= 18) & (np.arange(24) < 21) & scarce, 2.2 * price, price))

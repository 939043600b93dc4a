"""Forecast: what is known in each interval of those that come, with an error that grows with lead time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dss_marl.grid.state import Array, IntArray
from dss_marl.profiles.day import Day
from dss_marl.profiles.noise import ar1

# Error of a forecast far ahead (standard deviation over value), and the time after which most of it is there [h]:
# sun from satellite and weather models, load from last week's and the temperature's, temperature itself [K].
SUN_ERROR, LOAD_ERROR, TEMPERATURE_ERROR = 0.30, 0.08, 2.0
SUN_H, LOAD_H, TEMPERATURE_H = 3.0, 6.0, 12.0


@dataclass(frozen=True)
class Forecast:
    """Forecasts of one day, issued in each of its intervals for the intervals that follow.

    What is unknown is a first-order noise x of unit variance that goes on beneath the true values. A forecast made in
    interval s for interval t errs by that part of x[t] which x[s] does not tell: x[t] - rho^(t - s) x[s]. That is zero
    for the present interval, has variance 1 - rho^(2 (t - s)), and as t comes nearer it shrinks step by step, not by
    new dice. Loads and sun are multiplied by exp(error) (no sun beyond its day's highest), temperature is shifted by
    it; prices are known a day ahead.

    Attributes:
        day: the true values, ``horizon`` rows beyond the last interval.
        horizon: how many intervals a forecast has, the present one included.
        factors: (T, horizon, 2) what loads and sun are multiplied with.
        shift_c: (T, horizon) error of the temperature [K].
        group: (J) 0 for loads, 1 for the others.
    """

    day: Day
    horizon: int
    factors: Array
    shift_c: Array
    group: IntArray

    def kw(self, step: int) -> Array:
        """(horizon, J) injections expected in this interval and those after it [kW]; a fresh array."""
        return self._table[step].copy()

    @cached_property
    def _table(self) -> Array:
        """(T, horizon, J) all of the day at once: a step of an environment then costs one copy."""
        target = np.arange(len(self.factors))[:, None] + np.arange(self.horizon)
        table: Array = self.day.kw[target]
        table *= self.factors.take(self.group, 2)
        return table

    def temperature_c(self, step: int) -> Array:
        """(horizon) temperature expected [degree C]."""
        return self.day.temperature_c[step : step + self.horizon] + self.shift_c[step]

    def price(self, step: int) -> Array:
        """(horizon) price, which is known [currency/kWh]."""
        return self.day.price[step : step + self.horizon].copy()


def errors(rng: np.random.Generator, steps: int, horizon: int, dt_h: float, hours: float) -> Array:
    """(steps, horizon) errors of unit variance far ahead: rows are the intervals of issue, columns the leads."""
    noise = ar1(rng.standard_normal(steps + horizon), dt_h, hours)
    lead = np.arange(horizon)
    target = np.arange(steps)[:, None] + lead
    return noise[target] - np.exp(-dt_h * lead / hours) * noise[:steps, None]


def make_forecast(rng: np.random.Generator, day: Day, loads: IntArray, horizon: int, dt_h: float) -> Forecast:
    """Forecasts of a day whose arrays go on for ``horizon`` rows beyond it."""
    steps = len(day.price) - horizon
    load, sun, temperature = (errors(rng, steps, horizon, dt_h, hours) for hours in (LOAD_H, SUN_H, TEMPERATURE_H))
    group = np.ones(day.kw.shape[1], np.int64)
    group[loads] = 0
    factors = np.exp(np.stack([LOAD_ERROR * load, SUN_ERROR * sun], axis=-1))
    highest = day.kw.max(0)
    bright = np.divide(day.kw, highest, out=np.zeros_like(day.kw), where=highest > 0).max(1)
    target = np.arange(steps)[:, None] + np.arange(horizon)
    factors[..., 1] = np.minimum(factors[..., 1], 1 / np.maximum(bright[target], 1e-3))
    return Forecast(day, horizon, factors, TEMPERATURE_ERROR * temperature, group)

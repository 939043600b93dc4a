"""Forecast: load, PV, price and temperature of the coming intervals, with an error that grows with lead time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.grid.state import Array, IntArray
from dss_marl.profiles.day import Day
from dss_marl.profiles.noise import ar1

# Error of a forecast at long lead times (standard deviation over value; temperature in K), and its time constant [h]:
# PV from satellite and weather models, load from last week's load and the temperature.
SUN_ERROR, LOAD_ERROR, TEMPERATURE_ERROR = 0.30, 0.08, 2.0
SUN_H, LOAD_H, TEMPERATURE_H = 3.0, 6.0, 12.0
LOAD, SUN, EXACT = range(3)  # which error an injection has; that of a dispatched unit has none


@dataclass(frozen=True)
class Forecast:
    """Forecasts of one day, issued in each of its intervals for the intervals that follow.

    The uncertainty is a first-order noise x of unit variance underlying the true values. A forecast issued in interval
    s for interval t has the error x[t] - rho^(t - s) x[s], the part of x[t] that x[s] does not determine. It is zero
    for the present interval, has variance 1 - rho^(2 (t - s)), and shrinks consistently from issue to issue as t
    approaches, without new random draws. Loads and PV are multiplied by exp(error) (PV limited to its highest of the
    day), the temperature is shifted by the error; prices are known a day ahead.

    Attributes:
        day: the true values, ``horizon`` rows beyond the last interval.
        horizon: number of intervals in a forecast, the present one included.
        factors: (T, horizon, 3) factors of loads, of PV and, 1, of what is exact.
        shift_c: (T, horizon) error of the temperature [K].
        group: (J) LOAD, SUN or EXACT.
    """

    day: Day
    horizon: int
    factors: Array
    shift_c: Array
    group: IntArray

    def kw(self, step: int) -> Array:
        """(horizon, J) injections expected in this and the following intervals [kW]; a new array."""
        if not 0 <= step < len(self.factors):
            raise IndexError(f"no forecast is issued in interval {step} of {len(self.factors)}")
        return self.day.kw[step : step + self.horizon] * self.factors[step].take(self.group, 1)

    def temperature_c(self, step: int) -> Array:
        """(horizon) temperature expected [degree C]."""
        return self.day.temperature_c[step : step + self.horizon] + self.shift_c[step]

    def price(self, step: int) -> Array:
        """(horizon) price, known exactly [currency/kWh]."""
        return self.day.price[step : step + self.horizon].copy()


def errors(rng: np.random.Generator, steps: int, horizon: int, dt_h: float, hours: float) -> Array:
    """(steps, horizon) errors of unit variance at long lead times: rows are intervals of issue, columns lead times."""
    noise = ar1(rng.standard_normal(steps + horizon), dt_h, hours)
    lead = np.arange(horizon)
    target = np.arange(steps)[:, None] + lead
    return noise[target] - np.exp(-dt_h * lead / hours) * noise[:steps, None]


def make_forecast(rng: np.random.Generator, day: Day, group: IntArray, horizon: int, dt_h: float) -> Forecast:
    """Forecasts of a day whose arrays continue for ``horizon`` rows beyond its end; ``group`` (J) as in Forecast."""
    steps = len(day.price) - horizon
    load, sun, temperature = (errors(rng, steps, horizon, dt_h, hours) for hours in (LOAD_H, SUN_H, TEMPERATURE_H))
    factors = np.exp(np.stack([LOAD_ERROR * load, SUN_ERROR * sun, np.zeros_like(sun)], axis=-1))
    of_sun = day.kw[:, group == SUN]
    if of_sun.size:
        highest = of_sun.max(0)
        bright = np.divide(of_sun, highest, out=np.zeros_like(of_sun), where=highest > 0).max(1)
        target = np.arange(steps)[:, None] + np.arange(horizon)
        factors[..., SUN] = np.minimum(factors[..., SUN], 1 / np.maximum(bright[target], 1e-3))
    return Forecast(day, horizon, factors, TEMPERATURE_ERROR * temperature, group)

"""Load: homes, shops and factories over a day, with the shape of their class and individual variation."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dss_marl.grid.state import Array, IntArray
from dss_marl.profiles.load_shapes import CLASSES, shape
from dss_marl.profiles.noise import QUARTERS, ar1, bridged, series, stream
from dss_marl.profiles.synthetic_settings import SyntheticProfiles
from dss_marl.profiles.thermal_demand import cooling, heating
from dss_marl.profiles.weather import DAYS, daily_means

# By class: nominal power of one customer [kW], and the standard deviation over mean of its consumption in 15 minutes,
# and in a minute within them. For n customers it is 1/sqrt(n) of that.
_CUSTOMER_KW = np.array([1.5, 15.0, 60.0])
_VARIATION = np.array([0.65, 0.30, 0.20])
_BY_MINUTE = np.array([0.85, 0.25, 0.15])
# Spread of one customer's consumption and of its time shift; the shift of a large load does not average out.
_OWN_SCALE, _OWN_SHIFT_H = 0.35, 0.6
_REGION = 0.03  # common to all loads
HIGHEST = 8.0  # share of nominal that can be stored


@functools.lru_cache(maxsize=64)
def day_levels(spec: SyntheticProfiles) -> Array:
    """(365) load scale of each day: uniform over the range, high in cold and hot weather, persistent."""
    mean = daily_means(spec.seed, spec.climate, spec.southern)
    extreme = np.abs(mean - 17.0)
    spread = extreme.std() or 1.0
    x = 0.5 * (extreme - extreme.mean()) / spread + math.sqrt(0.75) * series(stream(spec.seed, "year", 1), DAYS, 0.5)
    low, high = spec.load_scale
    return low + (high - low) * np.array([0.5 + 0.5 * math.erf(v / math.sqrt(2)) for v in x])


@dataclass(frozen=True)
class Loads:
    """The loads of a feeder.

    Attributes:
        spec: the parameters.
        kw: (L) nominal power of each, positive [kW].
        buses: (L) bus of each; only needed where the spec names buses.
    """

    spec: SyntheticProfiles
    kw: Array
    buses: tuple[str, ...] = ()

    @cached_property
    def _draws(self) -> tuple[Array, Array, Array]:
        """Draws of the year: (L) class, (2, L) heating and cooling equipment, (2, L) scale and time shift."""
        rng = stream(self.spec.seed, "year")
        count = len(self.kw)
        return rng.random(count), rng.random((2, count)), rng.standard_normal((2, count))

    @cached_property
    def classes(self) -> IntArray:
        """(L) 0 home, 1 shop, 2 factory."""
        limits = np.cumsum([self.spec.commercial_share, self.spec.industrial_share])
        result = np.array([1, 2, 0])[np.searchsorted(limits, self._draws[0], side="right")]
        for k, named in enumerate((self.spec.homes_at, self.spec.shops_at, self.spec.factories_at)):
            if named:
                result[np.isin(self.buses, named)] = k
        return result

    @cached_property
    def customers(self) -> Array:
        """(L) number of customers that each load represents, at least one."""
        return np.maximum(self.kw / _CUSTOMER_KW[self.classes], 1.0)

    @cached_property
    def _scale(self) -> Array:
        """(L) consumption relative to the class, lognormal; the total is preserved."""
        sigma = np.sqrt(np.log(1 + self.spec.noise * _OWN_SCALE**2 / self.customers))
        scale = np.exp(sigma * self._draws[2][0])
        total = float(scale @ self.kw)
        return scale * (self.kw.sum() / total) if total > 0 else scale

    @cached_property
    def _shift_h(self) -> Array:
        return np.clip(_OWN_SHIFT_H * self._draws[2][1], -2.0, 2.0) * min(self.spec.noise, 1.0)

    @cached_property
    def _owners(self) -> tuple[Array, Array]:
        """(L) share of each load's customers with a heat pump, and (L) with air conditioning."""
        spec, draws = self.spec, self._draws[1]
        has = (spec.heat_pump_share * (self.classes == 0), spec.air_conditioning * (self.classes < 2))
        whole = np.round(self.customers)
        shares = []
        for share, draw in zip(has, draws, strict=True):
            owners = np.floor(share * whole + draw)  # whole customers, correct on average
            shares.append(np.minimum(owners, whole) / whole)
        return shares[0], shares[1]

    def _sigma(self, variation: Array) -> Array:
        """(L) sigma of lognormal noise of unit mean, from the coefficient of variation of one customer."""
        return np.sqrt(np.log(1 + (self.spec.noise * variation[self.classes]) ** 2 / self.customers))

    @cached_property
    def _sigmas(self) -> tuple[Array, Array]:
        return self._sigma(_VARIATION), self._sigma(_BY_MINUTE)

    def _noise(self, day: int, quarters: int) -> tuple[Array, Array]:
        """(Q, L) and (Q) noise of unit variance: each load's own (1 h) and the region's (4 h)."""
        seed, count = self.spec.seed, len(self.kw) + 1
        before, after = (stream(seed, "midnight", d % DAYS).standard_normal((1, count)) for d in (day, day + 1))
        draws = np.concatenate([before, stream(seed, "load", day).standard_normal((QUARTERS, count)), after])
        return bridged(draws[:, :-1], 1.0)[:quarters], bridged(draws[:, -1], 4.0)[:quarters]

    def quarters(self, day: int, temperature_c: Array) -> Array:
        """(Q, L) mean consumption over nominal in the first Q 15-minute intervals of a day; temperature_c is (Q)."""
        hour = (np.arange(len(temperature_c)) + 0.5) / 4
        own, region = self._noise(day, len(hour))
        use = np.empty(own.shape)
        for k in range(len(CLASSES)):
            of_class = np.flatnonzero(self.classes == k)
            at = hour[:, None] - self._shift_h[of_class]
            use[:, of_class] = shape(day, self.spec.southern, k, at.ravel()).reshape(at.shape)
        use *= self._level(day, hour)[:, None] * self._scale
        pumps, coolers = self._owners
        use += heating(temperature_c, hour)[:, None] * pumps + cooling(temperature_c)[:, None] * coolers
        sigma = self._sigmas[0]
        use *= np.exp(sigma * own - sigma**2 / 2)
        use *= (1 + self.spec.noise * _REGION * np.clip(region, -4, 4))[:, None]
        return use

    def _level(self, day: int, hour: Array) -> Array:
        """(Q) the day's load scale, blended with the neighbouring days' within three hours of midnight."""
        before, today, after = day_levels(self.spec)[[day - 1, day, (day + 1) % DAYS]]
        return np.interp(hour, [0.0, 3.0, 21.0, 24.0], [(before + today) / 2, today, today, (today + after) / 2])

    def minutes(self, day: int, quarters: Array) -> Array:
        """(15 Q, L) consumption per minute, with the mean of ``quarters`` (Q, L) in each 15 minutes.

        Appliance switching makes a customer's consumption fluctuate, for about four minutes at a time.
        """
        rng = stream(self.spec.seed, "minute", day)
        draws = rng.standard_normal((len(quarters), 15, len(self.kw))).swapaxes(0, 1)
        part = np.exp(ar1(draws, 1 / 60, 1 / 15) * self._sigmas[1])
        part *= quarters / part.mean(0)
        return part.swapaxes(0, 1).reshape(-1, len(self.kw))

"""Synthetic: assembles the generated days of a feeder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, IntArray
from dss_marl.profiles.clouds import Clouds, draw_clouds, places_km
from dss_marl.profiles.day import Day
from dss_marl.profiles.kept_days import Bits, KeptDays
from dss_marl.profiles.load_model import HIGHEST, Loads
from dss_marl.profiles.load_shapes import is_weekend
from dss_marl.profiles.noise import block_means, from_bits, stream, to_bits
from dss_marl.profiles.outages import Outage, draw_outages, season_factor
from dss_marl.profiles.own_power import feeds_in
from dss_marl.profiles.prices import day_ahead, time_of_use
from dss_marl.profiles.solar import clear_sky, cos_zenith
from dss_marl.profiles.synthetic_settings import SyntheticProfiles
from dss_marl.profiles.weather import DAYS, sky_classes, temperature

VERSION = 1  # of the generator: the same version produces the same 16-bit values
_MOST_SUN = 1.2  # over the peak PV power that a scenario states
# Of consumption over nominal, PV over peak power, price over the mean, and temperature [degree C], in 16 bits each.
_RANGES = ((0.0, HIGHEST), (0.0, _MOST_SUN), (-5.0, 10.0), (-60.0, 60.0))
_HOURLY_INDEX = np.array([0.97, 0.68, 0.28])  # regional share of the clear-sky irradiance, by the sky class of the day


@dataclass(frozen=True)
class Synthetic:
    """Days of one feeder, each generated from (seed, day) alone.

    Loads, temperature and price have a resolution of 15 minutes, loads of one minute where the interval requires it; PV
    has one minute. The value of an interval is the mean over it, so coarse values follow from fine ones.

    Attributes:
        spec: the parameters.
        feeder: whose injections the columns are.
        minutes: length of an interval.

    Raises:
        ValueError: the spec names a bus without a load.
    """

    spec: SyntheticProfiles
    feeder: Feeder
    minutes: int

    def __post_init__(self) -> None:
        named = {*self.spec.homes_at, *self.spec.shops_at, *self.spec.factories_at}
        lost = sorted(named - set(self._load_buses))
        if lost:
            raise ValueError(
                f"profiles: homes_at, shops_at or factories_at name bus {lost[0]!r} of feeder {self.feeder.name!r}, "
                "which has no load; name buses with loads"
            )

    @property
    def seed(self) -> int:
        """Seed of the year."""
        return self.spec.seed

    @property
    def days(self) -> int:
        """Number of days."""
        return DAYS

    @cached_property
    def _units(self) -> IntArray:
        """Indices of the PV injections, and of negative loads, which follow the sun as well."""
        rows = enumerate(self.feeder.injections)
        return np.array([j for j, row in rows if row.kind == "inverter" or feeds_in(row)], np.int64)

    @cached_property
    def _negative(self) -> list[int]:
        return [j for j, row in enumerate(self.feeder.injections) if feeds_in(row)]

    @cached_property
    def _nominal(self) -> tuple[Array, Array]:
        """(L) kW and kvar of each load, negative."""
        loads = self.feeder.loads
        kw, kvar = self.feeder.nominal_kw[loads], self.feeder.nominal_kvar[loads]
        if self.spec.kw_per_load is None:
            return kw, kvar
        ratio = np.divide(kvar, kw, out=np.zeros_like(kw), where=kw != 0)
        kw = np.where(kw > 0, kw, -self.spec.kw_per_load)
        return kw, kw * ratio

    @cached_property
    def nominal_kw(self) -> Array:
        """(J) base of each injection's relative power [kW]."""
        kw = self.feeder.nominal_kw.copy()
        kw[self.feeder.loads] = self._nominal[0]
        return kw

    @cached_property
    def loads(self) -> Loads:
        """The feeder's loads."""
        return Loads(self.spec, np.abs(self._nominal[0]), self._load_buses)

    @cached_property
    def _load_buses(self) -> tuple[str, ...]:
        return tuple(self.feeder.injections[j].bus for j in self.feeder.loads)

    @cached_property
    def _along_km(self) -> Array:
        return places_km(self.feeder, [self.feeder.injections[j].bus for j in self._units])

    def rows(self, day: int, intervals: int, free: bool | None = None) -> Day:
        """The first intervals of a day of the year.

        Args:
            day: of the year, from 0.
            intervals: how many.
            free: whether prices are those of a weekend; None: as the year's weekday says, day 0 a Monday.
        """
        loads, free = self.feeder.loads, is_weekend(day) if free is None else free
        bits = self._kept.get((day, intervals, free), lambda: self._bits(day, intervals, free))
        use, sun, price, temperature_c = (from_bits(own, *of) for own, of in zip(bits, _RANGES, strict=True))
        kw, kvar = (np.zeros((intervals, len(self.feeder.injections))) for _ in range(2))
        kw[:, loads], kvar[:, loads] = use * self._nominal[0], use * self._nominal[1]
        kw[:, self._units] = sun * self.feeder.nominal_kw[self._units]
        for j in self._negative:
            kvar[:, j] = kw[:, j] * self.feeder.nominal_kvar[j] / self.feeder.nominal_kw[j]
        return Day(kw=kw, kvar=kvar, price=price * self.spec.mean_price, temperature_c=temperature_c)

    @cached_property
    def _kept(self) -> KeptDays:
        return KeptDays()

    def _bits(self, day: int, intervals: int, free: bool) -> Bits:
        """What a day is made of, in 16 bits of _RANGES: loads, PV, price and temperature."""
        quarters = -(-intervals * self.minutes // 15)
        spec, hour = self.spec, (np.arange(quarters) + 0.5) / 4
        temperature_c = temperature(spec.seed, spec.climate, spec.southern, day, hour)
        price = np.repeat(self._hourly_price(day, free), 4)[:quarters]
        made = (
            self._use(day, temperature_c, intervals),
            self._sun(day, intervals),
            self._means(price, intervals),
            self._means(temperature_c, intervals),
        )
        return tuple(to_bits(values, *of) for values, of in zip(made, _RANGES, strict=True))

    def outages(self, day: int) -> tuple[Outage, ...]:
        """The outages that begin on a day."""
        season = season_factor(day, self.spec.southern)
        return draw_outages(stream(self.spec.seed, "outage", day), self.feeder, self.spec.outages_per_km, season)

    def _means(self, quarters: Array, intervals: int) -> Array:
        """(intervals, ...) means of 15-minute values."""
        if self.minutes % 15 == 0:
            return block_means(quarters, self.minutes // 15)
        return block_means(np.repeat(quarters, 15, axis=0)[: intervals * self.minutes], self.minutes)

    def _use(self, day: int, temperature_c: Array, intervals: int) -> Array:
        """(intervals, L) consumption of each load over nominal."""
        quarters = self.loads.quarters(day, temperature_c)
        if self.minutes % 15 == 0:
            return block_means(quarters, self.minutes // 15)
        fine = self.loads.minutes(day, quarters)[: intervals * self.minutes]
        return block_means(fine, self.minutes)

    def _clouds(self, day: int) -> Clouds:
        sky = sky_classes(self.spec.seed, self.spec.climate)[day]
        return draw_clouds(stream(self.spec.seed, "sun", day), int(sky), self._along_km)

    def _sun(self, day: int, intervals: int) -> Array:
        """(intervals, U) available PV over peak power; modules are horizontal, 1 kW/m2 gives peak power.

        With more modules (``pv_scale``) the inverter limits at 1.2 times the stated peak power, its usual rating.
        """
        minutes = np.arange(intervals * self.minutes)
        clear = clear_sky(cos_zenith(day, (minutes + 0.5) / 60, self.spec.latitude, self.spec.longitude))
        power = np.zeros((len(minutes), len(self._units)))
        light = np.flatnonzero(clear)
        if len(light) and len(self._units):
            power[light] = self.spec.pv_scale * clear[light, None] * self._clouds(day).share(light)
        return block_means(np.minimum(power, _MOST_SUN), self.minutes)

    def _hourly_price(self, day: int, free: bool) -> Array:
        """(24) hourly price over the mean."""
        spec = self.spec
        if spec.tariff == "flat":
            return np.ones(24)
        if spec.tariff == "time_of_use":
            return time_of_use(free)
        index = _HOURLY_INDEX[sky_classes(spec.seed, spec.climate)[day]]
        middle: Array = np.arange(24, dtype=float) + 0.5
        sun = index * clear_sky(cos_zenith(day, middle, spec.latitude, spec.longitude))
        return day_ahead(spec.seed, day, sun, free)

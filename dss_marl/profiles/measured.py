"""Measured: days from data instead of generated ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dss_marl.grid.state import Array, BoolArray
from dss_marl.profiles.calendar import NO_DATES, Calendar
from dss_marl.profiles.day import Day
from dss_marl.profiles.noise import block_means
from dss_marl.profiles.outages import Outage
from dss_marl.profiles.synthetic import Synthetic


def _nothing() -> Array:
    return np.zeros(0)


@dataclass(frozen=True)
class Measured:
    """Days of measured injections; quantities that were not measured are generated.

    Attributes:
        kw: (rows, J) injections [kW], + into the grid; NaN where a column was not measured.
        native: interval of the table [min].
        weather: generates the rest, at the requested interval.
        price, temperature_c: (rows), or empty where they were not measured.
        kvar: (rows, J) likewise [kvar]; empty where none was measured.
        calendar: dates of the days.
    """

    kw: Array
    native: int
    weather: Synthetic
    price: Array = field(default_factory=_nothing)
    temperature_c: Array = field(default_factory=_nothing)
    kvar: Array = field(default_factory=_nothing)
    calendar: Calendar = NO_DATES

    @property
    def days(self) -> int:
        """Number of days."""
        return len(self.kw) * self.native // 1440

    @cached_property
    def given(self) -> BoolArray:
        """(J) True where the data have the injection's power."""
        return np.asarray(np.isfinite(self.kw).any(0))

    @property
    def seed(self) -> int:
        """Seed of the generated quantities."""
        return self.weather.seed

    @property
    def nominal_kw(self) -> Array:
        """(J) base of each injection's relative power [kW]."""
        return self.weather.feeder.nominal_kw

    def rows(self, day: int, intervals: int) -> Day:
        """The first intervals of a day."""
        made = self.weather.rows(self.calendar.day_of_year(day), intervals, self.calendar.is_free(day))
        kw = self._cut(self.kw, day, intervals)
        kw = np.where(np.isnan(kw), made.kw, kw)
        kvar = self._nominal_kvar(kw)
        if len(self.kvar):
            measured = self._cut(self.kvar, day, intervals)
            kvar = np.where(np.isnan(measured), kvar, measured)
        return Day(
            kw=kw,
            kvar=kvar,
            price=self._cut(self.price, day, intervals) if len(self.price) else made.price,
            temperature_c=self._cut(self.temperature_c, day, intervals)
            if len(self.temperature_c)
            else made.temperature_c,
        )

    def _nominal_kvar(self, kw: Array) -> Array:
        """(intervals, J) loads at their nominal power factor; those without active power at their nominal kvar."""
        feeder = self.weather.feeder
        nominal_kw, nominal_kvar = feeder.nominal_kw, feeder.nominal_kvar
        ratio = np.divide(nominal_kvar, nominal_kw, out=np.zeros_like(nominal_kw), where=nominal_kw != 0)
        is_load = np.isin(np.arange(len(nominal_kw)), feeder.loads)
        return np.where(is_load, np.where(nominal_kw != 0, kw * ratio, nominal_kvar), 0.0)

    def outages(self, day: int) -> tuple[Outage, ...]:
        """The outages that begin on a day: generated."""
        return self.weather.outages(self.calendar.day_of_year(day))

    def _cut(self, series: Array, day: int, intervals: int) -> Array:
        """(intervals, ...) of a day: means of shorter measured intervals, or longer ones held."""
        start, minutes = day * 1440 // self.native, self.weather.minutes
        end = start + -(-intervals * minutes // self.native)
        if minutes >= self.native:
            return block_means(series[start:end], minutes // self.native)
        return np.repeat(series[start:end], self.native // minutes, axis=0)[:intervals]


def check_minutes(where: str, native: int, minutes: int) -> None:
    """ValueError unless one interval is a multiple of the other."""
    if max(native, minutes) % min(native, minutes):
        raise ValueError(
            f"{where} has intervals of {native} minutes, the scenario of {minutes}; one must be a multiple of the other"
        )

"""Own power: what the circuit's own PV systems, generators, batteries and negative loads do over a day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dss_marl.engines import read_load_shapes, read_own_power
from dss_marl.grid.elements import CircuitUnit, Injection
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array
from dss_marl.profiles.base import ProfileSpec, Source
from dss_marl.profiles.calendar import NO_DATES, Calendar
from dss_marl.profiles.day import Day
from dss_marl.profiles.noise import block_means
from dss_marl.profiles.outages import Outage


def feeds_in(row: Injection) -> bool:
    """Whether an injection is a load of negative power, as PV is often written."""
    return row.kind == "load" and row.kw > 0


@dataclass(frozen=True)
class Series:
    """What the shape of an element makes it deliver, repeated as often as there are days.

    Attributes:
        minutes: length of an interval.
        kw, kvar: (rows) injections.
    """

    minutes: int
    kw: Array
    kvar: Array

    def rows(self, day: int, intervals: int, minutes: int) -> tuple[Array, Array]:
        """(intervals) kW and kvar of the first intervals of a day."""
        first = day * 1440 // self.minutes
        at = first + np.arange(-(-intervals * minutes // self.minutes))
        kw, kvar = (np.take(values, at, mode="wrap") for values in (self.kw, self.kvar))
        if minutes >= self.minutes:
            return block_means(kw, minutes // self.minutes), block_means(kvar, minutes // self.minutes)
        times = self.minutes // minutes
        return np.repeat(kw, times)[:intervals], np.repeat(kvar, times)[:intervals]


@dataclass(frozen=True)
class WithOwnPower:
    """A source whose days also move what the circuit brings.

    Attributes:
        source: of the days.
        minutes: length of an interval.
        units: injection to the circuit's unit that it stands for, of those that profiles move.
        series: injection to what its own shape makes it deliver, of those that follow it.
    """

    source: Source
    minutes: int
    units: Mapping[int, CircuitUnit]
    series: Mapping[int, Series]

    @property
    def days(self) -> int:
        """See Source."""
        return self.source.days

    @property
    def seed(self) -> int:
        """See Source."""
        return self.source.seed

    @property
    def nominal_kw(self) -> Array:
        """See Source."""
        return self.source.nominal_kw

    @property
    def calendar(self) -> Calendar:
        """Dates of the days."""
        found: Calendar = getattr(self.source, "calendar", NO_DATES)
        return found

    def outages(self, day: int) -> tuple[Outage, ...]:
        """See Source."""
        return self.source.outages(day)

    def rows(self, day: int, intervals: int) -> Day:
        """See Source."""
        made = self.source.rows(day, intervals)
        kw, kvar = made.kw.copy(), made.kvar.copy()
        given: Any = getattr(self.source, "given", np.zeros(kw.shape[1], bool))
        for j, unit in self.units.items():
            if unit.kind == "pvsystem":
                kw[:, j] = np.minimum(kw[:, j], unit.kva)
                if not kvar[:, j].any():  # measured
                    kvar[:, j] = _pv_kvar(unit, kw[:, j])
            elif not given[j]:
                kw[:, j], kvar[:, j] = unit.run_kw, unit.run_kvar
        for j, series in self.series.items():
            if not given[j]:
                kw[:, j], kvar[:, j] = series.rows(day, intervals, self.minutes)
        return replace(made, kw=kw, kvar=kvar)


def _pv_kvar(unit: CircuitUnit, kw: Array) -> Array:
    """(rows) at constant power factor, or constant while it delivers."""
    return kw * unit.run_kvar / unit.run_kw if unit.power_factor else np.where(kw > 0, unit.run_kvar, 0.0)


def with_own_power(source: Source, spec: ProfileSpec, feeder: Feeder, minutes: int) -> Source:
    """The source, with what the circuit brings in its days; unchanged where the circuit brings nothing."""
    row_of = {row.name: j for j, row in enumerate(feeder.injections)}
    units = {row_of[unit.injection]: unit for unit in feeder.units if unit.moved_by == "profiles"}
    negative = {row.name: j for j, row in enumerate(feeder.injections) if feeds_in(row)}
    if not units and not negative:
        return source
    which = getattr(spec, "which", "daily")
    own = read_own_power(feeder, which) if units else {}
    series = {
        j: Series(*own[unit.name])
        for j, unit in units.items()
        if unit.name in own and (unit.kind != "pvsystem" or spec.kind == "loadshapes")
    }
    for name, shape in read_load_shapes(feeder, which).items() if negative else ():
        if name in negative and shape.minutes >= 1 and not 1440 % shape.minutes:
            load = feeder.injections[negative[name]]
            series[negative[name]] = Series(round(shape.minutes), -shape.kw(-load.kw), -shape.kvar(-load.kvar))
    return WithOwnPower(source, minutes, units, _fitting(series, minutes))


def _fitting(series: Mapping[int, Series], minutes: int) -> dict[int, Series]:
    """The series at intervals of which one is a multiple of the other: finer where it is not."""
    found = {}
    for j, one in series.items():
        fine = one.minutes
        if max(fine, minutes) % min(fine, minutes):
            fine = int(np.gcd(fine, minutes))
            times = one.minutes // fine
            one = Series(fine, np.repeat(one.kw, times), np.repeat(one.kvar, times))
        found[j] = one
    return found

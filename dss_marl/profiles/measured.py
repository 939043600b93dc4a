"""Measured: days from a table instead of generated ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
from pydantic import Field

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array
from dss_marl.profiles.base import ProfileSpec
from dss_marl.profiles.day import Day
from dss_marl.profiles.noise import block_means
from dss_marl.profiles.outages import Outage
from dss_marl.profiles.synthetic import Synthetic
from dss_marl.profiles.synthetic_settings import SyntheticProfiles
from dss_marl.profiles.time_series import TimeSeries
from dss_marl.profiles.weather import DAYS


class MeasuredData(ProfileSpec):
    """Fields common to the specs of measured profiles."""

    weather: SyntheticProfiles = Field(
        default=SyntheticProfiles(seed=0),
        description="generates what the data lack: PV, price, temperature, outages",
    )


@dataclass(frozen=True)
class Measured:
    """Days of measured injections; quantities that were not measured are generated.

    Attributes:
        kw: (rows, J) injections [kW], + into the grid; NaN where a column was not measured.
        native: interval of the table [min].
        weather: generates the rest, at the requested interval.
        price, temperature_c: (rows), or empty where they were not measured.
        first_day: date of the first row; None where it is not known.
    """

    kw: Array
    native: int
    weather: Synthetic
    price: Array
    temperature_c: Array
    first_day: date | None = None

    @property
    def days(self) -> int:
        """Number of days; those beyond a year are ignored."""
        return min(len(self.kw) * self.native // 1440, DAYS)

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
        made = self.weather.rows(day, intervals)
        feeder = self.weather.feeder
        kw = self._cut(self.kw, day, intervals)
        kw = np.where(np.isnan(kw), made.kw, kw)
        nominal_kw, nominal_kvar = feeder.nominal_kw, feeder.nominal_kvar
        ratio = np.divide(nominal_kvar, nominal_kw, out=np.zeros_like(nominal_kw), where=nominal_kw != 0)
        is_load = np.isin(np.arange(len(nominal_kw)), feeder.loads)
        return Day(
            kw=kw,
            kvar=np.where(is_load, kw * ratio, 0.0),
            price=self._cut(self.price, day, intervals) if len(self.price) else made.price,
            temperature_c=self._cut(self.temperature_c, day, intervals)
            if len(self.temperature_c)
            else made.temperature_c,
        )

    def outages(self, day: int) -> tuple[Outage, ...]:
        """The outages that begin on a day: generated."""
        return self.weather.outages(day)

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


def matched(table: TimeSeries, feeder: Feeder, columns: Mapping[str, str], weather: Synthetic, kw: float) -> Measured:
    """The days of a table for a feeder, with columns matched by the names of loads and units.

    Args:
        table: the data; loads positive.
        feeder: whose injections the columns represent.
        columns: injection name to column name; empty: columns are named after the injections.
        weather: generates what was not measured.
        kw: the data's unit in kW.

    Raises:
        ValueError: a load without a column, an unknown column, negative consumption, or the wrong unit.
    """
    check_minutes(table.where, table.minutes, weather.minutes)
    places = _places(table, feeder, columns)
    values = np.full((len(table.values), len(feeder.injections)), np.nan)
    for j, column in places.items():
        sign = -1.0 if feeder.injections[j].kind == "load" else 1.0
        values[:, j] = sign * kw * table.values[:, column]
    _check_powers(table, feeder, values)
    extra = {name: table.values[:, k] for k, name in enumerate(table.names) if name in ("price", "temperature_c")}
    none = np.zeros(0)
    price, temperature_c = extra.get("price", none), extra.get("temperature_c", none)
    return Measured(values, table.minutes, weather, price, temperature_c, table.first_day)


def _places(table: TimeSeries, feeder: Feeder, columns: Mapping[str, str]) -> dict[int, int]:
    """Index of each injection that has a column, to the index of the column."""
    rows = {name: j for j, row in enumerate(feeder.injections) for name in (row.name, row.name.split(".", 1)[-1])}
    named: dict[str, int] = {name.lower(): k for k, name in enumerate(table.names)}
    if columns:
        for name, wanted in columns.items():
            if wanted.lower() not in named:
                raise ValueError(f"{table.where} has no column {wanted!r} for {name!r}; it has {_few(table.names)}")
        named = {name.lower(): named[column.lower()] for name, column in columns.items()}
    places: dict[int, int] = {}
    for name, column in named.items():
        if name in ("price", "temperature_c"):
            continue
        if name not in rows:
            close = difflib.get_close_matches(name, rows, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"{table.where}: column {name!r} is not a load or unit of feeder {feeder.name!r}{hint} "
                f"known: {_few(row.name for row in feeder.injections)}; or list the columns to use under 'columns'"
            )
        places[rows[name]] = column
    missing = [feeder.injections[j].name for j in feeder.loads if j not in places]
    if missing:
        raise ValueError(
            f"{table.where} has no column for {len(missing)} of {len(feeder.loads)} loads: {_few(missing)}"
        )
    return places


def _check_powers(table: TimeSeries, feeder: Feeder, kw: Array) -> None:
    """ValueError where consumption is negative, or the unit is evidently wrong, such as W for kW."""
    loads = feeder.loads
    wrong = np.argwhere(kw[:, loads] > 1e-9)
    if len(wrong):
        row, k = wrong[0]
        raise ValueError(
            f"{table.where}: load {feeder.injections[loads[k]].name!r} is negative ({-kw[row, loads[k]]:g} kW) in row "
            f"{row + 1} after midnight; consumption must be positive; feed-in belongs in a unit's own column"
        )
    nominal, highest = -feeder.nominal_kw[loads].sum(), -kw[:, loads].sum(1).min()
    if nominal > 0 and not nominal / 100 < highest < 30 * nominal:
        raise ValueError(
            f"{table.where}: the total load reaches {highest:g} kW, nominal is {nominal:g} kW; "
            "give the unit of the values: unit: W, kW or MW"
        )


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")

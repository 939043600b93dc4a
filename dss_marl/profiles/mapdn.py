"""Profiles from the data of MAPDN: three years of 3-minute loads and PV, in the user's own copy.

Source: Wang et al., Multi-agent reinforcement learning for active voltage control on power distribution networks,
NeurIPS 2021, arXiv:2110.14300, and its published code, which reads the same files by the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, IntArray
from dss_marl.profiles.calendar import Calendar
from dss_marl.profiles.day import Day
from dss_marl.profiles.measured import check_minutes
from dss_marl.profiles.noise import block_means, stream
from dss_marl.profiles.number_tables import NumberTable, read_numbers
from dss_marl.profiles.outages import Outage
from dss_marl.profiles.own_days import MeasuredData, own_split
from dss_marl.profiles.synthetic import Synthetic

FILES = {"load_kw": "load_active.csv", "load_kvar": "load_reactive.csv", "pv_kw": "pv_active.csv"}
_FROM = "https://github.com/Future-Power-Networks/MAPDN#downloading-the-dataset"
_KW = 1000.0  # the tables are in MW and Mvar


class MapdnProfiles(MeasuredData):
    """The data of MAPDN: ``load_active.csv``, ``load_reactive.csv`` and ``pv_active.csv`` of one of its networks.

    Columns are matched by their order: loads in the feeder's order, PV in the order of the scenario's inverters. Each
    inverter is rated as there, at 1.2 times the highest power of its column, whatever the scenario's ``kw``.
    """

    kind: Literal["mapdn"] = Field(description="kind of profiles")
    path: str = Field(
        description="folder of the three tables, such as case33_3min_final; relative to the scenario's YAML file"
    )
    load_scale: float = Field(default=1.0, gt=0, description="factor of all loads")
    pv_scale: float = Field(default=1.0, gt=0, description="factor of the PV power and of the inverters' ratings")
    noise: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="added on training days, over each column's standard deviation: the magnitude of a normal number "
        "for every interval",
    )

    def open(self, feeder: Feeder, minutes: int) -> MapdnDays:
        """The days of the tables; the first call on a copy keeps them as binary files beside it.

        Raises:
            ValueError: the copy is missing, incomplete or of another network; says where to get and to put it.
        """
        tables = self._tables()
        pv_units = np.array([j for j, row in enumerate(feeder.injections) if row.kind == "inverter"], np.int64)
        for name, units in (("load_kw", feeder.loads), ("load_kvar", feeder.loads), ("pv_kw", pv_units)):
            table = tables[name]
            if table.values.shape[1] != len(units):
                what = "inverters" if name == "pv_kw" else f"loads on feeder {feeder.name!r}"
                raise ValueError(
                    f"{table.where} has {table.values.shape[1]} columns beside the time, the scenario {len(units)} "
                    f"{what}; take the data of this network"
                )
        table = tables["pv_kw"]
        check_minutes(table.where, table.minutes, minutes)
        days = len(table.values) * table.minutes // 1440
        if not days:
            raise ValueError(f"{table.where} holds less than a day: {len(table.values)} rows")
        calendar = self.dated(table.where, Calendar(table.first, clock="rows as they are"))
        noisy = frozenset(own_split(self, "train", days)) if self.noise else frozenset()
        return MapdnDays(
            self, tables, feeder.loads, pv_units, Synthetic(self.weather, feeder, minutes), calendar, noisy
        )

    def pv_peaks_kw(self) -> Array:
        """See ProfileSpec."""
        return _KW * self.pv_scale * self._tables()["pv_kw"].highest

    def _tables(self) -> dict[str, NumberTable]:
        folder = Path(self.path).expanduser()
        missing = [name for name in FILES.values() if not (folder / name).is_file()]
        if missing:
            raise ValueError(
                f"profiles of kind mapdn: folder {str(folder)!r} has no {', '.join(missing)}. MAPDN's data are not "
                f"part of this package: download them as {_FROM} says, unzip, and set profiles.path to the folder of "
                "the network, such as case33_3min_final; without them, profiles of kind synthetic stand in"
            )
        tables = {name: read_numbers(folder / file) for name, file in FILES.items()}
        rows = {name: (len(table.values), table.minutes) for name, table in tables.items()}
        if len(set(rows.values())) > 1:
            raise ValueError(
                f"profiles of kind mapdn: the tables in {str(folder)!r} differ in rows or interval: {rows}"
            )
        return tables


@dataclass(frozen=True)
class MapdnDays:
    """A source, see ``base.Source``: day d begins at row d times the rows of a day, as in the published environment.

    Attributes:
        spec: the parameters.
        tables: by the keys of FILES.
        loads, pv_units: injections that their columns are.
        weather: generates price, temperature and outages, at the requested interval.
        calendar: dates of the days.
        noisy: the days with noise.
    """

    spec: MapdnProfiles
    tables: dict[str, NumberTable]
    loads: IntArray
    pv_units: IntArray
    weather: Synthetic
    calendar: Calendar
    noisy: frozenset[int]

    @property
    def days(self) -> int:
        """Number of whole days."""
        table = self.tables["pv_kw"]
        return len(table.values) * table.minutes // 1440

    @property
    def seed(self) -> int:
        """Seed of noise and of generated quantities."""
        return self.weather.seed

    @cached_property
    def nominal_kw(self) -> Array:
        """(J) base of each injection's relative power [kW]."""
        return self.weather.feeder.nominal_kw

    def rows(self, day: int, intervals: int) -> Day:
        """The first intervals of a day."""
        made = self.weather.rows(self.calendar.day_of_year(day), intervals, self.calendar.is_free(day))
        kw, kvar = np.zeros_like(made.kw), np.zeros_like(made.kw)
        rng = stream(self.seed, "table", day) if day in self.noisy else None
        kw[:, self.pv_units] = self._cut("pv_kw", day, intervals, rng, self.spec.pv_scale)
        kw[:, self.loads] = -self._cut("load_kw", day, intervals, rng, self.spec.load_scale)
        kvar[:, self.loads] = -self._cut("load_kvar", day, intervals, rng, self.spec.load_scale)
        return replace(made, kw=kw, kvar=kvar)

    def outages(self, day: int) -> tuple[Outage, ...]:
        """The outages that begin on a day: generated."""
        return self.weather.outages(self.calendar.day_of_year(day))

    def _cut(self, name: str, day: int, intervals: int, rng: np.random.Generator | None, scale: float) -> Array:
        """(intervals, columns) of a day [kW or kvar]: means of shorter intervals, or longer ones held."""
        table, minutes = self.tables[name], self.weather.minutes
        start = day * 1440 // table.minutes
        values = np.asarray(table.values[start : start + 1440 // table.minutes], float)
        if rng is not None:
            values = values + self.spec.noise * table.spread * np.abs(rng.standard_normal(values.shape))
        if minutes >= table.minutes:
            values = block_means(values, minutes // table.minutes)
        else:
            values = np.repeat(values, table.minutes // minutes, axis=0)
        return _KW * scale * values[:intervals]

"""Profiles from the user's own table: CSV or parquet."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from dss_marl.grid.feeder import Feeder
from dss_marl.profiles.matching import matched
from dss_marl.profiles.measured import Measured
from dss_marl.profiles.own_days import MeasuredData
from dss_marl.profiles.synthetic import Synthetic
from dss_marl.profiles.time_series import Clock, TimeSeries, read_table

_KW = {"W": 1e-3, "kW": 1.0, "MW": 1e3}


class CsvProfiles(MeasuredData):
    """A table with a time, a column for each load (positive), and optionally units, ``price``, ``temperature_c``."""

    kind: Literal["csv"] = Field(description="kind of profiles")
    path: str = Field(description=".csv or .parquet; relative to the scenario's YAML file")
    unit: Literal["W", "kW", "MW"] = Field(default="kW", description="of the columns of loads and units")
    columns: dict[str, str] = Field(default={}, description="name of a load or unit to its column; others are ignored")
    total: str = Field(
        default="",
        description="column of the feeder's consumption (a meter at its head, plus what PV fed in); loads without a "
        "column of their own share what the others leave of it, by nominal power",
    )
    dt_h: float | None = Field(default=None, gt=0, description="interval of a table without times [h]")
    fill_h: float = Field(default=0.0, ge=0, description="gaps up to this length are interpolated linearly [h]")
    stamp: Literal["start", "end"] = Field(default="start", description="what a row's time is of its interval")
    time_zone: str = Field(
        default="", description="such as Europe/Berlin, where times follow the wall clock; days are in standard time"
    )

    def open(self, feeder: Feeder, minutes: int) -> Measured:
        """The days of a table.

        Raises:
            ValueError: the file is missing, or its content does not fit; says where.
        """
        native = None if self.dt_h is None else max(round(60 * self.dt_h), 1)
        path = Path(self.path).expanduser()
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        table = _read(path, Clock(self.stamp, self.time_zone, native), self.fill_h, changed)
        weather = Synthetic(self.weather, feeder, minutes)
        found = matched(table, feeder, self.columns, weather, _KW[self.unit], self.total)
        return replace(found, calendar=self.dated(table.where, table.calendar))


@functools.lru_cache(maxsize=4)
def _read(path: Path, clock: Clock, fill_h: float, changed: int) -> TimeSeries:
    return read_table(path, clock, fill_h)

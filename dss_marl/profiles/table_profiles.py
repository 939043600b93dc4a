"""Profiles from the user's own table: CSV or parquet."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from pydantic import Field

from dss_marl.grid.feeder import Feeder
from dss_marl.profiles.measured import Measured, MeasuredData, matched
from dss_marl.profiles.synthetic import Synthetic
from dss_marl.profiles.time_series import TimeSeries, read_table

_KW = {"W": 1e-3, "kW": 1.0, "MW": 1e3}


class CsvProfiles(MeasuredData):
    """A table with a time, a column for each load (positive), and optionally units, ``price``, ``temperature_c``."""

    kind: Literal["csv"]
    path: str = Field(description=".csv or .parquet; relative to the scenario's YAML file")
    unit: Literal["W", "kW", "MW"] = "kW"
    columns: dict[str, str] = Field(default={}, description="name of a load or unit to its column; others are ignored")
    dt_h: float | None = Field(default=None, gt=0, description="interval of a table without times [h]")
    fill_h: float = Field(default=0.0, ge=0, description="gaps up to this length are interpolated linearly [h]")

    def open(self, feeder: Feeder, minutes: int) -> Measured:
        """The days of a table.

        Raises:
            ValueError: the file is missing, or its content does not fit; says where.
        """
        native = None if self.dt_h is None else max(round(60 * self.dt_h), 1)
        path = Path(self.path).expanduser()
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        table = _read(path, native, self.fill_h, changed)
        return matched(table, feeder, self.columns, Synthetic(self.weather, feeder, minutes), _KW[self.unit])


@functools.lru_cache(maxsize=4)
def _read(path: Path, minutes: int | None, fill_h: float, changed: int) -> TimeSeries:
    return read_table(path, minutes, fill_h)

"""Recording: days as operated, with all that they hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dss_marl.experiments.recording import export
from dss_marl.experiments.recording.recorded_days import RecordedDays
from dss_marl.experiments.recording.table import Table


@dataclass(frozen=True)
class Recording(RecordedDays):
    """Days as operated under one controller: one table for each quantity, one row for each interval.

    A row holds what agents observed before the interval, what they asked for, and the interval as operated.
    ``recording["voltages"]["671.1"]`` is the voltage of a node over time (T,). In an interval whose power flow failed
    values are NaN, and taps and switches are where they were.

    Its fields are those of RecordedDays.
    """

    def __repr__(self) -> str:
        return (
            f"Recording({self.scenario.name!r} under {self.controller!r}: {len(self.days)} days, {len(self.day)} "
            f"intervals, tables {', '.join(self.tables)})"
        )

    def __getitem__(self, table: str) -> Table:
        """One table.

        Raises:
            ValueError: no such table; the message lists those that exist.
        """
        if table not in self.tables:
            raise ValueError(f"the recording has no table {table!r}; it has {', '.join(self.tables)}")
        return self.tables[table]

    def to_frame(self, table: str | None = None) -> Any:
        """A pandas DataFrame.

        Args:
            table: one table: a row for each interval, with day, date, step and hour as index, and a column for each
                element; ``attrs["units"]`` has the units. None: all tables as one long frame with a row for each value
                and the columns day, date, step, hour, table, name, unit, kind, bus, zone, value.

        Raises:
            ValueError: no such table.
            ImportError: pandas is missing.
        """
        return export.long_frame(self) if table is None else export.wide_frame(self, self[table])

    def to_csv(self, folder: str | Path) -> Path:
        """Write one CSV for each table, headings with names and units, and return the folder.

        ``columns.csv`` lists all columns with kind, bus and zone, ``figures.csv`` has the key figures of each day, and
        ``recording.json`` says what was played. Numbers read back exactly; an unknown value is an empty cell.
        """
        return export.write_csv(self, Path(folder))

    def to_parquet(self, folder: str | Path) -> Path:
        """As ``to_csv``, with a Parquet file for each table.

        Raises:
            ImportError: pyarrow is missing.
        """
        return export.write_parquet(self, Path(folder))

    def to_xarray(self) -> Any:
        """An xarray Dataset over time: a variable for each table, whose second dimension has kind, bus and zone.

        Raises:
            ImportError: xarray is missing.
        """
        return export.dataset(self)

    def to_netcdf(self, path: str | Path) -> Path:
        """Write the Dataset of ``to_xarray`` as netCDF, and return the path.

        Raises:
            ImportError: xarray is missing.
        """
        return export.write_netcdf(self, Path(path))

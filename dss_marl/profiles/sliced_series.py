"""Profiles cut from long series without times: one load takes the first days of it, the next one the following ones."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from dss_marl._assets import read_text
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array
from dss_marl.profiles.measured import Measured, check_minutes
from dss_marl.profiles.own_days import MeasuredData
from dss_marl.profiles.synthetic import Synthetic

_MOST = 100.0  # multiplier beyond which a number is rather a power


class SlicedProfiles(MeasuredData):
    """Multipliers of nominal load from files of one column, as PowerGym cuts its days.

    The files ``*loadshape*.csv`` of the folder are joined in the order of their names. Of D days per load, the first
    load of the circuit takes the first D days of the series, the second one the next D, and so on; what is left over is
    not used. kW and kvar follow the same multiplier.
    """

    kind: Literal["sliced"] = Field(description="kind of profiles")
    folder: str = Field(description="with the .csv files; a relative one starts at the scenario's YAML file")
    minutes: int = Field(default=60, ge=1, le=1440, description="interval of the series [min]")
    scale: float = Field(default=1.0, gt=0, le=10, description="multiplies all loads")

    def open(self, feeder: Feeder, minutes: int) -> Measured:
        """The days of the series.

        Raises:
            ValueError: no folder or file, cells that are not multipliers, or fewer values than a day of every load.
        """
        where = f"profile folder {self.folder!r}"
        check_minutes(where, self.minutes, minutes)
        if 1440 % self.minutes:
            raise ValueError(f"{where}: intervals of {self.minutes} minutes do not divide a day")
        series = _read(Path(self.folder).expanduser())
        steps, loads = 1440 // self.minutes, list(feeder.loads)
        days = len(series) // (steps * len(loads))
        if not days:
            raise ValueError(
                f"{where} holds {len(series)} values; a day of the {len(loads)} loads of feeder {feeder.name!r} needs "
                f"{steps * len(loads)}"
            )
        by_load = self.scale * series[: days * steps * len(loads)].reshape(len(loads), days * steps)
        kw, kvar = np.full((2, days * steps, len(feeder.injections)), np.nan)
        for j, multiplier in zip(loads, by_load, strict=True):
            kw[:, j], kvar[:, j] = (multiplier * nominal for nominal in _nominal(feeder, j))
        weather = Synthetic(self.weather, feeder, minutes)
        return Measured(kw, self.minutes, weather, kvar=kvar, calendar=self.dated(where))


def _nominal(feeder: Feeder, j: int) -> tuple[float, float]:
    row = feeder.injections[j]
    return row.kw, row.kvar


def _read(folder: Path) -> Array:
    """The values of all files, one after the other."""
    cure = (
        "PowerGym keeps its series in systems/<feeder>/loadshape of https://github.com/siemens/powergym; clone it and "
        "name that folder, or use profiles of kind synthetic"
    )
    if not folder.is_dir():
        raise ValueError(f"profile folder {str(folder)!r} does not exist; {cure}")
    found = [path for path in folder.iterdir() if path.suffix.lower() == ".csv" and "loadshape" in path.name.lower()]
    if not found:
        raise ValueError(f"profile folder {str(folder)!r} has no file *loadshape*.csv; {cure}")
    paths = sorted(found, key=lambda path: path.name.lower())
    return np.concatenate([_values(path, path.stat().st_mtime_ns) for path in paths])


@functools.lru_cache(maxsize=8)
def _values(path: Path, changed: int) -> Array:
    where = f"profile file {str(path)!r}"
    text = read_text(path, where)
    if text.startswith("version https://git-lfs"):
        raise ValueError(f"{where} is a Git LFS pointer; run 'git lfs pull' in its repository")
    cells = [line.strip().rstrip(",;") for line in text.splitlines() if line.strip()]
    try:
        values = np.array(cells, float)
    except ValueError:
        row = next(k for k, cell in enumerate(cells, start=1) if not _is_number(cell))
        raise ValueError(f"{where}: row {row}: {cells[row - 1]!r} is not a number; it needs one per row") from None
    wrong = np.flatnonzero(~((values >= 0) & (values <= _MOST)))
    if wrong.size:
        raise ValueError(
            f"{where}: row {wrong[0] + 1}: {values[wrong[0]]:g} is no multiplier of nominal load, 0 to {_MOST:g}"
        )
    return values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

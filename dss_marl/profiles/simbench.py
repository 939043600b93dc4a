"""Profiles from an installed SimBench: German load and PV of 2016, read from its files without importing it."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from datetime import date, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, IntArray
from dss_marl.profiles.calendar import Calendar
from dss_marl.profiles.measured import Measured, check_minutes
from dss_marl.profiles.noise import stream
from dss_marl.profiles.own_days import MeasuredData
from dss_marl.profiles.own_power import feeds_in
from dss_marl.profiles.synthetic import Synthetic

LICENCE = (
    "SimBench's profiles belong to their authors and are under the Open Database License 1.0 (ODbL): cite SimBench "
    "(www.simbench.net) when you publish results, and share derived databases under the same licence. "
    "They are not part of dss_marl."
)
_STUDY = "networks/1-complete_data-mixed-all-{}-sw"
_MINUTES = 15


class SimbenchProfiles(MeasuredData):
    """Load and PV of SimBench: each load gets the profile of a home, business or farm, each inverter a PV profile."""

    kind: Literal["simbench"] = Field(description="kind of profiles")
    seed: int = Field(default=0, ge=0, description="of the assignment of profiles to loads")
    study: Literal[0, 1, 2] = Field(default=0, description="SimBench's scenario: 0 today, 1 and 2 the future")
    load_scale: float = Field(default=0.8, gt=0, description="a profile of 1 over nominal load")
    commercial_share: float = Field(default=0.3, ge=0, le=1, description="share of loads that are businesses or farms")
    folder: str = Field(default="", description="of an unpacked simbench package; empty: the installed package")

    def open(self, feeder: Feeder, minutes: int) -> Measured:
        """The days of SimBench's year for a feeder.

        Raises:
            ValueError: SimBench is not there, or its files are not as expected.
        """
        check_minutes("SimBench", _MINUTES, minutes)
        folder = simbench_folder(self.folder) / _STUDY.format(self.study)
        names, loads, first = _read(folder / "LoadProfile.csv", ("H0-", "G", "L"), "_pload")
        same, reactive, _ = _read(folder / "LoadProfile.csv", ("H0-", "G", "L"), "_qload")
        suns, power, _ = _read(folder / "RESProfile.csv", ("PV",), "")
        rng = stream(self.seed, "year")
        homes = [k for k, name in enumerate(names) if name.startswith("H0-")]
        others = [k for k, name in enumerate(names) if not name.startswith("H0-")]
        units = [j for j, row in enumerate(feeder.injections) if row.kind == "inverter" or feeds_in(row)]
        kw, kvar = np.full((2, len(loads), len(feeder.injections)), np.nan)
        draws = rng.random((2, len(feeder.injections)))
        for j in set(feeder.loads.tolist()) - set(units):
            choice = others if draws[0, j] < self.commercial_share and others else homes
            of = choice[int(draws[1, j] * len(choice))]
            kw[:, j] = self.load_scale * feeder.nominal_kw[j] * loads[:, of]
            if names[of] in same:
                kvar[:, j] = self.load_scale * feeder.nominal_kvar[j] * reactive[:, same.index(names[of])]
        near: IntArray = np.array([int(draws[1, j] * len(suns)) for j in units], np.int64)
        kw[:, units] = power[:, near] * feeder.nominal_kw[units]
        calendar = self.dated("SimBench", Calendar(first, clock="local time as written, rows stamped at the start"))
        return Measured(kw, _MINUTES, Synthetic(self.weather, feeder, minutes), kvar=kvar, calendar=calendar)


def simbench_folder(folder: str = "") -> Path:
    """Where SimBench's files are.

    Raises:
        ValueError: not installed, or the folder is not a SimBench package.
    """
    if folder:
        path = Path(folder).expanduser()
    else:
        found = importlib.util.find_spec("simbench")  # locates the package without importing it
        if found is None or not found.submodule_search_locations:
            raise ValueError(
                "profiles of kind simbench need SimBench's files: pip install --no-deps simbench, "
                "or unpack its wheel and give the folder"
            )
        path = Path(next(iter(found.submodule_search_locations)))
    if not (path / "networks").is_dir():
        raise ValueError(f"{str(path)!r} is not a SimBench package: it has no folder 'networks'")
    return path


@functools.lru_cache(maxsize=6)
def _read(path: Path, begin: tuple[str, ...], end: str) -> tuple[tuple[str, ...], Array, date]:
    """Names without ``end``, (rows, columns) values in whole days, and the first date, of the columns so called.

    Active powers are at least 0; reactive ones may have both signs.
    """
    if not path.is_file():
        raise ValueError(f"SimBench's file {str(path)!r} does not exist; use version 1.6")
    warnings.warn(LICENCE, stacklevel=4)
    with path.open(encoding="utf-8") as file:
        heads = file.readline().strip().split(";")
        wanted = [k for k, head in enumerate(heads) if head.startswith(begin) and head.endswith(end)]
        if not wanted:
            raise ValueError(f"SimBench's file {str(path)!r} has no columns {'..., '.join(begin)}...{end}")
        rows = file.readlines()
    first = datetime.strptime(rows[0].split(";")[heads.index("time")], "%d.%m.%Y %H:%M").date()
    values = np.loadtxt(rows, delimiter=";", usecols=wanted, ndmin=2)
    values = values[: len(values) * _MINUTES // 1440 * 1440 // _MINUTES]
    names = tuple(heads[k].removesuffix(end) for k in wanted)
    return names, values if end == "_qload" else np.clip(values, 0.0, None), first

"""Large tables of numbers: read from CSV once, kept beside it as a binary file, and mapped into memory from then on."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl._assets import replacing, write_text
from dss_marl.grid.state import Array

_KEPT = "dss_marl_tables"  # folder of the binary files, beside the CSV files


@dataclass(frozen=True)
class NumberTable:
    """A CSV file whose first column is the time and whose others are numbers.

    Attributes:
        where: for messages, the file.
        values: (rows, columns); read-only.
        minutes: length of an interval.
        first: date of row 0.
        highest, spread: (columns) highest value and standard deviation over all rows.
    """

    where: str
    values: Array
    minutes: int
    first: date
    highest: Array
    spread: Array


def read_numbers(path: Path) -> NumberTable:
    """A table by its path; a file that has not changed is read once in a process and parsed once on a machine.

    Raises:
        ValueError: no table, no times, or cells that are not finite numbers.
    """
    about = path.stat()
    return _read(path.resolve(), about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=12)
def _read(path: Path, size: int, changed: int) -> NumberTable:
    where = f"profile file {str(path)!r}"
    times = _first_times(where, path)
    minutes = round((times[1] - times[0]) / timedelta(minutes=1))
    if minutes < 1 or 1440 % minutes or times[1] - times[0] != timedelta(minutes=minutes):
        raise ValueError(f"{where}: its first rows are {times[1] - times[0]} apart; whole minutes must divide a day")
    kept, key = path.parent / _KEPT / path.stem, {"size": size, "changed": changed}
    found = _kept(kept, key)
    if found is None:
        values = _parsed(where, path)
        found = values, values.max(axis=0), values.std(axis=0)
        _keep(kept, key, *found)
    return NumberTable(where, found[0], minutes, times[0].date(), found[1], found[2])


def _first_times(where: str, path: Path) -> list[datetime]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        rows = [file.readline().split(",")[0].strip().strip('"') for _ in range(3)]
    try:
        return [datetime.fromisoformat(text) for text in rows[1:]]
    except ValueError:
        raise ValueError(
            f"{where}: rows 2 and 3 must begin with times such as 2012-01-01 00:03:00; got {rows[1:]}"
        ) from None


def _parsed(where: str, path: Path) -> Array:
    """(rows, columns) the numbers."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        names = file.readline().split(",")
        try:
            values = np.loadtxt(file, delimiter=",", usecols=range(1, len(names)), ndmin=2)
        except ValueError as error:
            what = str(error).rstrip(".")
            raise ValueError(f"{where}: {what}; rows count from 0 after the header, columns from 1") from None
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise ValueError(f"{where}: column {names[1 + column].strip()!r} has no number in row {row + 2}; fill it")
    return values


def _kept(kept: Path, key: dict[str, int]) -> tuple[Array, Array, Array] | None:
    """Values, highest and spread that were kept of the file, if they are of its present content."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        about = json.loads(kept.with_suffix(".json").read_text(encoding="utf-8"))
        if about.pop("of") == key:
            mapped: Any = np.load(kept.with_suffix(".npy"), mmap_mode="r")
            return mapped, np.array(about["highest"]), np.array(about["spread"])
    return None


def _keep(kept: Path, key: dict[str, int], values: Array, highest: Array, spread: Array) -> None:
    """Keep the values; a folder that cannot be written means that they are parsed again next time."""
    about = {"of": key, "highest": highest.tolist(), "spread": spread.tolist()}
    with contextlib.suppress(OSError):
        kept.parent.mkdir(exist_ok=True)
        with replacing(kept.with_suffix(".npy")) as part, part.open("wb") as file:
            np.save(file, values)
        write_text(kept.with_suffix(".json"), json.dumps(about))

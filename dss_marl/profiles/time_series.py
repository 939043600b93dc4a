"""Time series: measured series, read from a file and checked."""

from __future__ import annotations

import csv
import io
import itertools
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from dss_marl._assets import read_text
from dss_marl.grid.state import Array
from dss_marl.profiles.calendar import NO_DATES, Calendar, standard_times

_TIMES = ("time", "timestamp", "datetime", "date")


@dataclass(frozen=True)
class TimeSeries:
    """Whole days of measured series.

    Attributes:
        where: for messages, the file.
        names: column names.
        values: (rows, columns) at constant intervals from midnight on.
        minutes: length of an interval.
        calendar: dates of the days.
    """

    where: str
    names: tuple[str, ...]
    values: Array
    minutes: int
    calendar: Calendar = NO_DATES

    @property
    def days(self) -> int:
        """Number of whole days."""
        return len(self.values) * self.minutes // 1440


@dataclass(frozen=True)
class Clock:
    """How the times of a table are meant.

    Attributes:
        stamp: whether a time is the "start" or the "end" of its interval.
        zone: of the place, such as Europe/Berlin, where times are those of the wall clock; see ``standard_times``.
        minutes: length of an interval if there is no time column; the first row is then at midnight.
    """

    stamp: str = "start"
    zone: str = ""
    minutes: int | None = None


def cut_table(
    where: str, columns: Mapping[str, Sequence[object]], clock: Clock = Clock(), fill_h: float = 0.0
) -> TimeSeries:
    """Whole days from named columns, one of which may be the time.

    Args:
        where: for messages, the file.
        columns: name to values, all of equal length; a column ``time`` holds datetimes or ISO strings.
        clock: how its times are meant.
        fill_h: gaps up to this length are interpolated linearly [h].

    Raises:
        ValueError: neither time nor interval, irregular times, cells that are not numbers, or less than a whole day.
    """
    known = [name for name in columns if name.strip().lower() in _TIMES]
    names = tuple(name for name in columns if name not in known)
    values = np.column_stack([_numbers(where, name, columns[name]) for name in names]) if names else np.zeros((0, 0))
    if not len(values):
        raise ValueError(
            f"{where} holds no values; it needs a header with a time column and names of loads, and rows of numbers"
        )
    minutes, calendar = clock.minutes, NO_DATES
    if known:
        times = [_time(where, row, text) for row, text in enumerate(columns[known[0]], start=2)]
        times, told = standard_times(where, times, clock.zone)
        minutes, missing = _even(where, times, fill_h)
        first = times[0] - timedelta(minutes=minutes if clock.stamp == "end" else 0)
        _warn_of_end_stamps(where, times, minutes, clock.stamp)
        values = np.insert(values, np.array(missing, np.int64), np.nan, axis=0)
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
        to_midnight = (midnight - first) % timedelta(1)
        values = values[round(to_midnight / timedelta(minutes=minutes)) :]
        calendar = Calendar((first + to_midnight).date(), clock=f"{told}, rows stamped at the {clock.stamp}")
    elif minutes is None:
        raise ValueError(f"{where} has no column 'time'; add one with ISO times, or give the interval as dt_h")
    if 1440 % minutes:
        raise ValueError(f"{where}: intervals of {minutes} minutes do not divide a day; resample, for instance to 15")
    whole = len(values) * minutes // 1440 * 1440 // minutes
    if not whole:
        raise ValueError(f"{where} holds less than a whole day, from midnight to midnight: {len(values)} rows")
    return TimeSeries(where, names, _filled(where, names, values[:whole], fill_h * 60 / minutes), minutes, calendar)


def _warn_of_end_stamps(where: str, times: Sequence[datetime], minutes: int, stamp: str) -> None:
    """Rows from one interval after midnight to midnight are most probably stamped at their end."""
    begins = times[0] - timedelta(minutes=minutes)
    if stamp == "start" and begins.time() == times[-1].time() == datetime.min.time():
        warnings.warn(
            f"{where} runs from {times[0].isoformat(' ')} to {times[-1].isoformat(' ')}, as tables do whose times are "
            "the end of their interval; if so, set stamp: end. As it stands, the day that begins on "
            f"{begins.date()} is left out",
            stacklevel=2,
        )


def read_table(path: Path, clock: Clock = Clock(), fill_h: float = 0.0) -> TimeSeries:
    """Whole days from a CSV (comma or semicolon) or parquet file; see ``cut_table``.

    Raises:
        ValueError: no such file, another format, or wrong content; says which column and row.
        ImportError: parquet without pyarrow.
    """
    where = f"profile file {str(path)!r}"
    if not path.is_file():
        raise ValueError(f"{where} does not exist; a relative path starts at the scenario's YAML file")
    if path.suffix.lower() == ".parquet":
        return cut_table(where, _parquet(path), clock, fill_h)
    if path.suffix.lower() not in (".csv", ".txt"):
        raise ValueError(f"{where}: unknown format {path.suffix!r}; known: .csv, .txt, .parquet")
    return cut_table(where, _csv(where, path), clock, fill_h)


def _csv(where: str, path: Path) -> dict[str, list[object]]:
    text = read_text(path, where)
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    except csv.Error as error:
        raise ValueError(f"{where} is no table: {error}") from None
    if not rows:
        raise ValueError(f"{where} is empty")
    names = [name.strip() for name in rows[0]]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise ValueError(f"{where} has several columns called {', '.join(map(repr, doubles))}; give each its own name")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise ValueError(f"{where}: row {number} has {len(row)} cells, the header {len(names)}")
    return {name: [row[k] for row in rows[1:]] for k, name in enumerate(names)}


def _parquet(path: Path) -> dict[str, list[object]]:
    try:
        from pyarrow import parquet  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise ImportError("reading parquet needs pyarrow: pip install pyarrow; or save the table as .csv") from error
    return dict(parquet.read_table(path).to_pydict())


def _numbers(where: str, name: str, cells: Sequence[object]) -> Array:
    """(rows) the cells as numbers; empty ones are NaN."""
    try:
        return np.array([np.nan if cell is None or cell == "" else cell for cell in cells], dtype=float)
    except (TypeError, ValueError):
        for row, cell in enumerate(cells, start=2):
            try:
                float(cell or "nan")  # type: ignore[arg-type]
            except (TypeError, ValueError):
                hint = "; use decimal points, not commas" if "," in str(cell) else ""
                raise ValueError(f"{where}: column {name!r}, row {row}: {cell!r} is not a number{hint}") from None
        raise


def _time(where: str, row: int, cell: object) -> datetime:
    if isinstance(cell, datetime):
        return cell
    text = str(cell).strip().replace("Z", "+00:00")
    end_of_day = re.sub(r"(?<=[ T])24:00(:00)?", "00:00", text)  # ISO 8601 allows it, Python does not
    try:
        return datetime.fromisoformat(end_of_day) + timedelta(days=int(end_of_day != text))
    except ValueError:
        raise ValueError(f"{where}: row {row}: {cell!r} is not a time; write 2024-01-31 13:45") from None


def _even(where: str, times: Sequence[datetime], fill_h: float) -> tuple[int, list[int]]:
    """Length of the interval [min], and the index of the row that follows each missing one."""
    steps = [(b - a) / timedelta(minutes=1) for a, b in itertools.pairwise(times)]
    if not steps:
        raise ValueError(f"{where} holds a single row; a day needs more")
    usual = float(np.median(steps))
    if usual < 1 or usual != round(usual):
        raise ValueError(f"{where}: rows are {usual:g} minutes apart; profiles need whole minutes, 1 or more")
    missing: list[int] = []
    for row, step in enumerate(steps):
        if step == usual:
            continue
        between = f"between {times[row].isoformat(' ')} and {times[row + 1].isoformat(' ')}"
        if step <= 0 or step % usual:
            raise ValueError(
                f"{where}: times advance by {step:g} minutes {between}, not {usual:g}; "
                "use standard time or UTC, without the repeated hour of daylight saving time, or name the time_zone"
            )
        if step - usual > 60 * fill_h:
            raise ValueError(
                f"{where}: {step / usual - 1:g} rows are missing {between}; fill them, or set fill_h to allow it"
            )
        missing += [row + 1] * (round(step / usual) - 1)
    return round(usual), missing


def _filled(where: str, names: Sequence[str], values: Array, most: float) -> Array:
    """The values with gaps of at most ``most`` rows interpolated linearly."""
    values = values.copy()
    for column, name in enumerate(names):
        gap = ~np.isfinite(values[:, column])
        if not gap.any():
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[False], gap, [False]]).astype(int)))
        longest = int(np.diff(edges)[::2].max())
        if longest > most or gap[0] or gap[-1]:
            row = int(np.flatnonzero(gap)[0])
            raise ValueError(
                f"{where}: column {name!r} has {gap.sum()} empty cells, the first in row {row + 1} after midnight, "
                f"up to {longest} in a row; fill them, or set fill_h to allow it"
            )
        rows = np.arange(len(values))
        values[gap, column] = np.interp(rows[gap], rows[~gap], values[~gap, column])
    return values

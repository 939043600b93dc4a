"""What pictures read of a recording: one day of it, and the scenario that it was played in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np

from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task, build_task
from dss_marl.grid.state import Array, IntArray

_CLASSES = ("capacitor", "generator", "grid_forming", "line", "load", "pvsystem", "reactor", "storage", "transformer")


class RecordedColumn(Protocol):
    """What a column of a table is; as ``experiments.recording.Column``."""

    @property
    def name(self) -> str:
        """Unique within its table."""

    @property
    def unit(self) -> str:
        """Of its values."""

    @property
    def kind(self) -> str:
        """Of the element."""


class RecordedTable(Protocol):
    """One quantity over time; as ``experiments.recording.Table``."""

    @property
    def columns(self) -> Sequence[RecordedColumn]:
        """(n) what its columns are."""

    @property
    def values(self) -> np.ndarray:
        """(T, n)."""


class RecordedDays(Protocol):
    """Days as operated under one controller; what ``dss_marl.record`` returns."""

    @property
    def scenario(self) -> Scenario:
        """As played."""

    @property
    def controller(self) -> str:
        """Its name."""

    @property
    def split(self) -> str:
        """Of the environment."""

    @property
    def days(self) -> tuple[int, ...]:
        """Numbers of the days."""

    @property
    def day(self) -> IntArray:
        """(T) day of each row."""

    @property
    def tables(self) -> Mapping[str, RecordedTable]:
        """Name to table."""

    @property
    def figures(self) -> tuple[Mapping[str, float], ...]:
        """Key figures of each day."""


class DayTables:
    """The tables of one day of a recording.

    Args:
        recording: from ``dss_marl.record``.
        day: its number; None: the first one recorded.

    Raises:
        ValueError: the day is not in the recording.
    """

    def __init__(self, recording: RecordedDays, day: int | None = None) -> None:
        number = recording.days[0] if day is None else day
        if number not in recording.days:
            known = ", ".join(map(str, recording.days[:8]))
            raise ValueError(f"the recording of {recording.controller!r} has no day {number}; it has {known}")
        self.recording, self.number = recording, number
        self.figures = recording.figures[recording.days.index(number)]
        self._rows = np.flatnonzero(recording.day == number)

    @property
    def scenario(self) -> Scenario:
        """As played."""
        return self.recording.scenario

    @cached_property
    def task(self) -> Task:
        """The scenario as played, built."""
        return build_task(self.scenario)

    @property
    def hours(self) -> Array:
        """(T + 1) start of each interval and end of the last one [h]; beyond 24 after midnight."""
        count = len(self._rows) + 1
        start: Array = self.scenario.start_hour + np.arange(count, dtype=float) * self.scenario.dt_h
        return start

    def has(self, table: str) -> bool:
        """Whether the recording has a table of this name."""
        return table in self.recording.tables

    def values(self, table: str) -> Array:
        """(T, n) the day's values of a table; (T, 0) where there is no such table."""
        if table not in self.recording.tables:
            return np.zeros((len(self._rows), 0))
        return np.asarray(self.recording.tables[table].values[self._rows], float)

    def columns(self, table: str) -> list[RecordedColumn]:
        """What the columns of a table are; none where there is no such table."""
        return list(self.recording.tables[table].columns) if self.has(table) else []

    def of_kind(self, table: str, kind: str) -> dict[str, Array]:
        """Element to its (T,) values, of the elements of one kind; named without OpenDSS's class."""
        columns, values = self.columns(table), self.values(table)
        return {plain_name(column.name): values[:, k] for k, column in enumerate(columns) if column.kind == kind}

    def named(self, table: str, name: str) -> Array:
        """(T,) the values of one column."""
        place = [column.name for column in self.columns(table)].index(name)
        return np.asarray(self.values(table)[:, place])

    def alive(self) -> Array:
        """(T, N) voltages of all nodes [pu], NaN where de-energised or unknown."""
        v = self.values("voltages")
        return np.where(v > 0, v, np.nan)

    def scored(self) -> Array:
        """(T, n) voltages of the scored nodes [pu], NaN where de-energised or unknown."""
        return self.alive()[:, np.sort(np.concatenate([zone.scored_nodes for zone in self.task.zones]))]


def plain_name(name: str) -> str:
    """The name of an element without OpenDSS's class: ``reg1a`` of ``transformer.reg1a``."""
    return name.partition(".")[2] if name.partition(".")[0] in _CLASSES else name

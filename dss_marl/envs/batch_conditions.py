"""BatchConditions: the conditions of several copies of a task, each on a day of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from dss_marl.envs.conditions import EpisodeConditions, faults_of
from dss_marl.envs.day_table import DayTable, day_and_row
from dss_marl.envs.faults import Fault
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints

Faults = tuple[Fault, ...]


class BatchConditions:
    """As EpisodeConditions, of B copies at once: steps are (B), everything else has a leading axis B.

    Args:
        task: whose days are played.
        table: of these days.
        copies: their number B.

    Attributes:
        table: of the days.
        numbers: (B) of the episode of each copy, see ``episode_number``; replaced, never written.
        place: (B) where the days are in the table, likewise.
        faults: of each copy.
    """

    def __init__(self, task: Task, table: DayTable, copies: int) -> None:
        self.task, self.table, self.scenario = task, table, task.scenario
        self.numbers: IntArray = np.full(copies, -1)
        self.place: IntArray = np.zeros(copies, np.int64)
        self.faults: list[Faults] = [()] * copies
        self._any_fault = False
        self.faults_of = lru_cache(1024)(self._faults_of)

    def _faults_of(self, number: int, branches: tuple[str, ...] | None) -> Faults:
        """The faults of an episode on a day; see EpisodeConditions.of_day."""
        return faults_of(self.task, number, branches)

    def begin(self, copies: IntArray, numbers: IntArray, faults: Sequence[Faults]) -> None:
        """Put some copies (b) into episodes on days (b) with faults (b)."""
        all_numbers, place = self.numbers.copy(), self.place.copy()
        place[copies] = self.table.places(numbers)
        all_numbers[copies] = numbers
        self.numbers = self.table.playing = all_numbers
        self.place = place
        if self._any_fault or any(faults):
            for b, own in zip(copies.tolist(), faults, strict=True):
                self.faults[b] = own
            self._any_fault = any(self.faults)

    def alone(self, copy: int) -> EpisodeConditions:
        """The conditions of one copy, which stay as they are when it starts another day."""
        day, row = day_and_row(int(self.numbers[copy]))
        today = EpisodeConditions.of_day(self.task, day, (), row)
        return replace(today, faults=self.faults[copy])

    def interval(self, step: IntArray) -> Interval:
        """See EpisodeConditions.interval."""
        scenario = self.scenario
        hour = (self.table.start_hour[self.place] + step * scenario.dt_h) % 24
        faulted = self._faulted(step) if self._any_fault else None
        return Interval(step, hour, scenario.dt_h, faulted, step == scenario.steps - 1)

    def _faulted(self, step: IntArray) -> BoolArray | None:
        """(B, N); None without any fault in these intervals."""
        result = np.zeros((len(step), len(self.task.feeder.nodes)), bool)
        for b, (own, now) in enumerate(zip(self.faults, step.tolist(), strict=True)):
            for fault in own:
                if fault.first <= now < fault.last:
                    result[b] |= fault.nodes
        return result if result.any() else None

    def injections_kw(self, step: IntArray) -> Array:
        """(B, J); see EpisodeConditions.injections_kw."""
        return Ahead(self.table, self.numbers, self.place, step).available()

    def setpoints(self, step: IntArray, present: Setpoints) -> Setpoints:
        """See EpisodeConditions.setpoints."""
        table = self.table
        row = self.place * table.kw.shape[1] + table.checked(step)
        kw, kvar = (values.reshape(-1, values.shape[-1]).take(row, axis=0) for values in (table.kw, table.kvar))
        return Setpoints(kw, kvar, present.tap.copy(), present.closed.copy())

    def protected(self, step: IntArray, present: Setpoints) -> Setpoints:
        """See EpisodeConditions.protected."""
        if not self._any_fault:
            return present
        after = present.closed.copy()
        for b, (own, now) in enumerate(zip(self.faults, step.tolist(), strict=True)):
            for fault in own:
                if fault.first == now:
                    after[b] &= ~fault.opened
        return replace(present, closed=after)

    def outlook(self, step: IntArray) -> Ahead:
        """What is known of these intervals and those after."""
        return Ahead(self.table, self.numbers, self.place, step)


@dataclass(frozen=True)
class Ahead:
    """The forecasts and prices of copies in their intervals, looked up in the table of days; see grid.Outlook.

    Attributes:
        table: of the days.
        numbers, place: (B) numbers of the days, and where they were in the table; () of a single copy.
        step: (B) of the episode, likewise.
    """

    table: DayTable
    numbers: IntArray
    place: IntArray
    step: IntArray

    def taken(self, rows: int | IntArray | BoolArray) -> Ahead:
        """See Outlook."""
        return Ahead(self.table, *(np.asarray(values[rows]) for values in (self.numbers, self.place, self.step)))

    def merged(self, other: Ahead, rows: BoolArray) -> Ahead:
        """See Outlook."""
        pairs = ((self.numbers, other.numbers), (self.place, other.place), (self.step, other.step))
        return Ahead(self.table, *(np.where(rows, two, one) for one, two in pairs))

    def forecast(self) -> Array:
        """See GridState.forecast."""
        table, place, step = self.table, self._present(), self.table.checked(self.step)
        if not table.factors.shape[2]:
            return table.kw[place, step][..., None, :]
        hours = np.arange(table.factors.shape[2])
        kw = table.kw[place[..., None], step[..., None] + hours]
        return np.asarray(kw * table.factors[place, step].take(table.group, axis=-1))

    def available(self) -> Array:
        """See GridState.available."""
        place = self._present()  # first, as it may replace the arrays of the table
        return self._rows(place, self.table.kw)

    def kept(self, name: str) -> np.ndarray:
        """See Outlook."""
        place = self._present()
        return self._rows(place, self.table.derived[name])

    def price(self) -> Array:
        """See GridState.price."""
        place = self._present()[..., None]
        hours = np.arange(self.table.price.shape[1] - self.table.rows + 1)
        return self.table.price[place, self.table.checked(self.step)[..., None] + hours]

    def _rows(self, place: IntArray, values: np.ndarray) -> np.ndarray:
        """(B, ...) the rows of an array of the table (S, R, ...)."""
        row = place * values.shape[1] + self.table.checked(self.step)
        return values.reshape(-1, *values.shape[2:]).take(row, axis=0)

    def _present(self) -> IntArray:
        """(B) where the days are now: one that has been forgotten since is generated again."""
        same = self.table.numbers[self.place] == self.numbers
        return self.place if same.all() else self.table.places(self.numbers)

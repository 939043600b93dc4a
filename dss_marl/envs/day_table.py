"""DayTable: the days of a task as arrays, each in memory once however many copies play it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from dss_marl.envs.conditions import EpisodeConditions
from dss_marl.envs.task import Task
from dss_marl.grid.copies import repeat_state
from dss_marl.grid.state import Array, GridState, IntArray

_ROWS = 1_000_000  # more than a day has intervals, and than there are days
MOST_BYTES = 512_000_000  # a year of 15-minute intervals of 800 injections; or of hourly ones of 7000
Derive = Callable[[GridState], np.ndarray]


def episode_number(day: int, first_row: int | None) -> int:
    """One number for a day and the row at which an episode starts on it; that of the day where this is not drawn."""
    return day if first_row is None else day + _ROWS * (1 + first_row)


def day_and_row(number: int) -> tuple[int, int | None]:
    """The day of an episode's number, and the row at which it starts; None: at the scenario's ``start_hour``."""
    return number % _ROWS, number // _ROWS - 1 if number >= _ROWS else None


def days_of(numbers: IntArray) -> IntArray:
    """(...) the days of the numbers of episodes."""
    return numbers % _ROWS


class DayTable:
    """Days by their number, generated when they are first played; those not played for the longest are forgotten.

    Where episodes start at random, a place holds one of them: a day from some row on, see ``episode_number``.

    Axes: S places of days, R rows of a day: the intervals of an episode, the one after it, and for the injections and
    prices those that forecasts reach.

    Args:
        task: whose days.
        start: device state (K) at the start of a day, by its number.
        state_size: K.
        precision: of the injections.
        most_bytes: beyond which days that no copy plays are forgotten.

    Attributes:
        rows: R without those that only forecasts reach: no step of an episode is as high.
        kw, kvar: (S, R, J) [kW, kvar].
        price: (S, R).
        factors: (S, R, H, 3) of forecasts, see Forecast; (S, R, 0, 3) if there are none.
        start: (S, K).
        start_hour: (S) time of day of row 0 [h].
        derived: (S, R, ...) further values by name, see ``derive``.
        numbers: (S) of the days; -1 where there is none.
        playing: numbers of the days that are not to be forgotten.
    """

    def __init__(
        self,
        task: Task,
        start: Callable[[int], Array],
        state_size: int,
        precision: Any = np.float64,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        scenario = task.scenario
        self._task, self._start_of, self._most = task, start, most_bytes
        self.rows, self._ahead = scenario.steps + 1, scenario.horizon - 1
        self._horizon = scenario.horizon if scenario.horizon > 1 else 0
        self._since = np.arange(self.rows) * scenario.dt_h
        injections = len(task.feeder.injections)
        long = self.rows + self._ahead
        self.kw, self.kvar = (np.zeros((0, long, injections), precision) for _ in range(2))
        self.price = np.zeros((0, long))
        self.factors = np.zeros((0, self.rows, self._horizon, 3))
        self.start = np.zeros((0, state_size))
        self.start_hour = np.zeros(0)
        self.group: IntArray = np.zeros(injections, np.int64)
        self.derived: dict[str, np.ndarray] = {}
        self._derive: dict[str, Derive] = {}
        self._places: OrderedDict[int, int] = OrderedDict()  # by number, those begun the longest ago first
        self.numbers: IntArray = np.zeros(0, np.int64)
        self.playing: IntArray = np.zeros(0, np.int64)

    def derive(self, name: str, of_day: Derive) -> None:
        """Keep further values of each day; ask for it before the first day is played.

        Args:
            name: their key in ``derived``.
            of_day: computes (R, ...) from the day's states (R, ...), in which everything is as at the start of the
                task but for step, hour, forecast and price.
        """
        made = of_day(self._states(self._task.sample.forecast[None], self._task.sample.price[None], [0], [0.0]))
        self._derive[name] = of_day
        self.derived[name] = np.zeros((0, self.rows, *made.shape[1:]), made.dtype)

    def places(self, numbers: IntArray) -> IntArray:
        """(...) where the days (...) are in the arrays, which are others if there was no room.

        Raises:
            ValueError: no such day.
        """
        wanted, which = np.unique(numbers, return_inverse=True)
        missing = [number for number in wanted.tolist() if number not in self._places]
        for number in wanted.tolist():
            if number in self._places:
                self._places.move_to_end(number)
        for number in missing:
            self._generate(number, {*wanted.tolist(), *self.playing.tolist()})
        found = np.array([self._places[number] for number in wanted.tolist()], np.int64)
        return found[which].reshape(numbers.shape)

    def checked(self, step: IntArray) -> IntArray:
        """The steps (...) again.

        Raises:
            IndexError: one lies beyond the episode, whose row would be another day's.
        """
        if step.size and int(step.max()) >= self.rows:
            raise IndexError(f"step {int(step.max())} lies beyond an episode's {self.rows - 1}")
        return step

    def _generate(self, number: int, kept: set[int]) -> None:
        of_day, row = day_and_row(number)
        today = EpisodeConditions.of_day(self._task, of_day, (), row)
        first, day = today.first_row, today.day
        own, long = slice(first, first + self.rows), slice(first, first + self.rows + self._ahead)
        start = self._start_of(number)
        values: dict[str, Any] = {"kw": day.kw[long], "kvar": day.kvar[long], "price": day.price[long], "start": start}
        values["start_hour"] = today.start_hour
        forecast = day.kw[own][:, None]
        if today.forecast is not None:
            values["factors"], self.group = today.forecast.factors[own], today.forecast.group
            forecast = np.array([today.forecast.kw(first + row) for row in range(self.rows)])
        price = np.array([day.price[first + row : first + row + self._ahead + 1] for row in range(self.rows)])
        states = self._states(forecast, price, range(self.rows), (today.start_hour + self._since) % 24)
        derived = {name: of_day(states) for name, of_day in self._derive.items()}
        place = self._free_place(kept)
        for name, rows in values.items():
            getattr(self, name)[place] = rows
        for name, rows in derived.items():
            self.derived[name][place] = rows
        self._places[number], self.numbers[place] = place, number

    def _states(self, forecast: Array, price: Array, steps: Any, hours: Any) -> GridState:
        """(R, ...) the states that ``derive`` describes."""
        changes: dict[str, Any] = {"step": np.array(steps), "hour": np.array(hours, float)}
        repeated = repeat_state(self._task.sample, len(changes["step"]))
        return replace(repeated, forecast=forecast, price=price, **changes)

    def _free_place(self, kept: set[int]) -> int:
        """A place for one more day; that of one not kept, if more would take too much memory."""
        used = len(self._places)
        if used == len(self.numbers) and (self._bytes() < self._most or all(n in kept for n in self._places)):
            self._grow(max(8, 2 * used))
        if used < len(self.numbers):
            taken = set(self._places.values())
            return next(place for place in range(len(self.numbers)) if place not in taken)
        oldest = next(number for number in self._places if number not in kept)
        return self._places.pop(oldest)

    def _bytes(self) -> int:
        """After another doubling."""
        arrays = (self.kw, self.kvar, self.price, self.factors, self.start, *self.derived.values())
        return 2 * sum(values.nbytes for values in arrays)

    def _grow(self, places: int) -> None:
        for name in ("kw", "kvar", "price", "factors", "start", "start_hour"):
            setattr(self, name, _longer(getattr(self, name), places))
        self.derived = {name: _longer(values, places) for name, values in self.derived.items()}
        grown = np.full(places, -1)
        grown[: len(self.numbers)] = self.numbers
        self.numbers = grown


def _longer(values: np.ndarray, rows: int) -> np.ndarray:
    grown = np.empty((rows, *values.shape[1:]), values.dtype)
    grown[: len(values)] = values
    return grown

"""TrialSimulator: what many joint actions or switch states would make of one interval of a running episode."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dss_marl.engines.base import BatchEngine
from dss_marl.envs.batch_simulator import BatchSimulator
from dss_marl.envs.by_copy import for_batches
from dss_marl.envs.conditions import EpisodeConditions
from dss_marl.envs.task import Task
from dss_marl.grid.copies import repeat_state, rows_of
from dss_marl.grid.state import Array, BoolArray, GridState, Interval, Setpoints


class Trials(NamedTuple):
    """Results of K trials.

    Attributes:
        before: (K, ...) the interval as observed.
        after: (K, ...) as operated; without meaning where the power flow fails.
        failed: (K) True there.
    """

    before: GridState
    after: GridState
    failed: BoolArray


class TrialSimulator(BatchSimulator):
    """As BatchSimulator, with all copies in the same interval of one episode, which the trials leave as it is.

    Args:
        task: of the episode; its own terms and features are called copy by copy.
        engine: solves up to as many trials at once as it has copies.
    """

    state_kind = GridState

    def __init__(self, task: Task, engine: BatchEngine) -> None:
        super().__init__(for_batches(task), engine)

    def trials(
        self,
        today: EpisodeConditions,
        now: GridState,
        joint_actions: Array | None = None,
        closed: BoolArray | None = None,
    ) -> Trials:
        """Operate the coming interval in several ways.

        Args:
            today: conditions of the episode.
            now: the coming interval as observed; one state, without leading axes.
            joint_actions: (K, F) with K at most the number of copies; None: all devices hold.
            closed: (K, S) states of the switches beforehand; None: as they are.
        """
        given = joint_actions if joint_actions is not None else closed
        if given is None:
            raise ValueError("trials differ in their joint actions or in their switches; got neither")
        count = len(given)
        if count > self.copies:
            raise ValueError(f"the engine solves up to {self.copies} trials at once; got {count}")
        self.conditions = _SharedConditions(today, self.copies)  # type: ignore[assignment]
        before = self._before(now, None if closed is None else self._filled(closed))
        requests = self.hold_action(before) if joint_actions is None else self._filled(joint_actions)
        wanted = np.arange(self.copies) < count
        self.resume(wanted)
        after = self.operate(before, requests)[0]
        own = slice(0, count)
        return Trials(rows_of(before, wanted), rows_of(after, wanted), ~self.running[own])

    def _before(self, now: GridState, closed: BoolArray | None) -> GridState:
        """The interval for all copies, with these switches (B, S) closed."""
        many = repeat_state(now, self.copies)
        points = many.setpoints
        if closed is not None:
            points = Setpoints(points.kw, points.kvar, points.tap, closed)
        interval = self._interval(np.full(self.copies, now.step))
        return many.replace(step=interval.step, hour=interval.hour, setpoints=points)

    def _filled(self, rows: Any) -> Any:
        """(B, ...) the rows (K, ...), the last one repeated for the copies that are not solved."""
        return rows[np.minimum(np.arange(self.copies), len(rows) - 1)]

    def _interval(self, step: Any) -> Interval:
        return self.conditions.interval(step)

    def _looked_up(self, step: Any) -> dict[str, Any]:
        today = self.conditions
        return {"forecast": today.forecast_kw(step), "price": today.price(step)}


class _SharedConditions:
    """The conditions of one episode for B copies in the same interval: steps are (B), all else has a leading axis B."""

    def __init__(self, today: EpisodeConditions, copies: int) -> None:
        self._today, self._copies = today, copies

    def _each(self, values: Any) -> Any:
        return np.broadcast_to(values, (self._copies, *values.shape))

    def interval(self, step: Any) -> Interval:
        one = self._today.interval(int(step[0]))
        faulted = None if one.faulted is None else self._each(one.faulted)
        return Interval(step, np.full(self._copies, one.hour), one.dt_h, faulted, one.last)

    def injections_kw(self, step: Any) -> Array:
        return np.asarray(self._each(self._today.injections_kw(int(step[0]))))

    def setpoints(self, step: Any, present: Setpoints) -> Setpoints:
        row, day = self._today.first_row + int(step[0]), self._today.day
        kw, kvar = (self._each(values[row]).copy() for values in (day.kw, day.kvar))
        return Setpoints(kw, kvar, present.tap.copy(), present.closed.copy())

    def forecast_kw(self, step: Any) -> Array:
        return np.asarray(self._each(self._today.forecast_kw(int(step[0]))))

    def price(self, step: Any) -> Array:
        return np.asarray(self._each(self._today.price(int(step[0]))))

"""EpisodeConditions: profiles, forecasts and faults of an episode, independent of its devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dss_marl.envs.faults import Fault, outage_faults, repaired_faults
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, Interval, Setpoints
from dss_marl.profiles import Day, Forecast


@dataclass(frozen=True)
class EpisodeConditions:
    """Load, PV and price of an episode, their forecasts, and its faults.

    Steps count from the start of the episode, rows from the day's midnight.

    Attributes:
        scenario: defines the start of the episode and the length of an interval.
        first_row: row of the day at which the episode starts.
        day: of the episode, and the first intervals of the next day.
        forecast: of that day; None if agents observe the coming interval only.
        faults: of the episode.
    """

    scenario: Scenario
    first_row: int
    day: Day
    forecast: Forecast | None
    faults: tuple[Fault, ...]

    @classmethod
    def of_day(
        cls, task: Task, number: int, faults: Sequence[str] | None, first_row: int | None = None
    ) -> EpisodeConditions:
        """Conditions of a day.

        Args:
            task: its profiles generate the day.
            number: of the day.
            faults: branches faulted throughout the episode, with ``repair_h`` of the scenario until their repair; None:
                the day's own outages, each for its duration.
            first_row: of the day, at which the episode starts; None: at the scenario's ``start_hour``.

        Raises:
            ValueError: no such day or branch, or no switch isolates a faulted branch from the source.
        """
        scenario, profiles = task.scenario, task.profiles
        first_row = round(scenario.start_hour / scenario.dt_h) if first_row is None else first_row
        beyond = max(0, first_row + scenario.steps + 1 - profiles.steps)
        forecast = profiles.forecast(number, scenario.horizon, beyond) if scenario.horizon > 1 else None
        day = profiles.day(number, max(1, beyond)) if forecast is None else forecast.day
        return cls(scenario, first_row, day, forecast, faults_of(task, number, faults))

    @property
    def start_hour(self) -> float:
        """Time of day at which the episode starts [h]."""
        return start_hour_of(self.scenario, self.first_row)

    def interval(self, step: int) -> Interval:
        """Time of an interval, and the nodes faulted in it."""
        scenario = self.scenario
        hour = (self.start_hour + step * scenario.dt_h) % 24
        faulted = [fault.nodes for fault in self.faults if fault.first <= step < fault.last]
        nodes = np.logical_or.reduce(faulted) if faulted else None
        return Interval(step, hour, scenario.dt_h, nodes, step == scenario.steps - 1)

    def injections_kw(self, step: int) -> Array:
        """(J) injections of an interval before any control [kW]; a row of the day, read-only."""
        return self.day.kw[self.first_row + step]

    def setpoints(self, step: int, present: Setpoints) -> Setpoints:
        """Set points with the interval's injections before control; taps and switches unchanged."""
        row = self.first_row + step
        return Setpoints(self.day.kw[row].copy(), self.day.kvar[row].copy(), present.tap.copy(), present.closed.copy())

    def protected(self, step: int, present: Setpoints) -> Setpoints:
        """Taps and switches after protection has cleared the faults that occur in this step."""
        if not self.faults:
            return present
        opened = [fault.opened for fault in self.faults if fault.first == step]
        return replace(present, closed=present.closed & ~np.logical_or.reduce(opened)) if opened else present

    def forecast_kw(self, step: int) -> Array:
        """(H, J) forecast of injections before control [kW]; row 0 is this interval."""
        row = self.first_row + step
        return self.day.kw[row : row + 1] if self.forecast is None else self.forecast.kw(row)

    def price(self, step: int) -> Array:
        """(H) energy price in the same intervals [1/kWh]."""
        row = self.first_row + step
        return self.day.price[row : row + self.scenario.horizon]


def start_hour_of(scenario: Scenario, first_row: int) -> float:
    """Time of day at which a row of the day begins [h]; the scenario's own ``start_hour`` to the last bit."""
    own = first_row == round(scenario.start_hour / scenario.dt_h)
    return scenario.start_hour if own else first_row * scenario.dt_h


def faults_of(task: Task, number: int, branches: Sequence[str] | None) -> tuple[Fault, ...]:
    """The faults of an episode on a day; see EpisodeConditions.of_day."""
    if branches is None:
        outages = task.profiles.outages(number)
        return outage_faults(outages, task.scenario, task.feeder, task.topology) if outages else ()
    rng = task.profiles.rng(number, "repair")
    return repaired_faults(branches, task.scenario, task.feeder, task.topology, rng)

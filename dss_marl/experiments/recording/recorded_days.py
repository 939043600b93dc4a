"""RecordedDays: what a recording holds, which exports read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np

from dss_marl.envs.scenario import Scenario
from dss_marl.experiments.recording.table import Table
from dss_marl.grid.state import Array, IntArray


@dataclass(frozen=True)
class RecordedDays:
    """Days as operated under one controller; Recording adds how they are read and written.

    Attributes:
        scenario: as played.
        controller: its name.
        split: of the environment.
        days: numbers of the days, in the order played.
        day, step: (T) day and number of the interval of each row.
        hour: (T) time of day at the start of the interval [h], 0 to 24.
        dates: of ``days``; None where the profiles have no calendar, as generated ones.
        tables: name to table, see ``docs/guide/data.md``.
        figures: key figures of each day, as ``dss-marl evaluate`` prints them.
    """

    scenario: Scenario
    controller: str
    split: str
    days: tuple[int, ...]
    day: IntArray
    step: IntArray
    hour: Array
    dates: tuple[date | None, ...]
    tables: Mapping[str, Table]
    figures: tuple[Mapping[str, float], ...]

    def times(self) -> dict[str, np.ndarray]:
        """Column name to (T) values that say when: day, date where it is known, step, hour."""
        if None in self.dates:
            return {"day": self.day, "step": self.step, "hour": self.hour}
        dates = {day: str(one) for day, one in zip(self.days, self.dates, strict=True)}
        known = np.array([dates[day] for day in self.day.tolist()])
        return {"day": self.day, "date": known, "step": self.step, "hour": self.hour}

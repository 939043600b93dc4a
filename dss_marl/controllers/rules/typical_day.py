"""TypicalDay: what price, load and sun are like by the time of day, from days that an operator has seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.grid.state import Array
from dss_marl.profiles.splits import spread_days

_DAYS = 24  # number of training days to average


class TypicalDay(NamedTuple):
    """A mean day of the training split, by the interval of the day from midnight.

    Attributes:
        price: (T) of energy.
        load_kw: (T) of the whole feeder, before control [kW].
        sun_kw: (T) available power of all inverters [kW].
    """

    price: Array
    load_kw: Array
    sun_kw: Array


def mean_day(task: Task) -> TypicalDay:
    """Mean of some training days, which an operator knows, unlike the day in operation."""
    profiles, loads = task.profiles, task.feeder.loads
    days = [profiles.day(day, 0) for day in spread_days(profiles.days("train"), _DAYS)]
    price = np.mean([day.price for day in days], axis=0)
    panels = [j for j, row in enumerate(task.feeder.injections) if row.kind == "inverter"]
    load_kw, sun_kw = (np.mean([day.kw[:, rows].sum(-1) for day in days], axis=0) for rows in (loads, panels))
    return TypicalDay(price, -load_kw, sun_kw)


def intervals_ahead(task: Task, step: int, count: int) -> Array:
    """(count) interval of the day, from midnight, of step ``step`` and the following ones."""
    first = round(task.scenario.start_hour / task.scenario.dt_h)
    return np.asarray((first + step + np.arange(count)) % task.profiles.steps)

"""TypicalDay: mean price, load and PV by time of day, from past days."""

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
        pv_kw: (T) available power of all inverters [kW].
    """

    price: Array
    load_kw: Array
    pv_kw: Array


def mean_day(task: Task) -> TypicalDay:
    """Mean of some training days, which are known to an operator, unlike the day in operation."""
    profiles, loads = task.profiles, task.feeder.loads
    days = [profiles.day(day, 0) for day in spread_days(profiles.days("train"), _DAYS)]
    price = np.mean([day.price for day in days], axis=0)
    pv_units = [j for j, row in enumerate(task.feeder.injections) if row.kind == "inverter"]
    load_kw, pv_kw = (np.mean([day.kw[:, rows].sum(-1) for day in days], axis=0) for rows in (loads, pv_units))
    return TypicalDay(price, -load_kw, pv_kw)


def intervals_ahead(task: Task, step: int, count: int) -> Array:
    """(count) interval of the day, from midnight, of step ``step`` and the following ones."""
    first = round(task.scenario.start_hour / task.scenario.dt_h)
    return np.asarray((first + step + np.arange(count)) % task.profiles.steps)

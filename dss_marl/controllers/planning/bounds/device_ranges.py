"""Ranges of devices: the kW and kvar that their actions reach in an interval, whatever the grid does."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from dss_marl.devices import Interval
from dss_marl.envs.conditions import EpisodeConditions
from dss_marl.envs.task import Task
from dss_marl.grid.copies import repeat_setpoints
from dss_marl.grid.state import Array, Setpoints

_VALUES = (-1.0, 0.0, 1.0)  # of each entry; at 0 of the others, an entry reaches farthest


def device_range(group: Any, state: Array, before: Setpoints, interval: Interval) -> tuple[Array, Array]:
    """(2, D) lowest and highest kW and kvar of each device over all of its actions.

    Args:
        group: with ``injections``, and set points that follow from action, state and interval alone.
        state: (D, K) of the devices.
        before: set points of the interval before control.
        interval: the time step.
    """
    entries = np.array(list(product(_VALUES, repeat=len(group.action_labels))))
    points = repeat_setpoints(before, len(entries))
    group.act(np.repeat(entries[:, None], group.size, 1), np.repeat(state[None], len(entries), 0), points, interval)
    reached = np.stack([points.kw[:, group.injections], points.kvar[:, group.injections]], 1)
    return reached.min(0), reached.max(0)


def day_ranges(task: Task, day: int) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Interval after interval: (J) kW and kvar of all injections but the units, and (2, D) range of kW and kvar.

    Args:
        task: with one group of devices that have no memory.
        day: of the year.
    """
    group: Any = task.device_groups[0]
    today, state = EpisodeConditions.of_day(task, day, ()), group.initial()
    for step in range(task.scenario.steps):
        before = today.setpoints(step, task.start)
        low, high = device_range(group, state, before, today.interval(step))
        kw, kvar = before.kw.copy(), before.kvar.copy()
        kw[group.injections] = kvar[group.injections] = 0.0
        yield kw, kvar, low, high

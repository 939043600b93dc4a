"""Bound of a scenario's returns on its test days, where a cheap relaxation has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import process_time
from typing import NamedTuple

import numpy as np

from dss_marl.controllers.planning.bounds import bound_of
from dss_marl.envs.task import Task

AFFORDABLE_S = 60.0  # of computing, up to which all days get a bound


class DayBounds(NamedTuple):
    """What no controller exceeds.

    Attributes:
        name: of the relaxation.
        says: what it leaves out.
        returns: day to the bound of the team return.
    """

    name: str
    says: str
    returns: dict[int, float]

    def gap(self, reference: Mapping[int, float], zero: Mapping[int, float]) -> float:
        """How far the reference controller may be from the optimum, as a share of what can be won at most.

        Args:
            reference, zero: day to return of the controllers that score 1 and 0.
        """
        days = list(self.returns)
        top, one, low = (np.mean([x[day] for day in days]) for x in (self.returns, reference, zero))
        return float((top - one) / (top - low)) if top > low else float("nan")


def day_bounds(task: Task, few: Sequence[int], days: Sequence[int]) -> DayBounds | None:
    """The bounds of all days, of the few days where all would take long; None where no relaxation fits.

    Args:
        task: of the scenario.
        few, days: some of the days, and all.
    """
    try:
        bound = bound_of(task)
        started = process_time()
        found = {few[0]: bound.day_return(task, few[0])}
        cheap = (process_time() - started) * len(days) <= AFFORDABLE_S
        for day in days if cheap else few:
            found[day] = found[day] if day in found else bound.day_return(task, day)
    except (ValueError, ImportError):
        return None
    return DayBounds(bound.name, bound.says, dict(sorted(found.items())))

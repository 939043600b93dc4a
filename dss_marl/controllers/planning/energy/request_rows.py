"""Rows of the day program for what a flexibility request misses, and the peak that a demand charge bills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.devices import DemandMeters, FlexibilityRequests
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, GridState
from dss_marl.mdp.rewards import peak_increase, unserved, unserved_device_energy


@dataclass(frozen=True)
class HingeTerms:
    """Hinge penalties: price times the sum, or the maximum, of max(value + slopes change, 0).

    Attributes:
        value: (R) at the point.
        slopes: (R, m) sensitivities to the columns.
        price: (R) of each; only the first one of a group applies.
        highest: True if only the highest violation is penalised.
    """

    value: Array
    slopes: Array
    price: Array
    highest: bool = False


class RequestRows:
    """What the import misses of the requests of a task; none if it has no such device.

    Args:
        task: the task.
    """

    def __init__(self, task: Task) -> None:
        self._dt_h, first = task.scenario.dt_h, 0
        self._weight = task.reward_model.weight(unserved_device_energy, unserved) / 1000
        self._group: FlexibilityRequests | None = None
        for group in task.device_groups:
            size = group.size * group.state_size
            if isinstance(group, FlexibilityRequests) and self._weight:
                self._group, self._part = group, slice(first, first + size)
            first += size

    def rows(self, after: GridState, drawn: Array, slopes: Array) -> tuple[HingeTerms, ...]:
        """The import beyond either side of the tolerated range.

        Args:
            after: an interval as operated, with its request.
            drawn: (2) import [kW, kvar].
            slopes: (2, m) its sensitivity to the columns.
        """
        group = self._group
        if group is None:
            return ()
        active, kw, kvar = group.targets(after.device_state[self._part].reshape(group.size, -1))[0]
        if not active:
            return ()
        target, tolerance = np.array([kw, kvar]), np.array([group.tolerance_kw[0], group.tolerance_kvar[0]])
        value = np.concatenate([drawn - target, target - drawn]) - np.tile(tolerance, 2)
        price = self._weight * self._dt_h * np.tile([1.0, group.kvar_weight[0]], 2)
        return (HingeTerms(value, np.concatenate([slopes, -slopes]), price),)


def billed_peak(task: Task) -> tuple[float, float]:
    """The demand that is billed in any case [kW], and the price of each kW above it; (0, 0) without a demand meter."""
    for group in task.device_groups:
        if isinstance(group, DemandMeters):
            return float(group.floor_kw[0]), task.reward_model.weight(peak_increase) / 1000
    return 0.0, 0.0

"""Devices that follow the voltage, as the slope of the reward needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dss_marl.devices import DeviceGroup
from dss_marl.grid.solution_slopes import SolutionSlopes
from dss_marl.grid.state import Array, IntArray, Solution


@dataclass(frozen=True)
class Followers:
    """All devices of a task that follow the voltage, V of them.

    Attributes:
        places: (V) row of each among the devices of the task.
        rows: (V) index of each in Feeder.injections.
        weights: (V, N) of the nodes in the mean voltage that each follows.
        count: number D of all devices.
    """

    places: IntArray
    rows: IntArray
    weights: Array
    count: int

    @classmethod
    def of(cls, groups: Sequence[DeviceGroup], nodes: int) -> Followers | None:
        """Those of device groups, on a feeder with so many nodes; None if there is none."""
        places, rows, weights, first = [], [], [], 0
        for group in groups:
            if group.voltage_dependent:
                follower: Any = group  # which has what DeviceGroup.settle says
                places.append(first + np.arange(group.size))
                rows.append(follower.injections)
                own = np.zeros((group.size, nodes))
                np.add.at(own, (np.arange(group.size)[:, None], follower.places.nodes), follower.places.weights)
                weights.append(own)
            first += group.size
        if not places:
            return None
        return cls(np.concatenate(places), np.concatenate(rows), np.concatenate(weights), first)

    def responding(self, by_kw: Array, by_kvar: Array) -> IntArray:
        """(v) those that respond in any state, by the slopes (..., V) of their set points by their voltage."""
        moves = (by_kw != 0) | (by_kvar != 0)
        return np.flatnonzero(moves.reshape(-1, moves.shape[-1]).any(axis=0))

    def voltage(self, follower: int, solution: Solution, branches: int) -> SolutionSlopes:
        """Slopes of the voltage that one of them follows, on a feeder with so many branches."""
        slopes = SolutionSlopes.zeros(solution, branches)
        slopes.v_pu[...] = self.weights[follower]
        return slopes

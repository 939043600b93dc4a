"""What the models of all kinds of device share, and what they know of the day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from dss_marl.controllers.optimization.sparse_qp import SparseQP
from dss_marl.devices import DeviceGroup
from dss_marl.grid.state import Array, IntArray, Setpoints

_STEP = 1e-4  # step of an entry for derivatives of formulas


@dataclass(frozen=True)
class InjectionColumns:
    """Directions of injection changes, scaled to about their ratings.

    Attributes:
        injection: (m) index of each in the Feeder's injections.
        kw, kvar: (T, m) change per unit, + into the grid.
    """

    injection: IntArray
    kw: Array
    kvar: Array


@dataclass(frozen=True)
class DayOutlook:
    """Data of a day program.

    Attributes:
        setpoints: (T, ...) of all intervals before control.
        dt_h: length of an interval [h].
        stored, unmet, through: team reward per kWh stored at the end of the day, undelivered, or of throughput.
        converter: (T) price of 1 kW of converter losses over each interval.
    """

    setpoints: Setpoints
    dt_h: float
    stored: float
    unmet: float
    through: float
    converter: Array

    @property
    def steps(self) -> int:
        """Number of intervals T."""
        return len(self.setpoints.kw)


class DeviceModel:
    """Devices of one kind. The decision variables are their entries (T, n), each affecting its own device only.

    Attributes:
        columns: the affected injections.
        low, high: (T, n) bounds of the entries.
    """

    def __init__(self, group: DeviceGroup, device_state: Array, outlook: DayOutlook) -> None:
        self.outlook, self.device_state, self.size = outlook, device_state, group.size
        self.width = len(group.action_labels)
        self.act_every = np.ones(group.size, np.int64) if group.act_every is None else group.act_every
        shape = (outlook.steps, group.size * self.width)
        self.low, self.high = np.full(shape, -1.0), np.ones(shape)
        self.columns = self._columns()

    def _columns(self) -> InjectionColumns:
        raise NotImplementedError

    def start(self, entries: Array) -> Array:
        """(T, n) initial entries, given those of uncontrolled devices (T, n)."""
        return entries

    def idle(self) -> Array:
        """(T, n) entries with the lowest power."""
        return np.clip(np.zeros(self.low.shape), self.low, self.high)

    def values(self, entries: Array) -> Array:
        """(T, m) column values for entries (T, n)."""
        raise NotImplementedError

    def slopes(self, entries: Array) -> Any:
        """(T m, T n) sparse Jacobian of the column values at entries (T, n)."""
        n, m = entries.shape[1], len(self.columns.injection)
        rows, places, slopes = [], [], []
        for a in range(self.width):
            own = np.arange(a, n, self.width)
            up, down = entries.copy(), entries.copy()
            up[:, own] = np.minimum(up[:, own] + _STEP, self.high[:, own])
            down[:, own] = np.maximum(down[:, own] - _STEP, self.low[:, own])
            apart = np.maximum(up[:, own] - down[:, own], 1e-12)[:, self._device]
            slope = (self.values(up) - self.values(down)) / apart
            step, column = np.nonzero(slope)
            rows.append(step * m + column)
            places.append(step * n + self._device[column] * self.width + a)
            slopes.append(slope[step, column])
        size = (self.outlook.steps * m, self.outlook.steps * n)
        return sp.csr_matrix((np.concatenate(slopes), (np.concatenate(rows), np.concatenate(places))), shape=size)

    @property
    def _device(self) -> IntArray:
        """(m) the device of each column."""
        raise NotImplementedError

    def add_coupling(self, program: SparseQP, entry: IntArray, entries: Array) -> None:
        """What holds between intervals, and what the stores are worth.

        Args:
            program: to extend.
            entry: (T, n) variables of the entries.
            entries: (T, n) expansion point.
        """
        for step in range(1, self.outlook.steps):
            waits = np.repeat(step % self.act_every != 0, self.width)
            if waits.any():
                now, before = entry[step, waits], entry[step - 1, waits]
                row, zero = np.arange(len(now)), np.zeros(len(now))
                ones = np.ones(len(now))
                program.add_rows(np.r_[row, row], np.r_[now, before], np.r_[ones, -ones], zero, zero)

    def lift_bans(self) -> None:
        """Forget what ``is_impossible`` forbade."""

    def is_impossible(self, solution: Array) -> bool:
        """Whether a program's solution is infeasible for the devices; the next ``add_coupling`` excludes it."""
        return False

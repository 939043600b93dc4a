"""Flexible loads, whose day is simulated."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from dss_marl.controllers.optimization.sparse_qp import SparseQP
from dss_marl.controllers.planning.energy.device_models.base import DayOutlook, DeviceModel, InjectionColumns
from dss_marl.devices import FlexibleLoads
from dss_marl.grid.state import Array, IntArray, Interval, Setpoints

_SHED = 0.02  # of an entry, for derivatives of flexible loads


class FlexibleLoadModel(DeviceModel):
    """Flexible loads with the payback of the device model itself.

    Their day needs no power flow, so it is simulated once per interval with a small additional shedding.
    """

    def __init__(self, group: FlexibleLoads, device_state: Array, outlook: DayOutlook) -> None:
        self.group = group
        super().__init__(group, device_state, outlook)

    @property
    def _device(self) -> IntArray:
        return np.arange(self.size)

    def _columns(self) -> InjectionColumns:
        own, before = self.group.injections, self.outlook.setpoints
        kw, kvar = before.kw[:, own], before.kvar[:, own]
        unit = np.maximum(np.abs(kw).max(axis=0), 1e-6)
        ratio = np.divide(kvar, kw, out=np.zeros_like(kw), where=kw != 0)
        return InjectionColumns(own, np.tile(unit, (len(kw), 1)), unit * ratio)  # + is a load reduction

    def idle(self) -> Array:
        """See DeviceModel.idle: all is shed."""
        return self.high.copy()

    def values(self, entries: Array) -> Array:
        """See DeviceModel.values."""
        return self._simulate(entries[None])[0][0] / self.columns.kw

    def _simulate(self, entries: Array) -> tuple[Array, Array]:
        """(B, T, D) load, negative [kW], and (B, D) value of the day apart from the grid, for entries (B, T, D)."""
        group, outlook, before = self.group, self.outlook, self.outlook.setpoints
        count, steps = len(entries), outlook.steps
        device_state = np.broadcast_to(self.device_state, (count, *self.device_state.shape)).copy()
        kw, worth = np.zeros(entries.shape), -outlook.stored * group.stored_kwh(device_state)
        for step in range(steps):
            interval = Interval(step, 0.0, outlook.dt_h)
            setpoints = Setpoints(
                np.tile(before.kw[step], (count, 1)), np.tile(before.kvar[step], (count, 1)), before.tap, before.closed
            )
            waits = (step % self.act_every != 0)[:, None]
            asked = np.where(waits, group.hold_action(device_state, setpoints, interval), entries[:, step, :, None])
            after, _ = group.act(asked, device_state, setpoints, interval)
            worth = worth - outlook.unmet * group.unmet_kwh(device_state, after, interval)
            kw[:, step], device_state = setpoints.kw[:, group.injections], after
        return kw, worth + outlook.stored * group.stored_kwh(device_state)

    def _differences(self, entries: Array) -> tuple[Array, Array]:
        """(T, T, D) derivative of the kW in each interval, and (T, D) of the day's value, by each interval's entry."""
        steps = self.outlook.steps
        way = np.where(entries <= 0, _SHED, -_SHED)
        tried = np.repeat(entries[None], steps + 1, axis=0)
        tried[np.arange(steps), np.arange(steps)] += way
        kw, worth = self._simulate(tried)
        return (kw[:-1] - kw[-1]) / way[:, None], (worth[:-1] - worth[-1]) / way

    def slopes(self, entries: Array) -> Any:
        """See DeviceModel.slopes."""
        kw, self._worth = self._differences(entries)
        asked, step, device = np.nonzero(kw)
        slope = kw[asked, step, device] / self.columns.kw[step, device]
        size = entries.size
        return sp.csr_matrix((slope, (step * self.size + device, asked * self.size + device)), shape=(size, size))

    def add_coupling(self, program: SparseQP, entry: IntArray, entries: Array) -> None:
        """See DeviceModel.add_coupling: what is shed for good, and what is owed at the end, as around the entries."""
        super().add_coupling(program, entry, entries)
        program.add_cost(entry, -self._worth)

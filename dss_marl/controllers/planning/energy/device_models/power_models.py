"""Devices whose power follows from the entries of the interval: inverters and batteries."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.controllers.optimization.sparse_qp import SparseQP
from dss_marl.controllers.planning.energy.device_models.base import DayOutlook, DeviceModel, InjectionColumns
from dss_marl.devices import Batteries, Inverters
from dss_marl.grid.state import Array, BoolArray, IntArray, Setpoints

BOTH = 1e-3  # share of simultaneous charging and discharging tolerated before it is forbidden
_RESERVE = 2e-3  # of the capacity of a battery that forms an island
WASTE = 1e-6  # small cost of throughput, against simultaneous charging and discharging of idle storage


class PowerModel(DeviceModel):
    """Devices whose power depends on the entries of the same interval only, with kW and kvar columns.

    Args:
        group, device_state, outlook: as in DeviceModel.
        moves_kw, moves_kvar: (D) which devices have such a column.
        rating: (D) unit of their columns [kW, kvar].
    """

    def __init__(
        self,
        group: Any,
        device_state: Array,
        outlook: DayOutlook,
        moves_kw: BoolArray,
        moves_kvar: BoolArray,
        rating: Array,
    ) -> None:
        self.group, self._kw, self._kvar = group, np.flatnonzero(moves_kw), np.flatnonzero(moves_kvar)
        self._rating = rating
        super().__init__(group, device_state, outlook)

    _kvar_column = 0  # of a device's entries, the share of available kvar
    _standby_kw: Array | float = 0.0  # in ``power``, but not through the converter

    @property
    def _device(self) -> IntArray:
        return np.concatenate([self._kw, self._kvar])

    def _columns(self) -> InjectionColumns:
        unit = np.tile(self._rating[self._device], (self.outlook.steps, 1))
        active = np.arange(len(self._device)) < len(self._kw)
        return InjectionColumns(self.group.injections[self._device], unit * active, unit * ~active)

    def values(self, entries: Array) -> Array:
        """See DeviceModel.values."""
        kw, kvar = self.power(entries.reshape(len(entries), self.size, self.width))
        return np.concatenate([kw[:, self._kw], kvar[:, self._kvar]], axis=1) / self._rating[self._device]

    def power(self, entries: Array) -> tuple[Array, Array]:
        """(T, D) kW and kvar, + into the grid, for entries (T, D, A), ignoring storage limits and converter losses."""
        raise NotImplementedError

    def _add_converter_losses(self, program: SparseQP, entry: IntArray, entries: Array, which: IntArray) -> None:
        """The losses due to reactive power as a convex cost of entries that are shares of the available kvar.

        By day c1 (sqrt(P^2 + Q^2) - P) becomes c1 max(|Q| - P / 2, 0), and the standby losses of an idle converter, a
        step at 0, the largest convex function below it; see ConverterKinks. The grid's losses that they cause are left
        out.

        Args:
            program, entry, entries: as in ``add_coupling``.
            which: devices whose last entry is such a share.
        """
        own, price = self.group.converters, self.outlook.converter[:, None]
        if not (own.any_losses and which.size and price.any()):
            return
        steps, last = len(entries), entries.reshape(len(entries), self.size, self.width).copy()
        kw = np.abs(self.power(last)[0] + self._standby_kw)
        last[..., self._kvar_column] = 1.0
        reach = np.abs(self.power(last)[1])[:, which]
        kw, standby_kw = kw[:, which], own.standby_kw[which] * (kw[:, which] == 0)
        share = entry.reshape(steps, self.size, self.width)[:, which, self._kvar_column]
        weight = price * (own.proportional[which] * reach + standby_kw)
        beyond = program.add_variables(np.zeros(share.shape), np.inf, weight)
        row, ones = np.arange(share.size).reshape(share.shape), np.ones(share.shape)
        width = kw / 2 / np.maximum(reach, 1e-9)
        for sign in (1.0, -1.0):
            program.add_rows(
                np.stack([row, row]), np.stack([share, beyond]), np.stack([sign * ones, -ones]), -np.inf * ones, width
            )
        program.add_squares(share, 2 * price * own.quadratic[which] * reach**2)


class InverterModel(PowerModel):
    """Inverters: reactive power, and curtailment where allowed."""

    _kvar_column = 0

    def __init__(self, group: Inverters, device_state: Array, outlook: DayOutlook) -> None:
        holds_back = (group.may_curtail > 0) & (len(group.action_labels) > 1)
        super().__init__(group, device_state, outlook, holds_back, np.ones(group.size, bool), group.kva)
        if self.width > 1:
            self.low[:, 1::2], self.high[:, 1::2] = -group.may_curtail, 0.0

    def idle(self) -> Array:
        """See DeviceModel.idle."""
        entries = super().idle()
        if self.width > 1:
            entries[:, 1::2] = self.low[:, 1::2]
        return entries

    def power(self, entries: Array) -> tuple[Array, Array]:
        """See PowerModel.power."""
        before, group = self.outlook.setpoints, self.group
        setpoints = Setpoints(before.kw.copy(), before.kvar.copy(), before.tap, before.closed)
        device_state = np.zeros((len(entries), self.size, group.state_size))
        device_state[..., : self.width] = entries
        group.hold(device_state, setpoints, None)  # inverters do not depend on the interval
        kw = setpoints.kw + setpoints.lost_kw
        return kw[:, group.injections], setpoints.kvar[:, group.injections]

    def add_coupling(self, program: SparseQP, entry: IntArray, entries: Array) -> None:
        """See DeviceModel.add_coupling: and what the converters lose."""
        super().add_coupling(program, entry, entries)
        self._add_converter_losses(program, entry, entries, np.arange(self.size))


class BatteryModel(PowerModel):
    """Batteries: active power with state of charge, and reactive power.

    Attributes:
        formed: (T, D) True where a battery forms an island, which then decides its power.
    """

    _kvar_column = 1

    def __init__(self, group: Batteries, device_state: Array, outlook: DayOutlook) -> None:
        reactive = group.reactive & (len(group.action_labels) > 1)
        self.formed = np.zeros((outlook.steps, group.size), bool)
        super().__init__(group, device_state, outlook, np.ones(group.size, bool), reactive, group.kva)
        self._standby_kw = group.standby_kw
        self.lift_bans()

    def lift_bans(self) -> None:
        """See DeviceModel.lift_bans."""
        self._one_way = np.zeros((self.outlook.steps, self.size))

    def is_impossible(self, solution: Array) -> bool:
        """See DeviceModel.is_impossible: a store charges and discharges at once, which pays at negative prices."""
        given, taken = (solution[own] for own in self._both)
        both = np.minimum(given, taken) > BOTH
        self._one_way = np.where(both, np.where(given > taken, 1.0, -1.0), self._one_way)
        return bool(both.any())

    def power(self, entries: Array) -> tuple[Array, Array]:
        """See PowerModel.power."""
        group, kw = self.group, np.where(self.formed, 0.0, entries[..., 0] * self.group.kw)
        kvar = group.kvar(kw, entries[..., 1]) if self.width > 1 else 0 * kw
        return kw - group.standby_kw, kvar

    def add_coupling(self, program: SparseQP, entry: IntArray, entries: Array) -> None:
        """See DeviceModel.add_coupling: the state of charge, which is worth something at the end."""
        super().add_coupling(program, entry, entries)
        if self.width > 1:
            self._add_converter_losses(program, entry, entries, self._kvar)
        group, outlook = self.group, self.outlook
        steps, count, hour = outlook.steps, self.size, outlook.dt_h
        share = entry.reshape(steps, count, self.width)[..., 0]
        wear = outlook.through * group.kw * hour + WASTE
        zero, ones = np.zeros((steps, count)), np.ones((steps, count))
        given = program.add_variables(zero, ones * (self._one_way >= 0), np.tile(wear, (steps, 1)))
        taken = program.add_variables(zero, ones * (self._one_way <= 0), np.tile(wear, (steps, 1)))
        self._both = given, taken
        worth = np.zeros((steps, count))
        worth[-1] = -outlook.stored * group.kwh
        room = _RESERVE * self.formed.any(axis=0)  # a former that is empty or full blacks out its island
        low, high = np.minimum(group.minimum + room, group.start_soc), np.maximum(group.maximum - room, group.start_soc)
        soc = program.add_variables(np.tile(low, (steps, 1)), np.tile(high, (steps, 1)), worth)
        row = np.arange(steps * count).reshape(steps, count)
        program.add_rows(
            np.stack([row, row, row]), np.stack([share, given, taken]), np.stack([ones, -ones, ones]), zero, zero
        )
        out = group.kw * hour / group.kwh / group.discharging * ones
        into = group.kw * hour / group.kwh * group.charging * ones
        start = zero.copy()
        start[0] = group.stored_kwh(self.device_state) / group.kwh
        program.add_rows(
            np.concatenate([row, row, row, row[1:]]),
            np.concatenate([soc, given, taken, soc[:-1]]),
            np.concatenate([ones, out, -into, -ones[1:]]),
            start,
            start,
        )

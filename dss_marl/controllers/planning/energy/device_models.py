"""Models of device kinds in the day program: effect of entries on injections, and storage constraints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from dss_marl.controllers.optimization.sparse_qp import SparseQP
from dss_marl.devices import Batteries, DeviceGroup, EVChargers, FlexibleLoads, Inverters
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints

_STEP = 1e-4  # step of an entry for derivatives of formulas
_SHED = 0.02  # of an entry, for derivatives of flexible loads
_BOTH = 1e-3  # share of simultaneous charging and discharging tolerated before it is forbidden
_RESERVE = 2e-3  # of the capacity of a battery that forms an island
_WASTE = 1e-6  # small cost of throughput, against simultaneous charging and discharging of idle storage


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


class _PowerModel(DeviceModel):
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


class InverterModel(_PowerModel):
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
        """See _PowerModel.power."""
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


class BatteryModel(_PowerModel):
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
        both = np.minimum(given, taken) > _BOTH
        self._one_way = np.where(both, np.where(given > taken, 1.0, -1.0), self._one_way)
        return bool(both.any())

    def power(self, entries: Array) -> tuple[Array, Array]:
        """See _PowerModel.power."""
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
        wear = outlook.through * group.kw * hour + _WASTE
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


class EVModel(_PowerModel):
    """EVs charging while connected, up to their energy demand; missing energy at departure is penalised."""

    def __init__(self, group: EVChargers, device_state: Array, outlook: DayOutlook) -> None:
        self.stays = group.stays(device_state, outlook.steps, outlook.dt_h)
        self.stay_h = np.zeros((outlook.steps, group.size))
        np.add.at(self.stay_h.T, self.stays.device, self.stays.stay_h)
        everyone = np.ones(group.size, bool)
        super().__init__(group, device_state, outlook, everyone, ~everyone, group.kw)

    def idle(self) -> Array:
        """See DeviceModel.idle."""
        return self.low.copy()

    def power(self, entries: Array) -> tuple[Array, Array]:
        """See _PowerModel.power."""
        kw = -(entries[..., 0] + 1) / 2 * self.group.kw * self.stay_h / self.outlook.dt_h
        return kw, 0 * kw

    def start(self, entries: Array) -> Array:
        """See DeviceModel.start: each car evenly over its stay."""
        stays, entries = self.stays, entries.copy()
        most = stays.stay_h.sum(1) * self.group.kw[stays.device] * self.group.efficiency[stays.device]
        for device, share, stay_h in zip(stays.device, stays.kwh / most, stays.stay_h, strict=True):
            entries[stay_h > 0, device] = 2 * min(share, 1.0) - 1
        return entries

    def add_coupling(self, program: SparseQP, entry: IntArray, entries: Array) -> None:
        """See DeviceModel.add_coupling."""
        super().add_coupling(program, entry, entries)
        stays, group = self.stays, self.group
        kwh = stays.stay_h * (group.kw * group.efficiency)[stays.device, None] / 2  # of an entry above -1
        lacking = program.add_variables(
            np.zeros(len(stays.kwh)),
            np.full(len(stays.kwh), np.inf),
            np.where(stays.leaves, self.outlook.unmet * group.priority[stays.device], 0.0),
        )
        session, step = np.nonzero(kwh)
        due = stays.kwh - kwh.sum(1)
        program.add_rows(
            np.r_[session, np.arange(len(due))],
            np.r_[entry[step, stays.device[session]], lacking],
            np.r_[kwh[session, step], np.ones(len(due))],
            due,
            due,
        )
        if self.outlook.through:
            drawn = self.outlook.through * group.kw * self.stay_h / 2
            program.add_cost(entry, drawn)


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

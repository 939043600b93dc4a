"""Stepped batteries: a number of power levels, reactive power that follows, and energy by what was delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from dss_marl.devices.base import DeviceGroup, DeviceSpec, act_periods, clipped, columns, unique_names
from dss_marl.devices.unit_specs import UnitSpec, unit_rows
from dss_marl.grid.feeder import AddedUnit, Feeder
from dss_marl.grid.indexing import contiguous
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints, Solution

_SHARE, _KWH, _KWH_BEFORE, _HOURS = range(4)  # columns of the device state
_NOISE = 2e-4  # of the rating, within which a set point counts as delivered
_ROUNDING = 1e-8  # of a level, by which a request may exceed what is stored


class SteppedBatterySpec(UnitSpec):
    """A battery without losses, modelled as OpenDSS's generator; the fields repeat published gyms where they need it.

    ``kvar_per_kw`` is the reactive power that goes with each kW in either direction; a unit at power factor f has
    tan(acos f), 0.329 at 0.95. ``kv`` and ``v_pu`` say between which voltages it delivers its set point: beyond, it is
    the impedance that does at the limit, and delivers by the square of the voltage.
    """

    kwh: float = Field(gt=0, description="capacity [kWh]")
    levels: int = Field(
        default=33, ge=0, le=201, description="number of powers from full charge to full discharge; 0: any power"
    )
    initial: float = Field(default=1.0, ge=0, le=1, description="state of charge at reset")
    kvar_per_kw: float = Field(default=0.0, ge=-2, le=2, description="reactive power over active power [kvar/kW]")
    kv: float = Field(
        default=0.0, ge=0, description="rated voltage, line to line if it has three phases [kV]; 0: that of the bus"
    )
    v_pu: tuple[float, float] = Field(
        default=(0.9, 1.1), description="voltage over kv between which it delivers its set point [pu]"
    )
    whole_kwh: bool = Field(default=False, description="the stored energy is rounded to whole kWh after each interval")
    owes_charge: bool = Field(
        default=False, description="what differs from the initial charge at the end is unserved energy of the device"
    )

    @field_validator("v_pu")
    @classmethod
    def _in_order(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not 0 < limits[0] < 1 < limits[1]:
            raise ValueError(f"must be two positive numbers, below and above 1; got {list(limits)}")
        return limits

    @model_validator(mode="after")
    def _with_idle(self) -> SteppedBatterySpec:
        if self.levels == 1 or (self.levels and self.levels % 2 == 0):
            raise ValueError(
                f"stepped_battery {self.label!r}: levels must be odd, so that the middle one is idle, or 0; "
                f"got {self.levels}"
            )
        return self


@dataclass(frozen=True)
class SteppedBatteries(DeviceGroup):
    """Batteries with levels of power. The action is the share of rated power, positive when discharging.

    It is rounded to a level; one that the stored energy, or the room for it, does not last for through the interval
    means the nearest level that does, so that every level is feasible. Energy is counted by the power delivered in the
    solved interval, which differs from the set point where the voltage is beyond the limits; it stays between 0 and the
    capacity.

    Device state: the share of power as applied, the energy stored now and before the last interval [kWh], and the
    interval's length [h].

    Attributes:
        injections: (D) index of each in Feeder.injections.
        kw, kwh: (D) rating and capacity.
        levels: (D) number of levels, 0: any power.
        kvar_per_kw: (D) reactive power over active power.
        start_soc: (D) initial state of charge [1].
        whole: (D) True where the stored energy is rounded to whole kWh.
        owes: (D) True where a charge that differs from the initial one at the end is energy owed.
    """

    injections: IntArray
    kw: Array
    kwh: Array
    levels: IntArray
    kvar_per_kw: Array
    start_soc: Array
    whole: BoolArray
    owes: BoolArray

    action_labels: ClassVar[tuple[str, ...]] = ("share of rated power, + discharges",)
    state_size: ClassVar[int] = 4
    telemetry_labels: ClassVar[tuple[str, ...]] = ("state of charge [1]", "power / rated [1]")
    Spec: ClassVar[type[DeviceSpec]] = SteppedBatterySpec

    def n_levels(self) -> IntArray:
        """See DeviceGroup.n_levels."""
        return self.levels[:, None]

    def initial(self) -> Array:
        """See DeviceGroup.initial: idle, at the initial charge."""
        kwh = self.start_soc * self.kwh
        return np.stack([np.zeros(self.size), kwh, kwh, np.zeros(self.size)], -1)

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; ``check`` replaces the stored energy by that of the solved interval."""
        share = self._within(self._levelled(action[..., 0]), state, interval)
        self._write(share, setpoints)
        kwh = state[..., _KWH]
        hours = np.full(share.shape, interval.dt_h)
        return columns(share, self._after(kwh, share * self.kw * hours), kwh, hours), np.zeros(share.shape, np.int64)

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """See DeviceGroup.hold; the power continues while the energy lasts."""
        self._write(self._within(state[..., _SHARE], state, interval), setpoints)

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.hold_action."""
        return self._within(state[..., _SHARE], state, interval)[..., None]

    @cached_property
    def _step(self) -> Array:
        """(D) share of rated power between levels; 0 where there are none."""
        return np.where(self.levels > 0, 2.0 / np.maximum(self.levels - 1, 1), 0.0)

    @cached_property
    def _rows(self) -> Any:
        return contiguous(self.injections)

    def _levelled(self, entry: Array) -> Array:
        """(..., D) the share at the nearest level; two equally near ones, the even number."""
        step = np.where(self._step > 0, self._step, 1.0)
        return np.where(self._step > 0, np.rint(entry / step) * step, entry)

    def _within(self, share: Array, state: Array, interval: Interval) -> Array:
        """(..., D) the share, lowered in magnitude by whole levels until the energy lasts for the interval."""
        rated_kwh = self.kw * interval.dt_h
        give, take = state[..., _KWH] / rated_kwh, (self.kwh - state[..., _KWH]) / rated_kwh
        possible = clipped(share, -take, give)
        step = np.where(self._step > 0, self._step, 1.0)
        lowered = np.ceil(np.abs(share - possible) / step - _ROUNDING) * step
        return np.where(self._step > 0, np.where(share == possible, share, share - np.sign(share) * lowered), possible)

    def _write(self, share: Array, setpoints: Setpoints) -> None:
        kw = share * self.kw
        setpoints.kw[..., self._rows] = kw
        setpoints.kvar[..., self._rows] = kw * self.kvar_per_kw

    def _after(self, kwh: Array, given_kwh: Array) -> Array:
        """(..., D) energy stored after some was given [kWh]."""
        left = clipped(kwh - given_kwh, 0.0, self.kwh)
        return np.where(self.whole, np.rint(left), left)

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """See DeviceGroup.check: the energy stored, by the power that was delivered."""
        asked = setpoints.kw.take(self.injections, axis=-1)
        served = solution.served_kw.take(self.injections, axis=-1)
        # The last digits of a power flow must not decide how half a kWh is rounded.
        given = np.where(np.abs(served - asked) < _NOISE * self.kw, asked, served) * state[..., _HOURS]
        state = state.copy()
        state[..., _KWH] = self._after(state[..., _KWH_BEFORE], given)
        return state, np.zeros(state.shape[:-1], np.int64)

    def stored_kwh(self, state: Array) -> Array:
        """See DeviceGroup.stored_kwh."""
        return np.asarray(state[..., _KWH])

    def unmet_kwh(self, before: Array, after: Array, interval: Interval) -> Array:
        """See DeviceGroup.unmet_kwh: at the end of an episode, how far the charge is from the initial one."""
        off = np.abs(after[..., _KWH] - self.start_soc * self.kwh)
        return np.where(self.owes & np.asarray(interval.last)[..., None], off, 0.0)

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.telemetry."""
        return columns(state[..., _KWH] / self.kwh, state[..., _SHARE])

    @classmethod
    def added_units(cls, specs: Sequence[SteppedBatterySpec]) -> list[AddedUnit]:
        """See DeviceGroup.added_units."""
        names = unique_names([spec.label for spec in specs], "stepped_battery")
        return [
            AddedUnit(name, spec.bus, spec.kw, spec.phases, "battery", kv=spec.kv, v_pu=spec.v_pu)
            for name, spec in zip(names, specs, strict=True)
        ]

    @classmethod
    def build(cls, specs: Sequence[SteppedBatterySpec], feeder: Feeder) -> SteppedBatteries:
        """See DeviceGroup.build."""
        rows = unit_rows(specs, feeder, "stepped_battery")
        return cls(
            names=unique_names([spec.label for spec in specs], "stepped_battery"),
            buses=tuple(feeder.injections[j].bus for j in rows),
            act_every=act_periods([spec.act_every for spec in specs]),
            injections=rows,
            kw=np.array([spec.kw for spec in specs]),
            kwh=np.array([spec.kwh for spec in specs]),
            levels=np.array([spec.levels for spec in specs], np.int64),
            kvar_per_kw=np.array([spec.kvar_per_kw for spec in specs]),
            start_soc=np.array([spec.initial for spec in specs]),
            whole=np.array([spec.whole_kwh for spec in specs]),
            owes=np.array([spec.owes_charge for spec in specs]),
        )

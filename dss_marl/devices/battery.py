"""Batteries: energy storage with conversion losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from dss_marl.devices.base import DeviceGroup, DeviceSpec, act_periods, clipped, columns, unique_names
from dss_marl.devices.converters import Converters, ConverterSpec
from dss_marl.devices.unit_specs import (
    UnitSpec,
    named_or_placed,
    new_units,
    placed_in_circuit,
    replacing,
    taken_over,
    unserved,
)
from dss_marl.grid.feeder import AddedUnit, Feeder, find
from dss_marl.grid.indexing import contiguous
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints, Solution

_SOC, _SOC_BEFORE = 2, 3  # columns of the device state


_OWN = ("bus", "kw", "kwh", "kva", "phases", "name", "charge_efficiency", "discharge_efficiency", "standby_kw",
        "initial", "minimum")  # fmt: skip


class BatterySpec(ConverterSpec, UnitSpec):
    """A battery with inverter. ``kva`` defaults to ``kw``. States of charge are relative to ``kwh``.

    ``names: circuit`` instead controls every Storage of the circuit, and a list the named ones, each with its own bus,
    phases, ratings, efficiencies, idling losses, reserve and state of charge.
    """

    model_config = ConfigDict(json_schema_extra=named_or_placed)

    kwh: float = Field(gt=0, description="capacity [kWh]")
    kva: float = Field(default=0.0, ge=0, description="rating of the inverter [kVA]; 0 means kw")
    charge_efficiency: float = Field(default=0.95, gt=0, le=1, description="stored energy over energy from the grid")
    discharge_efficiency: float = Field(
        default=0.95, gt=0, le=1, description="energy to the grid over energy discharged"
    )
    standby_kw: float = Field(default=0.0, ge=0, description="auxiliary power, always drawn from the grid [kW]")
    initial: float = Field(default=0.5, ge=0, le=1, description="state of charge at reset")
    minimum: float = Field(default=0.1, ge=0, le=1, description="minimum state of charge")
    maximum: float = Field(default=0.9, ge=0, le=1, description="maximum state of charge")
    reactive: bool = Field(default=False, description="adds an entry, the share of available reactive power")
    names: tuple[str, ...] | Literal["circuit"] | None = Field(default=None, description="batteries of the circuit")

    @model_validator(mode="before")
    @classmethod
    def _of_the_circuit(cls, data: Any) -> Any:
        return placed_in_circuit(data, _OWN, {"kw": 1.0, "kwh": 1.0})

    @model_validator(mode="after")
    def _fits(self) -> BatterySpec:
        if not self.minimum < self.maximum:
            raise ValueError(
                f"battery {self.label!r}: minimum {self.minimum:g} is not below maximum {self.maximum:g}; lower it"
            )
        if not self.minimum <= self.initial <= self.maximum:
            raise ValueError(
                f"battery {self.label!r}: initial {self.initial:g} is outside minimum {self.minimum:g} to maximum "
                f"{self.maximum:g}; choose a value in this range"
            )
        if 0 < self.kva < self.kw:
            raise ValueError(f"battery {self.label!r}: kva {self.kva:g} is below kw {self.kw:g}; raise kva")
        return self


@dataclass(frozen=True)
class Batteries(DeviceGroup):
    """Batteries. The first action entry is the active power as a share of rating, positive when discharging.

    Requests that would empty or overfill the storage within the interval are cut to the limit. Standby power is drawn
    from the grid in addition. With ``reactive`` a second entry is a share of the reactive power available within the
    kVA rating and by category. What the converters lose because of it is drawn from the grid too, see ``Converters``.

    Energy is conserved: drawn from the grid = stored + conversion losses + standby + losses due to reactive power.

    Device state: both entries as applied, and the state of charge now and before the last interval.

    Attributes:
        injections: (D) index of each in Feeder.injections.
        kw, kva, kwh: (D) active-power rating, apparent-power rating and capacity.
        charging, discharging: (D) efficiencies [1].
        standby_kw: (D) auxiliary power [kW].
        start_soc, minimum, maximum: (D) initial, minimum and maximum state of charge [1].
        reactive: (D) True where the second entry is used.
        own_converters: capability and losses; None: lossless, limited by the rating alone.
    """

    injections: IntArray
    kw: Array
    kva: Array
    kwh: Array
    charging: Array
    discharging: Array
    standby_kw: Array
    start_soc: Array
    minimum: Array
    maximum: Array
    reactive: BoolArray
    own_converters: Converters | None = None

    state_size: ClassVar[int] = 4
    telemetry_labels: ClassVar[tuple[str, ...]] = ("state of charge [1]",)
    Spec: ClassVar[type[DeviceSpec]] = BatterySpec

    @cached_property
    def action_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """One entry, and a second if any of them controls reactive power."""
        entries = ("share of rated power, + discharges", "share of available reactive power")
        return entries if self.reactive.any() else entries[:1]

    @cached_property
    def converters(self) -> Converters:
        """Capability and losses."""
        return Converters.ideal(self.kva) if self.own_converters is None else self.own_converters

    def initial(self) -> Array:
        """See DeviceGroup.initial: idle, at the initial state of charge."""
        idle = np.zeros(self.size)
        return np.stack([idle, idle, self.start_soc, self.start_soc], -1)

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; the storage limits power, and kvar without ``reactive`` is refused."""
        share, kvar_share = self._within(action, state, interval)
        cut = share != action[..., 0]
        if action.shape[-1] > 1:
            cut |= kvar_share != action[..., 1]
        self._write(share, kvar_share, setpoints)
        soc = state[..., _SOC]
        after = clipped(soc - self._drained(share, interval) / self.kwh, self.minimum, self.maximum)
        return columns(share, kvar_share, after, soc), cut.astype(np.int64)

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """See DeviceGroup.hold; power continues within the limits of the storage."""
        self._write(*self._within(state, state, interval), setpoints)

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.hold_action."""
        return columns(*self._within(state, state, interval))[..., : len(self.action_labels)]

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.feasible."""
        possible = columns(*self._within(action, state, interval))
        allowed: BoolArray = possible[..., : action.shape[-1]] == action
        return allowed

    def _within(self, entries: Array, state: Array, interval: Interval) -> tuple[Array, Array]:
        """(..., D) feasible shares of active and reactive power nearest to the entries (..., D, 1 or more)."""
        soc = state[..., _SOC]
        most_kwh = self.kw * interval.dt_h
        give = (soc - self.minimum) * self.kwh * self.discharging / most_kwh
        take = (self.maximum - soc) * self.kwh / self.charging / most_kwh
        share = clipped(entries[..., 0], -np.maximum(take, 0), np.maximum(give, 0))
        if entries.shape[-1] == 1 or not self._any_reactive:
            return share, np.zeros(share.shape)
        return share, np.where(self.reactive, np.broadcast_to(entries[..., 1], share.shape), 0.0)

    @cached_property
    def _any_reactive(self) -> bool:
        return bool(self.reactive.any())

    @cached_property
    def _rows(self) -> Any:
        return contiguous(self.injections)

    def _drained(self, share: Array, interval: Interval) -> Array:
        """(..., D) energy taken out of the storage [kWh]."""
        per_kwh = np.where(share > 0, 1 / self.discharging, self.charging)
        return share * self.kw * interval.dt_h * per_kwh

    def _write(self, share: Array, kvar_share: Array, setpoints: Setpoints) -> None:
        kw = share * self.kw
        if self._any_reactive:
            self.converters.write(self._rows, kw, self.kvar(kw, kvar_share), setpoints)
            setpoints.kw[..., self._rows] -= self.standby_kw
        else:
            setpoints.kw[..., self._rows], setpoints.kvar[..., self._rows] = kw - self.standby_kw, 0.0

    def kvar(self, kw: Array, share: Array) -> Array:
        """(..., D) reactive power from a share of what is available beside this active power [kvar].

        While charging, the losses due to the reactive power add to the active power.
        """
        return share * self.converters.reach(share, np.where(kw < 0, kw - self.converters.most_added_kw(kw), kw))

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """See DeviceGroup.check; on a de-energised bus no power flows, so the charge is unchanged."""
        dead = unserved(self.injections, setpoints, solution)
        if dead.any():
            state = state.copy()
            state[..., _SOC] = np.where(dead, state[..., _SOC_BEFORE], state[..., _SOC])
        return state, np.zeros(state.shape[:-1], np.int64)

    def stored_kwh(self, state: Array) -> Array:
        """See DeviceGroup.stored_kwh."""
        return np.asarray(state[..., _SOC] * self.kwh)

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.telemetry."""
        return state[..., _SOC : _SOC + 1].copy()

    @classmethod
    def added_units(cls, specs: Sequence[BatterySpec]) -> list[AddedUnit]:
        """See DeviceGroup.added_units."""
        own = [row for spec in specs if spec.names for row in replacing(spec.names, "storage", "battery")]
        return [*own, *new_units([spec for spec in specs if not spec.names], "battery")]

    @classmethod
    def build(cls, specs: Sequence[BatterySpec], feeder: Feeder) -> Batteries:
        """See DeviceGroup.build."""
        rows, specs = _with_own(specs, feeder)
        kva = np.array([spec.kva or spec.kw for spec in specs])
        return cls(
            names=unique_names([spec.label for spec in specs], "battery"),
            buses=tuple(feeder.injections[j].bus for j in rows),
            act_every=act_periods([spec.act_every for spec in specs]),
            injections=rows,
            kw=np.array([spec.kw for spec in specs]),
            kva=kva,
            kwh=np.array([spec.kwh for spec in specs]),
            charging=np.array([spec.charge_efficiency for spec in specs]),
            discharging=np.array([spec.discharge_efficiency for spec in specs]),
            standby_kw=np.array([spec.standby_kw for spec in specs]),
            start_soc=np.array([spec.initial for spec in specs]),
            minimum=np.array([spec.minimum for spec in specs]),
            maximum=np.array([spec.maximum for spec in specs]),
            reactive=np.array([spec.reactive for spec in specs]),
            own_converters=Converters.of(specs, kva),
        )


def _with_own(specs: Sequence[BatterySpec], feeder: Feeder) -> tuple[IntArray, list[BatterySpec]]:
    """(D) index of each battery in Feeder.injections, and its settings; the circuit's own with what they are."""
    rows: dict[str, BatterySpec] = {}
    for spec in specs:
        if not spec.names:
            rows[f"generator.{spec.label}"] = spec
            continue
        for unit in taken_over(spec.names, "storage", feeder, rows):
            rows[unit.injection] = spec.model_copy(
                update={
                    "names": None,
                    "name": unit.injection.split(".", 1)[1],
                    "bus": unit.bus,
                    "kw": unit.kw,
                    "kwh": unit.kwh,
                    "kva": max(unit.kva, unit.kw),
                    "charge_efficiency": unit.charge_efficiency,
                    "discharge_efficiency": unit.discharge_efficiency,
                    "standby_kw": -unit.run_kw,
                    "minimum": min(unit.soc_minimum, unit.soc, 0.99 * spec.maximum),
                    "initial": min(unit.soc, spec.maximum),
                }
            )
    found = [find(feeder.injections, name, "battery", feeder.name) for name in rows]
    return np.array(found, np.int64), list(rows.values())

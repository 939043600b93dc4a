"""Batteries: energy storage with conversion losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from dss_marl.devices.base import DeviceGroup, DeviceSpec, act_periods, clipped, columns, unique_names
from dss_marl.devices.converters import Converters, ConverterSpec
from dss_marl.devices.island_roles import SLACK, IslandRoles
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
_FORMED, _WAIT, _HOURS, _LOCKED, _STEP = 4, 5, 6, 7, 8  # further ones if any can form an island
_ABOUT_0 = 1e-9  # of hours that are left


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
    forming: bool = Field(default=False, description="can form an island; needs three phases")
    restart_h: float = Field(default=0.5, ge=0, description="lockout after a trip [h], if it can form an island")
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

    One with ``forming`` has a grid-forming inverter: in a part without a source and without a running grid-forming
    generator the largest of them holds 1 pu at its bus, at once and whatever its entries say. Its power is then what
    the island draws, or what PV units feed in beyond it, and the state of charge follows. It trips, and is off at once
    and for ``restart_h`` after the interval, if the island exceeds its limits: P beyond kw either way, S above kva, one
    phase above 1.33 times a third of kva, or more energy within the interval than the storage can give or take. So an
    island whose storage is empty, or full with PV units not curtailed, goes dark. Frequency, which could tell PV units
    to curtail, is not modelled.

    Device state: both entries as applied, and the state of charge now and before the last interval; if any can form an
    island also the energy exchanged as grid-forming unit in the last interval, + out of the battery [kWh], hours until
    it may deliver again, and of the last interval its length [h], whether it was locked out (0 or 1) and its number.

    Attributes:
        injections: (D) index of each in Feeder.injections.
        kw, kva, kwh: (D) active-power rating, apparent-power rating and capacity.
        charging, discharging: (D) efficiencies [1].
        standby_kw: (D) auxiliary power [kW].
        start_soc, minimum, maximum: (D) initial, minimum and maximum state of charge [1].
        reactive: (D) True where the second entry is used.
        own_converters: capability and losses; None: lossless, limited by the rating alone.
        restart_h: (D) lockout after a trip [h].
        roles: which of them form an island; None if none can.
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
    restart_h: Array = field(default_factory=lambda: np.zeros(0))
    roles: IslandRoles | None = None

    Spec: ClassVar[type[DeviceSpec]] = BatterySpec

    @property
    def state_size(self) -> int:  # type: ignore[override]
        """Length of a device's state; longer if any can form an island."""
        return 4 if self.roles is None else 9

    @property
    def trips(self) -> bool:  # type: ignore[override]
        """Whether any can form an island, and so be overloaded."""
        return self.roles is not None

    @property
    def telemetry_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """State of charge, and the role in an island if any can form one."""
        more = () if self.roles is None else ("grid-forming [0 or 1]", "lockout left [share]")
        return ("state of charge [1]", *more)

    @classmethod
    def order_of(cls, specs: Sequence[DeviceSpec]) -> int:
        """See DeviceGroup.order_of: after the generators, which form an island first."""
        return 2 if any(getattr(spec, "forming", False) for spec in specs) else cls.dispatch_order

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
        state = np.zeros((self.size, self.state_size))
        state[:, _SOC] = state[:, _SOC_BEFORE] = self.start_soc
        if self.roles is not None:
            state[:, _STEP] = -1  # none yet
        return state

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; the storage limits power, and kvar without ``reactive`` is refused."""
        share, kvar_share = self._within(action, state, interval)
        cut = share != action[..., 0]
        if action.shape[-1] > 1:
            cut |= kvar_share != action[..., 1]
        soc = state[..., _SOC]
        after = clipped(soc - self._drained(share, interval) / self.kwh, self.minimum, self.maximum)
        if self.roles is None:
            self._write(share, kvar_share, setpoints)
            return columns(share, kvar_share, after, soc), cut.astype(np.int64)
        kept = columns(share, kvar_share, after, soc, *[np.zeros(soc.shape)] * 5)
        kept[..., _WAIT] = np.maximum(state[..., _WAIT] - interval.dt_h, 0.0)
        kept[..., _HOURS], kept[..., _STEP] = interval.dt_h, np.asarray(interval.step)[..., None]
        kept[..., _LOCKED] = state[..., _WAIT] > _ABOUT_0
        self._write_roles(kept, share, kvar_share, setpoints, interval)
        return kept, cut.astype(np.int64)

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """See DeviceGroup.hold; power continues within the limits of the storage."""
        if self.roles is None:
            self._write(*self._within(state, state, interval), setpoints)
        else:
            self._write_roles(state, *self._within(state, state, interval), setpoints, interval)

    def _write_roles(
        self, state: Array, share: Array, kvar_share: Array, setpoints: Setpoints, interval: Interval
    ) -> None:
        """As ``_write``, with the islands that some form, whose power the island decides."""
        assert self.roles is not None
        forms, _ = self.roles.write(self._ready(state, interval), setpoints, interval)
        self._write(np.where(forms, 0.0, share), np.where(forms, 0.0, kvar_share), setpoints)

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
        if self.roles is not None:
            ready = self._ready(state, interval)
            give, take = give * ready, take * ready
        share = clipped(entries[..., 0], -np.maximum(take, 0), np.maximum(give, 0))
        if entries.shape[-1] == 1 or not self._any_reactive:
            return share, np.zeros(share.shape)
        return share, np.where(self.reactive, np.broadcast_to(entries[..., 1], share.shape), 0.0)

    def _ready(self, state: Array, interval: Interval) -> BoolArray:
        """(..., D) which are not locked out, in the interval in which they acted or in a coming one."""
        acted = state[..., _STEP] == np.asarray(interval.step)[..., None]
        ready: BoolArray = np.where(acted, state[..., _LOCKED] == 0, state[..., _WAIT] <= _ABOUT_0)
        return ready

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
        """See DeviceGroup.check; on a de-energised bus no power flows, so the charge is unchanged.

        Grid-forming units trip if overloaded, and their charge follows what the island drew.
        """
        if self.roles is None:
            dead = unserved(self.injections, setpoints, solution)
            if dead.any():
                state = state.copy()
                state[..., _SOC] = np.where(dead, state[..., _SOC_BEFORE], state[..., _SOC])
            return state, np.zeros(state.shape[:-1], np.int64)
        state = state.copy()
        given, drained, over = self._exchanged(state, setpoints, solution)
        soc = clipped(state[..., _SOC_BEFORE] - drained / self.kwh, self.minimum, self.maximum)
        state[..., _SOC] = np.where(over, state[..., _SOC_BEFORE], soc)
        state[..., _FORMED] = np.where(over, 0.0, given)
        state[..., _WAIT] = np.where(over, self.restart_h, state[..., _WAIT])
        state[..., _LOCKED] = np.where(over, 1.0, state[..., _LOCKED])
        return state, over.astype(np.int64)

    def _exchanged(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, Array, BoolArray]:
        """(..., D) energy given as grid-forming unit and out of the store [kWh], and whether it is overloaded."""
        assert self.roles is not None
        own, hours = self.roles.able, state[..., _HOURS]
        forms = np.zeros(state.shape[:-1], bool)
        forms[..., own] = setpoints.closed[..., self.roles.switches[own]]
        total, over = np.zeros(forms.shape), np.zeros(forms.shape, bool)
        total[..., own], over[..., own] = self.roles.loaded(solution, self.kva[own])
        dead = unserved(self.injections, setpoints, solution) | ~self.roles.fed(solution)
        follows = setpoints.kw[..., self.injections] + self.standby_kw
        kw = np.where(forms, total, np.where(dead, 0.0, follows))
        drained = kw * hours * np.where(kw > 0, 1 / self.discharging, self.charging)
        soc = state[..., _SOC_BEFORE]
        over |= np.abs(kw) > self.kw * (1 + SLACK)
        room = SLACK * self.kw * hours
        over |= (drained > (soc - self.minimum) * self.kwh + room) | (-drained > (self.maximum - soc) * self.kwh + room)
        return np.where(forms, kw * hours, 0.0), drained, over & forms

    @property
    def wears(self) -> bool:
        """See DeviceGroup.wears: where any can form an island."""
        return self.roles is not None

    def worn_kwh(self, state: Array) -> Array:
        """See DeviceGroup.worn_kwh: what the islands drew or fed in."""
        return np.zeros(state.shape[:-1]) if self.roles is None else np.abs(state[..., _FORMED])

    def stored_kwh(self, state: Array) -> Array:
        """See DeviceGroup.stored_kwh."""
        return np.asarray(state[..., _SOC] * self.kwh)

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.telemetry."""
        if self.roles is None:
            return state[..., _SOC : _SOC + 1].copy()
        own, forms = self.roles.able, np.zeros(state.shape[:-1])
        forms[..., own] = setpoints.closed[..., self.roles.switches[own]]
        left = state[..., _WAIT] / np.where(self.restart_h > 0, self.restart_h, 1.0)
        return columns(state[..., _SOC], forms, left)

    @classmethod
    def added_units(cls, specs: Sequence[BatterySpec]) -> list[AddedUnit]:
        """See DeviceGroup.added_units."""
        own = [row for spec in specs if spec.names for row in replacing(spec.names, "storage", "battery", spec.forming)]
        new = [spec for spec in specs if not spec.names]
        added = zip(new_units(new, "battery"), new, strict=True)
        return [*own, *(replace(unit, forms=spec.forming) for unit, spec in added)]

    @classmethod
    def build(cls, specs: Sequence[BatterySpec], feeder: Feeder) -> Batteries:
        """See DeviceGroup.build."""
        rows, specs = _with_own(specs, feeder)
        kw, kva = np.array([spec.kw for spec in specs]), np.array([spec.kva or spec.kw for spec in specs])
        roles = IslandRoles.build(feeder, rows, kw, yields=True) if any(spec.forming for spec in specs) else None
        return cls(
            names=unique_names([spec.label for spec in specs], "battery"),
            buses=tuple(feeder.injections[j].bus for j in rows),
            act_every=act_periods([spec.act_every for spec in specs]),
            injections=rows,
            kw=kw,
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
            restart_h=np.array([spec.restart_h for spec in specs]),
            roles=roles,
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

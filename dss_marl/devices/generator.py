"""Dispatchable generators, grid-following or grid-forming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from dss_marl.devices.base import DeviceGroup, DeviceSpec, unique_names
from dss_marl.devices.fuel_curve import NO_LOAD, SLOPE, FuelCurve
from dss_marl.devices.island_roles import SLACK, IslandRoles
from dss_marl.devices.unit_specs import named_or_placed, placed_in_circuit, replacing, taken_over
from dss_marl.grid.feeder import AddedUnit, Feeder, find
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints, Solution

_JUST_ABOVE_OFF = float(np.nextafter(np.float32(-1), np.float32(0)))  # still above -1 where actions are float32
_LAST_BIT = (1 + _JUST_ABOVE_OFF) / 2  # of the way from the least power to the rating: what that action asks for
_ABOUT_0 = 1e-9  # of hours that are left
# Columns of the device state.
_RUNS, _KW, _SHARE, _WAIT, _LEFT, _BEFORE, _HOURS, _BURNED, _STARTED = range(9)


def _least_kw(data: Any) -> float:
    """A rating that fits ``kw_min``, until the circuit's is known."""
    try:
        return float(data.get("kw_min", 0.0)) if isinstance(data, dict) else 0.0
    except (TypeError, ValueError):
        return 0.0  # what it is, pydantic says


class GeneratorSpec(DeviceSpec):
    """A generator. ``phases`` empty means all of the bus; ``kva`` defaults to 1.25 times ``kw``, power factor 0.8.

    ``names: circuit`` instead controls every Generator of the circuit, and a list the named ones, each with its own
    bus, phases and ratings.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True, json_schema_extra=named_or_placed)

    bus: str = Field(coerce_numbers_to_str=True, description="bus of the feeder that it is connected to")
    kw: float = Field(gt=0, description="rating [kW]")
    kva: float = Field(default=0.0, ge=0, description="rating [kVA]; 0 means 1.25 kw")
    kw_min: float = Field(default=0.0, ge=0, description="minimum power while running [kW]; 0.3 kw is usual")
    power_factor_min: float = Field(default=0.0, ge=0, le=1, description="0: limited by kva only")
    ramp_kw_per_h: float = Field(default=0.0, ge=0, description="ramp limit [kW/h]; 0: none")
    phases: tuple[int, ...] = Field(default=(), description="phases of the bus, such as [1, 3]; empty: all of them")
    name: str = Field(default="", description="of the device; empty: derived from kind, bus and phases")
    forming: bool = Field(default=False, description="can form an island; needs three phases")
    restart_h: float = Field(default=0.5, ge=0, description="lockout after a trip [h]")
    running: bool = Field(default=False, description="runs at half power at reset and when uncontrolled")
    tank_l: float = Field(default=0.0, ge=0, description="fuel for the day [l]; 0: unlimited")
    no_load_l_per_kwh: float = Field(default=NO_LOAD, ge=0, description="fuel at no load per hour and kW of rating [l]")
    slope_l_per_kwh: float = Field(default=SLOPE, gt=0, description="further fuel per kWh of output [l]")
    start_l: float = Field(default=0.0, ge=0, description="fuel of a start: warming up, and wear expressed as fuel [l]")
    names: tuple[str, ...] | Literal["circuit"] | None = Field(default=None, description="generators of the circuit")

    @model_validator(mode="before")
    @classmethod
    def _of_the_circuit(cls, data: Any) -> Any:
        return placed_in_circuit(data, ("bus", "kw", "kva", "phases", "name"), {"kw": max(_least_kw(data), 1.0)})

    @model_validator(mode="after")
    def _consistent(self) -> GeneratorSpec:
        if self.rating_kva < self.kw:
            raise ValueError(f"generator {self.label!r}: kva {self.kva:g} is below kw {self.kw:g}; raise kva")
        if self.kw_min > self.kw:
            raise ValueError(f"generator {self.label!r}: kw_min {self.kw_min:g} is above kw {self.kw:g}; lower it")
        return self

    @property
    def label(self) -> str:
        """The name; by default derived from bus and phases."""
        return self.name or "_".join(["generator", self.bus, *map(str, self.phases)]).lower()

    @property
    def rating_kva(self) -> float:
        """The rating [kVA]."""
        return self.kva or 1.25 * self.kw


@dataclass(frozen=True)
class Generators(DeviceGroup):
    """Dispatchable units. At -1 the first action entry stops a unit; above, it runs at P from kw_min to kw, linearly.

    The second entry is a share of the reactive power available within kVA rating and power factor. A running unit is
    grid-following. In an island without a source the largest running unit that can form it does so, at 1 pu, and
    balances the island's power. The others follow; an island without a grid-forming unit is de-energised and its units
    are off. When an island is connected to the grid, or to the island of a larger unit, its units follow from that step
    on: synchronisation is assumed to succeed; frequency and transients are not modelled. The group must therefore act
    after the switches.

    A running unit burns fuel by a linear curve, at no load too, see FuelCurve. Below ``kw_min`` a grid-forming unit
    keeps running: a load bank behind its terminals takes the difference between ``kw_min`` and what the island draws,
    so that it burns as at ``kw_min``. A unit on a de-energised bus is off and burns nothing.

    A grid-forming unit trips if the island exceeds its limits: P outside 0 to kw, S above kva, one phase above 1.33
    times a third of kva, or more fuel than is left within the interval. It is off at once, and for ``restart_h`` after
    the interval. A grid-following unit is limited by its fuel.
    Device state: running (0 or 1), set point of P [kW], share of reactive power [1], hours until it may start, fuel
    now and before the last interval [l], length of that interval [h], fuel burned in it [l], and whether it started in
    it (0 or 1).

    Attributes:
        injections: (D) index of each in Feeder.injections.
        roles: which of them form an island, and what they deliver.
        fuel: their fuel curves.
        kw, kva, kw_min: (D) ratings [kW, kVA] and minimum power [kW].
        kvar_per_kw: (D) maximum ratio of reactive to active power, from the power factor; 1e6 if limited by kva only.
        ramp_kw_per_h: (D) ramp limit [kW/h]; inf without limit.
        restart_h: (D) lockout after a trip [h].
        running: (D) True where a unit runs at reset and when uncontrolled.
        tank_l: (D) fuel of the day [l]; inf if unlimited.
    """

    injections: IntArray
    roles: IslandRoles
    fuel: FuelCurve
    kw: Array
    kva: Array
    kw_min: Array
    kvar_per_kw: Array
    ramp_kw_per_h: Array
    restart_h: Array
    running: BoolArray
    tank_l: Array

    action_labels: ClassVar[tuple[str, ...]] = ("power, off at -1", "share of available reactive power")
    state_size: ClassVar[int] = 9
    trips: ClassVar[bool] = True
    dispatch_order: ClassVar[int] = 1
    Spec: ClassVar[type[DeviceSpec]] = GeneratorSpec

    @property
    def grid_forming_units(self) -> IntArray:
        """(D) index of each in Feeder.switches, -1 if it cannot form an island."""
        return self.roles.switches

    @property
    def places(self) -> IntArray:
        """(D) position of each in Solution.grid_forming_kw, or -1."""
        return self.roles.places

    @cached_property
    def telemetry_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """Status, set point and lockout, and the fuel left if any unit has a tank."""
        labels = (
            "running [0 or 1]",
            "grid-forming [0 or 1]",
            "set point / rating [1]",
            "lockout left [share]",
        )
        return (*labels, "fuel left [share]") if self._tanks else labels

    def initial(self) -> Array:
        """See DeviceGroup.initial: off, or at half power, with a full tank."""
        state = np.zeros((self.size, self.state_size))
        state[:, _RUNS], state[:, _KW] = self.running, np.where(self.running, (self.kw_min + self.kw) / 2, 0.0)
        state[:, _LEFT] = state[:, _BEFORE] = self.tank_l
        return state

    def default_action(self) -> Array:
        """See DeviceGroup.default_action: off, or at half power."""
        return np.stack([np.where(self.running, 0.0, -1.0), np.zeros(self.size)], axis=-1)

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; limited by the lockout and the ramp."""
        wanted, kw = self._dispatch(action[..., 0], state, interval)
        locked = state[..., _WAIT] > _ABOUT_0
        runs = (action[..., 0] > -1) & ~locked | (kw > 0)  # a unit keeps running while it ramps down
        kept = state.copy()
        kept[..., _RUNS], kept[..., _KW], kept[..., _SHARE] = runs, kw, action[..., 1]
        kept[..., _WAIT] = np.maximum(state[..., _WAIT] - interval.dt_h, 0.0)
        kept[..., _BEFORE], kept[..., _HOURS] = state[..., _LEFT], interval.dt_h
        kept[..., _STARTED] = runs & (state[..., _RUNS] == 0)
        self.hold(kept, setpoints, interval)
        return kept, self._cut(wanted, kw).astype(np.int64) | ((action[..., 0] > -1) & locked)

    def _dispatch(self, requested: Array, state: Array, interval: Interval) -> tuple[Array, Array]:
        """(..., D) active power as requested, and as allowed by ramp and lockout [kW]."""
        fuel = self.fuel.most_kw(state[..., _LEFT], interval.dt_h)
        least = np.minimum(self.kw_min, fuel)  # at the end of its fuel it runs on less than it otherwise can
        wanted = np.where(requested > -1, least + (requested + 1) / 2 * (self.kw - self.kw_min), 0.0)
        now, change = state[..., _KW], self.ramp_kw_per_h * interval.dt_h
        lowest = np.where(now - change > self.kw_min, now - change, 0.0)  # it may stop from its minimum power
        highest = np.maximum(now + change, self.kw_min)
        kw = np.minimum(np.clip(wanted, lowest, highest), fuel)
        return wanted, np.where(state[..., _WAIT] > _ABOUT_0, 0.0, kw)

    def _cut(self, wanted: Array, kw: Array) -> BoolArray:
        """(..., D) whether the power differs from the request, beyond the last bit of a float32 action."""
        off: BoolArray = np.abs(kw - wanted) > _ABOUT_0 + _LAST_BIT * (self.kw - self.kw_min)
        return off

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """See DeviceGroup.hold; grid-forming units are redetermined, since switches and faults may have changed."""
        runs = state[..., _RUNS] > 0
        forms, alive = self.roles.write(runs, setpoints, interval)
        most_kw = self.fuel.most_kw(state[..., _LEFT], interval.dt_h)
        kw = np.where(runs & alive & ~forms, np.minimum(state[..., _KW], most_kw), 0.0)
        most = np.where(kw > 0, np.minimum(np.sqrt(self.kva**2 - kw**2), self.kvar_per_kw * kw), 0.0)
        setpoints.kw[..., self.injections] = kw
        setpoints.kvar[..., self.injections] = state[..., _SHARE] * most

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.hold_action."""
        span = np.maximum(self.kw - self.kw_min, _ABOUT_0)
        kw = np.minimum(state[..., _KW], self.fuel.most_kw(state[..., _LEFT], interval.dt_h))
        share = np.clip(2 * (kw - self.kw_min) / span - 1, _JUST_ABOVE_OFF, 1.0)
        return np.stack([np.where(state[..., _RUNS] > 0, share, -1.0), state[..., _SHARE]], axis=-1)

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.feasible. The power balance of an island, or a de-energised one, is not a limit."""
        wanted, kw = self._dispatch(action[..., 0], state, interval)
        locked = (action[..., 0] > -1) & (state[..., _WAIT] > _ABOUT_0)
        first = ~self._cut(wanted, kw) & ~locked
        return np.stack([first, np.ones(first.shape, bool)], axis=-1)

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """See DeviceGroup.check: overloaded units trip; the others continue from the power their island drew."""
        own = self.roles.able
        forms = setpoints.closed[..., self.grid_forming_units[own]]
        tripped = np.zeros(state.shape[:-1], bool)
        state, given = state.copy(), setpoints.kw[..., self.injections].copy()
        if forms.any():
            total, over = self._asked(state, solution)
            tripped[..., own] = forms & over
            rated = np.clip(total, self.kw_min[own], self.kw[own])
            state[..., own, _KW] = np.where(forms, rated, state[..., own, _KW])
            state[..., [_RUNS, _KW]] *= ~tripped[..., None]
            state[..., _WAIT] = np.where(tripped, self.restart_h, state[..., _WAIT])
            given[..., own] = np.where(forms, total, given[..., own])
        again = tripped.any(axis=-1, keepdims=True)  # the interval is solved again without tripped units
        on = (state[..., _RUNS] > 0) & self.roles.fed(solution) & ~again
        burned = self.fuel.burned_l(given, state[..., _HOURS], state[..., _STARTED])
        state[..., _BURNED] = np.where(on, np.minimum(burned, state[..., _BEFORE]), 0.0)
        state[..., _LEFT] = state[..., _BEFORE] - state[..., _BURNED] if self._tanks else state[..., _BEFORE]
        return state, tripped.astype(np.int64)

    def _asked(self, state: Array, solution: Solution) -> tuple[Array, BoolArray]:
        """For units that can form an island: output of each [kW], and whether it exceeded the limits."""
        own = self.roles.able
        total, over = self.roles.loaded(solution, self.kva[own])
        rated, memory = self.kw[own], state[..., own, :]
        over |= (total > rated * (1 + SLACK)) | (total < -rated * SLACK)
        need = self.fuel.of(own).burned_l(total, memory[..., _HOURS], memory[..., _STARTED])
        over |= need > memory[..., _BEFORE] * (1 + SLACK)
        return total, over

    def left_l(self, state: Array) -> Array:
        """(..., D) fuel left [l]; inf if unlimited."""
        return np.asarray(state[..., _LEFT])

    def fuel_l(self, state: Array) -> Array:
        """See DeviceGroup.fuel_l."""
        return np.asarray(state[..., _BURNED])

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.telemetry."""
        own = self.roles.able
        forms = np.zeros(state.shape[:-1])
        forms[..., own] = setpoints.closed[..., self.grid_forming_units[own]]
        left = state[..., _WAIT] / np.where(self.restart_h > 0, self.restart_h, 1.0)
        columns = [state[..., _RUNS], forms, state[..., _KW] / self.kw, left]
        if self._tanks:
            columns.append(np.where(np.isfinite(self.tank_l), state[..., _LEFT], 1.0) / self._base_l)
        return np.stack(columns, axis=-1)

    @cached_property
    def _base_l(self) -> Array:
        """(D) base of the fuel telemetry [l]; 1 if unlimited, which reads 1."""
        return np.where(np.isfinite(self.tank_l), self.tank_l, 1.0)

    @cached_property
    def _tanks(self) -> bool:
        """Whether any fuel is limited."""
        return bool(np.isfinite(self.tank_l).any())

    @classmethod
    def added_units(cls, specs: Sequence[GeneratorSpec]) -> list[AddedUnit]:
        """One unit each."""
        own = [spec for spec in specs if not spec.names]
        names = unique_names([spec.label for spec in own], "generator")
        added = [
            AddedUnit(name, spec.bus, spec.kw, spec.phases, "generator", forms=spec.forming)
            for name, spec in zip(names, own, strict=True)
        ]
        return [
            *(row for s in specs if s.names for row in replacing(s.names, "generator", "generator", s.forming)),
            *added,
        ]

    @classmethod
    def build(cls, specs: Sequence[GeneratorSpec], feeder: Feeder) -> Generators:
        """See DeviceGroup.build."""
        rows, specs = _with_own(specs, feeder)
        units = [feeder.injections[j] for j in rows]
        factor = np.array([max(spec.power_factor_min, 1e-6) for spec in specs])
        return cls(
            names=unique_names([spec.label for spec in specs], "generator"),
            buses=tuple(unit.bus for unit in units),
            injections=np.array(rows, dtype=np.int64),
            roles=IslandRoles.build(feeder, rows, np.array([spec.kw for spec in specs])),
            fuel=FuelCurve.build([(s.kw, s.kw_min, s.no_load_l_per_kwh, s.slope_l_per_kwh, s.start_l) for s in specs]),
            kw=np.array([spec.kw for spec in specs]),
            kva=np.array([spec.rating_kva for spec in specs]),
            kw_min=np.array([spec.kw_min for spec in specs]),
            kvar_per_kw=np.sqrt(1 / factor**2 - 1),
            ramp_kw_per_h=np.array([spec.ramp_kw_per_h or np.inf for spec in specs]),
            restart_h=np.array([spec.restart_h for spec in specs]),
            running=np.array([spec.running for spec in specs]),
            tank_l=np.array([spec.tank_l or np.inf for spec in specs]),
        )


def _with_own(specs: Sequence[GeneratorSpec], feeder: Feeder) -> tuple[list[int], list[GeneratorSpec]]:
    """Index of each generator in Feeder.injections, and its settings; the circuit's own with their ratings.

    Raises:
        ValueError: one of the circuit's is smaller than ``kw_min``.
    """
    rows: dict[str, GeneratorSpec] = {}
    for spec in specs:
        if not spec.names:
            rows[f"generator.{spec.label}"] = spec
            continue
        for unit in taken_over(spec.names, "generator", feeder, rows):
            if spec.kw_min > unit.kw:
                raise ValueError(
                    f"generator {unit.name!r}: kw_min {spec.kw_min:g} is above its {unit.kw:g} kW; lower it"
                )
            name = unit.injection.split(".", 1)[1]
            known = {"names": None, "name": name, "bus": unit.bus, "kw": unit.kw, "kva": max(unit.kva, unit.kw)}
            rows[unit.injection] = spec.model_copy(update=known)
    return [find(feeder.injections, name, "generator", feeder.name) for name in rows], list(rows.values())

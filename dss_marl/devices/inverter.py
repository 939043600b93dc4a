"""PV inverters: reactive power and active-power curtailment within the kVA rating."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from dss_marl.devices import volt_var_curve as volt_var
from dss_marl.devices.base import DeviceGroup, DeviceSpec, act_periods, clipped, unique_names
from dss_marl.devices.unit_specs import named_or_placed, placed_in_circuit, replacing, taken_over
from dss_marl.grid.feeder import AddedUnit, Feeder, find
from dss_marl.grid.indexing import contiguous
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Number, Setpoints, Solution


class InverterSpec(DeviceSpec):
    """A PV inverter. ``phases`` empty means all of the bus; ``kva`` defaults to 1.2 times ``kw``.

    ``names: circuit`` instead controls every PVSystem of the circuit, and a list the named ones, each with its own bus,
    phases, peak power and rating.
    """

    model_config = ConfigDict(json_schema_extra=named_or_placed)

    bus: str = Field(coerce_numbers_to_str=True, description="bus of the feeder that it is connected to")
    kw: float = Field(gt=0, description="PV peak power [kW]")
    kva: float = Field(default=0.0, ge=0, description="rating [kVA]; 0 means 1.2 kw")
    phases: tuple[int, ...] = Field(default=(), description="phases of the bus, such as [1, 3]; empty: all of them")
    name: str = Field(default="", description="of the device; empty: derived from kind, bus and phases")
    curtail: bool = Field(default=False, description="allow active-power curtailment")
    mode: Literal["share", "power_factor", "volt_var"] = Field(default="share", description="meaning of the entries")
    priority: Literal["watt", "var"] = Field(default="watt", description="power with precedence within the rating")
    category: Literal["A", "B", "none"] = Field(default="none", description="reactive capability of IEEE 1547-2018")
    night: bool = Field(default=True, description="reactive power also without active power")
    power_factor_min: float = Field(default=0.9, gt=0, le=1, description="minimum power factor in mode power_factor")
    names: tuple[str, ...] | Literal["circuit"] | None = Field(default=None, description="PV systems of the circuit")
    action_scale: float = Field(
        default=1.0, gt=0, le=1, description="share of the available reactive power at action 1, in mode share"
    )

    @model_validator(mode="before")
    @classmethod
    def _place(cls, data: dict[str, object]) -> dict[str, object]:
        if not isinstance(data, dict):
            return data
        return placed_in_circuit(data, ("bus", "kw", "kva", "phases", "name"), {"kw": 1.0})

    @model_validator(mode="after")
    def _scales_shares(self) -> InverterSpec:
        if self.action_scale != 1 and self.mode != "share":
            raise ValueError(f"action_scale is for mode share; in mode {self.mode} leave it out")
        return self

    @property
    def label(self) -> str:
        """The name; by default derived from bus and phases."""
        return self.name or "_".join(["inverter", self.bus, *map(str, self.phases)]).lower()

    @property
    def rating_kva(self) -> float:
        """The rating [kVA]."""
        return self.kva or 1.2 * self.kw


# IEEE 1547-2018, table 7: kvar over rating, injected and absorbed
_CAPABILITY = {"A": (0.44, 0.25), "B": (0.44, 0.44), "none": (np.inf, np.inf)}
_ENTRIES = {
    "share": ("share of available reactive power",),
    "power_factor": ("power factor, lower with magnitude, + injects kvar",),
    "volt_var": volt_var.PARAMETERS,
}


@dataclass(frozen=True)
class Inverters(DeviceGroup):
    """PV inverters, limited by the kVA rating and by the category's reactive capability.

    The priority decides which power the rating cuts: reactive power under watt priority, active power under var
    priority. Meaning of the first action entries by mode:

    - share: kvar = a times the available kvar, q = a sqrt(S^2 - P^2) under watt priority, at night too unless
      ``night`` is off. With ``action_scale`` c, q = c a sqrt(S^2 - P^2).
    - power_factor: kvar = +-P tan(acos(1 - abs(a) (1 - power_factor_min))), within rating and category.
    - volt_var: parameters of a curve; the kvar follows the voltage, see ``volt_var_curve.kvar_share``. Under var
      priority the active power leaves room for the full kvar of the curve.

    With ``curtail`` a last entry curtails active power, P = (1 + min(a, 0)) P_available, so 0 and above curtail none.
    Device state: the entries as applied, so a held inverter keeps its share while its kvar follows the rating; the
    curtailment; and, only in volt_var, kvar over rating.

    Attributes:
        injections: (D) index of each in Feeder.injections.
        kva: (D) rating [kVA].
        may_curtail: (D) 1 where curtailment is allowed, else 0.
        mode: of all inverters of the group.
        given, taken: (D) maximum injected and absorbed reactive power by category; inf: by the rating [kvar].
        var_first: (D) True where reactive power has priority.
        night: (D) True where reactive power does not need active power.
        power_factor_min: (D) minimum power factor.
        places: measurement points, in volt_var.
        action_scale: (D) share of the available reactive power at entry 1, in mode share.
    """

    injections: IntArray
    kva: Array
    may_curtail: Array
    mode: str = "share"
    given: Array | float = np.inf
    taken: Array | float = np.inf
    var_first: BoolArray | bool = False
    night: BoolArray | bool = True
    power_factor_min: Array | float = 0.9
    places: volt_var.Places | None = None
    action_scale: Array | float = 1.0

    Spec: ClassVar[type[DeviceSpec]] = InverterSpec

    @cached_property
    def action_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the mode, and one more if any inverter may curtail."""
        entries = _ENTRIES[self.mode]
        return (*entries, "PV curtailed where negative") if self.may_curtail.any() else entries

    @cached_property
    def state_size(self) -> int:  # type: ignore[override]
        """Entries, curtailment, and the kvar in volt_var."""
        return self._held + (2 if self.voltage_dependent else 1)

    @cached_property
    def voltage_dependent(self) -> bool:  # type: ignore[override]
        """Whether kvar follows the voltage."""
        return self.mode == "volt_var"

    @property
    def has_check(self) -> bool:
        """Only a curve has a kvar to continue from."""
        return self.voltage_dependent

    @cached_property
    def _held(self) -> int:
        return len(_ENTRIES[self.mode])

    @cached_property
    def _kva_squared(self) -> Array:
        return self.kva**2

    @cached_property
    def _rows(self) -> Any:
        return contiguous(self.injections)

    # Steps that no inverter of the group needs are skipped, since an environment acts and holds in every step.
    @cached_property
    def _any_var_first(self) -> bool:
        return bool(np.any(self.var_first))

    @cached_property
    def _any_category(self) -> bool:
        return bool(np.isfinite(self.given).any() or np.isfinite(self.taken).any())

    @cached_property
    def _any_scale(self) -> bool:
        return bool(np.any(self.action_scale != 1))

    @cached_property
    def _any_curtailment(self) -> bool:
        return bool(self.may_curtail.any())

    @cached_property
    def _all_nights(self) -> bool:
        return bool(np.all(self.night))

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; curtailment requests without ``curtail`` are refused."""
        kept, held = state.copy(), self._held
        kept[..., :held] = action[..., :held]
        if action.shape[-1] > held:
            held_back = np.minimum(action[..., held], 0)
            kept[..., held] = held_back * self.may_curtail
            limited = (~self._can_curtail(held_back)).astype(np.int64)
        else:
            kept[..., held] = 0.0
            limited = np.zeros(kept.shape[:-1], dtype=np.int64)
        self.hold(kept, setpoints, interval)
        return kept, limited

    def _can_curtail(self, entry: Array) -> BoolArray:
        return (entry >= 0) | (self.may_curtail > 0)

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """See DeviceGroup.hold."""
        sun = setpoints.kw[..., self._rows]
        if self._any_curtailment:
            sun = sun * (1 + state[..., self._held])
        sun = np.minimum(sun, self.kva)
        setpoints.kw[..., self._rows], setpoints.kvar[..., self._rows] = self._power(sun, state)

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.hold_action."""
        return state[..., : len(self.action_labels)].copy()

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.feasible; shares are relative to the available power, so only curtailment can be refused."""
        allowed = np.ones(action.shape, bool)
        if action.shape[-1] > self._held:
            allowed[..., self._held] = self._can_curtail(action[..., self._held])
        return allowed

    def _power(self, sun: Array, state: Array) -> tuple[Array, Array]:
        """(..., D) kW and kvar from the PV power after curtailment [kW]."""
        entry, kw = state[..., 0], sun
        if self.mode == "power_factor":
            factor = 1 - np.abs(entry) * (1 - self.power_factor_min)
            tangent = np.sqrt(1 - factor**2) / factor
            # At constant power factor the rating is reached at factor * S, unless the category limits the kvar first.
            most = np.maximum(factor * self.kva, self._beside(self._capability(entry)))
            kw = np.where(self.var_first, np.minimum(kw, most), kw)
            return kw, self._lit(kw, np.sign(entry) * np.minimum(tangent * kw, self._reach(entry, self._beside(kw))))
        if self.voltage_dependent:
            most = self._beside(np.minimum(np.maximum(self.given, self.taken), volt_var.MOST * self.kva))
            kw = np.where(self.var_first, np.minimum(kw, most), kw)
            return kw, self._within(state[..., -1] * self.kva, kw)
        if self._any_scale:
            entry = entry * self.action_scale
        if not self._any_var_first:
            return kw, self._lit(kw, entry * self._reach(entry, self._beside(kw)))
        kvar = self._lit(kw, entry * self._reach(entry, np.where(self.var_first, self.kva, self._beside(kw))))
        return np.where(self.var_first, np.minimum(kw, self._beside(kvar)), kw), kvar

    def _beside(self, part: Array) -> Array:
        """(..., D) the other component within the rating: kvar for given kW, or kW for given kvar."""
        return np.sqrt(np.maximum(self._kva_squared - part * part, 0.0))

    def _capability(self, sign: Array) -> Array:
        """(..., D) maximum kvar in the direction of the sign by category, within the rating."""
        return np.minimum(np.where(sign >= 0, self.given, self.taken), self.kva)

    def _reach(self, sign: Array, room: Array) -> Array:
        return np.minimum(room, self._capability(sign)) if self._any_category else room

    def _lit(self, kw: Array, kvar: Array) -> Array:
        return kvar if self._all_nights else np.where(self.night | (kw > 0), kvar, 0.0)

    def _within(self, kvar: Array, kw: Array) -> Array:
        """(..., D) the nearest feasible kvar for these kW [kvar]."""
        reach = self._reach(kvar, self._beside(kw))
        return self._lit(kw, clipped(kvar, -reach, reach))

    def respond(self, state: Array, setpoints: Setpoints, solution: Solution) -> Number:
        """See DeviceGroup.respond; each moves part of the way, less for steeper curves."""
        if self.places is None:
            return np.zeros(state.shape[:-2])
        entries = state[..., : self._held]
        wanted = volt_var.kvar_share(entries, self.places.voltages(solution.v_alive)) * self.kva
        kvar = setpoints.kvar[..., self.injections]
        off = self._within(wanted, setpoints.kw[..., self.injections]) - kvar
        setpoints.kvar[..., self.injections] = kvar + self.places.damping(entries) * off
        return np.asarray(np.abs(off / self.kva).max(axis=-1))

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """See DeviceGroup.check; a curve continues from the resulting kvar."""
        if self.voltage_dependent:
            state = state.copy()
            state[..., -1] = setpoints.kvar[..., self.injections] / self.kva
        return state, np.zeros(state.shape[:-1], np.int64)

    @classmethod
    def added_units(cls, specs: Sequence[InverterSpec]) -> list[AddedUnit]:
        """One unit each, or one for each replaced PVSystem."""
        names = unique_names([spec.label for spec in specs if not spec.names], "inverter")
        small = next((spec for spec in specs if spec.rating_kva < spec.kw), None)
        if small is not None:
            raise ValueError(f"inverter {small.label!r}: kva {small.kva:g} is below kw {small.kw:g}; raise kva")
        label = iter(names)
        rows: list[AddedUnit] = []
        for spec in specs:
            if spec.names:
                rows += replacing(spec.names, "pvsystem", "inverter")
            else:
                rows.append(AddedUnit(next(label), spec.bus, spec.kw, spec.phases))
        return rows

    @classmethod
    def build(cls, specs: Sequence[InverterSpec], feeder: Feeder) -> Inverters:
        """See DeviceGroup.build."""
        modes = {spec.mode for spec in specs}
        if len(modes) > 1:
            raise ValueError(f"inverters have modes {', '.join(sorted(modes))}; use one mode for all of a scenario")
        found: dict[str, tuple[float, InverterSpec]] = {}  # injection: kVA and spec
        for spec in specs:
            rows = {f"generator.{spec.label}": spec.rating_kva}
            if spec.names:
                rows = {unit.injection: unit.kva for unit in taken_over(spec.names, "pvsystem", feeder, found)}
            found |= {name: (kva, spec) for name, kva in rows.items()}
        index = {row.name: j for j, row in enumerate(feeder.injections)}
        rows_of = [
            index[name] if name in index else find(feeder.injections, name, "inverter", feeder.name) for name in found
        ]
        kva, said = np.array([kva for kva, _ in found.values()]), [spec for _, spec in found.values()]
        given, taken = kva * np.array([_CAPABILITY[spec.category] for spec in said]).T
        return cls(
            names=tuple(name.split(".", 1)[1] for name in found),
            buses=tuple(feeder.injections[j].bus for j in rows_of),
            act_every=act_periods([spec.act_every for spec in said]),
            injections=np.array(rows_of, dtype=np.int64),
            kva=kva,
            may_curtail=np.array([float(spec.curtail) for spec in said]),
            mode=said[0].mode,
            given=given,
            taken=taken,
            var_first=np.array([spec.priority == "var" for spec in said]),
            night=np.array([spec.night for spec in said]),
            power_factor_min=np.array([spec.power_factor_min for spec in said]),
            places=volt_var.places(feeder, rows_of, kva) if said[0].mode == "volt_var" else None,
            action_scale=np.array([spec.action_scale for spec in said]),
        )

"""PV inverters: reactive power and active-power curtailment within the kVA rating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from dss_marl.devices import volt_var_curve as volt_var
from dss_marl.devices.base import DeviceGroup, DeviceSpec, act_periods, clipped, device_kind, unique_names
from dss_marl.devices.converters import Converters
from dss_marl.devices.guard import Guard
from dss_marl.devices.inverter_spec import InverterSpec
from dss_marl.devices.unit_specs import replacing, taken_over
from dss_marl.devices.volt_watt_curve import VoltWatt
from dss_marl.grid.feeder import AddedUnit, Feeder, find
from dss_marl.grid.indexing import contiguous
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Number, Setpoints, Solution
from dss_marl.grid.voltage_band import VoltageBand

_ENTRIES = {
    "share": ("share of available reactive power",),
    "power_factor": ("power factor, lower with magnitude, + injects kvar",),
    "volt_var": volt_var.PARAMETERS,
}


@dataclass(frozen=True)
class Inverters(DeviceGroup):
    """PV inverters, limited by the kVA rating and by the category's reactive capability.

    What the converters lose because of the reactive power is taken off the active power, see ``Converters``; powers
    below are those before. The priority decides which power the rating cuts: reactive power under watt priority, active
    power under var priority. Meaning of the first action entries by mode:

    - share: kvar = a times the available kvar, which is sqrt(S^2 - P^2) under watt priority, or less by category; at
      night too unless ``night`` is off. With ``action_scale`` c, the available kvar times c. Without sun, a share below
      ``rest_share`` is none: the losses of a converter that runs for a few kvar alone are more than these are worth,
      and numbers that are drawn or predicted are never exactly 0.
    - power_factor: kvar = +-P tan(acos(1 - abs(a) (1 - power_factor_min))), within rating and category.
    - volt_var: parameters of a curve; the kvar follows the voltage, see ``volt_var_curve.kvar_share``. Under var
      priority the active power leaves room for the full kvar of the curve.

    With a guard, in mode share, kvar that grow steeply beyond edges just inside the band's limits are added to the
    share, within capability, by the voltage within each interval; see ``guard.Guard``.

    With ``curtail`` a last entry curtails active power, P = (1 + min(a, 0)) P_available, so 0 and above curtail none.
    With volt-watt the active power also stays below a curve of the voltage at its own bus, within each interval.
    Device state: the entries as applied, so a held inverter keeps its share while its kvar follows the rating; the
    curtailment; kvar over rating in volt_var, or with a guard the number of its responses, which is 0 except while set
    points follow the voltage; and the power before volt-watt over rating, only with it, which is
    0 except while set points follow the voltage.

    Attributes:
        injections: (D) index of each in Feeder.injections.
        kva: (D) rating [kVA].
        may_curtail: (D) 1 where curtailment is allowed, else 0.
        mode: of all inverters of the group.
        own_converters: capability and losses; None: lossless, limited by the rating alone.
        var_first: (D) True where reactive power has priority.
        night: (D) True where reactive power does not need active power.
        power_factor_min: (D) minimum power factor.
        places: measurement points, in volt_var, with volt-watt and with a guard.
        watt: volt-watt curves; None: no inverter of the group has one.
        action_scale: (D) share of the available reactive power at entry 1, in mode share.
        guard: responses near the limits of the band, in mode share; None: no inverter of the group has one.
        rest_share: (D) shares that smaller ones than these leave the converter off without sun, in mode share.
    """

    injections: IntArray
    kva: Array
    may_curtail: Array
    mode: str = "share"
    own_converters: Converters | None = None
    var_first: BoolArray | bool = False
    night: BoolArray | bool = True
    power_factor_min: Array | float = 0.9
    places: volt_var.Places | None = None
    watt: VoltWatt | None = None
    action_scale: Array | float = 1.0
    guard: Guard | None = None
    rest_share: Array | float = 0.0

    Spec: ClassVar[type[DeviceSpec]] = InverterSpec

    @cached_property
    def action_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the mode, and one more if any inverter may curtail."""
        entries = _ENTRIES[self.mode]
        return (*entries, "PV curtailed where negative") if self.may_curtail.any() else entries

    @cached_property
    def state_size(self) -> int:  # type: ignore[override]
        """Entries, curtailment, the kvar in volt_var or a guard's responses, and the power before volt-watt."""
        return self._held + 1 + (self._by_curve or self.guard is not None) + (self.watt is not None)

    @cached_property
    def voltage_dependent(self) -> bool:  # type: ignore[override]
        """Whether kvar or kW follow the voltage."""
        return self._by_curve or self.watt is not None or self.guard is not None

    @property
    def has_check(self) -> bool:
        """Only what follows the voltage has something to continue from, or to forget."""
        return self.voltage_dependent

    @cached_property
    def converters(self) -> Converters:
        """Capability and losses."""
        return Converters.ideal(self.kva) if self.own_converters is None else self.own_converters

    @cached_property
    def _by_curve(self) -> bool:
        return self.mode == "volt_var"

    @cached_property
    def _held(self) -> int:
        return len(_ENTRIES[self.mode])

    @cached_property
    def _rows(self) -> Any:
        return contiguous(self.injections)

    # Steps that no inverter of the group needs are skipped, since an environment acts and holds in every step.
    @cached_property
    def _any_var_first(self) -> bool:
        return bool(np.any(self.var_first))

    @cached_property
    def _any_scale(self) -> bool:
        return bool(np.any(self.action_scale != 1))

    @cached_property
    def _any_rest(self) -> bool:
        return bool(np.any(self.rest_share))

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
        if self.watt is not None:
            kept[..., -1] = 0.0
        if self.guard is not None:
            kept[..., held + 1] = 0.0
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
        self.converters.write(self._rows, *self._power(sun, state), setpoints)

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.hold_action."""
        return state[..., : len(self.action_labels)].copy()

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.feasible; shares are relative to the available power, so only curtailment can be refused."""
        allowed = np.ones(action.shape, bool)
        if action.shape[-1] > self._held:
            allowed[..., self._held] = self._can_curtail(action[..., self._held])
        return allowed

    def reach(self, sign: Array, kw: Array) -> Array:
        """(..., D) maximum kvar in the direction of the sign, beside this active power [kvar]."""
        return self._lit(kw, self.converters.reach(sign, kw))

    def _power(self, sun: Array, state: Array) -> tuple[Array, Array]:
        """(..., D) kW and kvar from the PV power after curtailment [kW]."""
        entry, kw, own = state[..., 0], sun, self.converters
        if self.mode == "power_factor":
            factor = 1 - np.abs(entry) * (1 - self.power_factor_min)
            tangent = np.sqrt(1 - factor**2) / factor
            # At constant power factor the rating is reached at factor * S, unless the category limits the kvar first.
            most = np.maximum(factor * self.kva, own.beside(own.capability(entry)))
            kw = np.where(self.var_first, np.minimum(kw, most), kw)
            return kw, self._lit(kw, np.sign(entry) * np.minimum(tangent * kw, own.reach(entry, kw)))
        if self._by_curve:
            most = own.beside(np.minimum(np.maximum(own.given, own.taken), volt_var.MOST * self.kva))
            kw = np.where(self.var_first, np.minimum(kw, most), kw)
            return kw, self._within(state[..., self._held + 1] * self.kva, kw)
        if self._any_rest:
            entry = np.where((sun == 0) & (np.abs(entry) < self.rest_share), 0.0, entry)
        if self._any_scale:
            entry = entry * self.action_scale
        if not self._any_var_first:
            return kw, self._lit(kw, entry * own.reach(entry, kw))
        kvar = self._lit(kw, entry * own.within(entry, np.where(self.var_first, self.kva, own.beside(kw))))
        return np.where(self.var_first, np.minimum(kw, own.beside(kvar)), kw), kvar

    def _lit(self, kw: Array, kvar: Array) -> Array:
        return kvar if self._all_nights else np.where(self.night | (kw > 0), kvar, 0.0)

    def _within(self, kvar: Array, kw: Array) -> Array:
        """(..., D) the nearest feasible kvar for these kW [kvar]."""
        reach = self.converters.reach(kvar, kw)
        return self._lit(kw, clipped(kvar, -reach, reach))

    def respond(self, state: Array, setpoints: Setpoints, solution: Solution) -> Number:
        """See DeviceGroup.respond; each moves part of the way, less for steeper curves."""
        if self.places is None:
            return np.zeros(state.shape[:-2])
        v_pu, rows = self.places.voltages(solution.v_alive), self.injections
        kw, kvar = setpoints.kw[..., rows] + setpoints.lost_kw[..., rows], setpoints.kvar[..., rows]
        entries, off_kw = state[..., : self._held], np.zeros(kw.shape)
        gain: Array | float = 0.0
        if self.watt is not None:
            gain = self.watt.gain
            unread = state[..., -1] == 0
            state[..., -1] = np.where(unread, kw / self.kva, state[..., -1])
            most = np.minimum(state[..., -1] * self.kva, self.watt.most_kw(v_pu))
            off_kw = self._power(most, state)[0] - kw
        if self.guard is not None:
            moved = kw + off_kw / (1 + gain)
            off = self._guarded(self.guard, v_pu, moved, state, setpoints)
        elif not self._by_curve:
            self.converters.write(rows, *self._power(kw + off_kw / (1 + gain), state), setpoints)
            return np.asarray(np.abs(off_kw / self.kva).max(axis=-1))
        else:
            step = self.places.damping(entries, gain)
            kw = kw + step * off_kw
            off = self._within(volt_var.kvar_share(entries, v_pu) * self.kva, kw) - kvar
            self.converters.write(rows, kw, kvar + step * off, setpoints)
        return np.asarray((np.maximum(np.abs(off), np.abs(off_kw)) / self.kva).max(axis=-1))

    def _guarded(self, guard: Guard, v_pu: Array, kw: Array, state: Array, setpoints: Setpoints) -> Array:
        """(..., D) what the kvar lack of those called for [kvar]; writes set points with these kW, and moves the kvar.

        Args:
            guard: that of the inverters.
            v_pu, kw: (..., D) voltages, and active powers to write, before losses.
            state, setpoints: as of ``respond``.
        """
        so_far = state[..., self._held + 1]
        asked, kvar = self._power(kw, state)[1], setpoints.kvar[..., self.injections]
        off = self._within(asked + guard.share(v_pu) * self.kva, kw) - kvar
        change, least, most = guard.step(v_pu, asked / self.kva, kvar / self.kva, off / self.kva, so_far)
        state[..., self._held + 1] += 1.0
        moved = clipped(kvar + change * self.kva, least * self.kva, most * self.kva)
        self.converters.write(self.injections, kw, self._within(moved, kw), setpoints)
        return off

    def settle(self, state: Array, setpoints: Setpoints, solution: Solution, shift_pu: Array | float = 0.0) -> None:
        """See DeviceGroup.settle."""
        if self.places is None:
            return
        v_pu, rows = self.places.voltages(solution.v_alive) + shift_pu, self.injections
        kw = setpoints.kw[..., rows] + setpoints.lost_kw[..., rows]
        if self.watt is not None:
            kw = np.minimum(kw, self.watt.most_kw(v_pu))
        kw, kvar = self._power(kw, state)
        if self._by_curve:
            kvar = self._within(volt_var.kvar_share(state[..., : self._held], v_pu) * self.kva, kw)
        elif self.guard is not None:
            kvar = self._within(kvar + self.guard.share(v_pu) * self.kva, kw)
        self.converters.write(rows, kw, kvar, setpoints)

    def starts(self, setpoints: Setpoints) -> BoolArray | None:
        """See DeviceGroup.starts: the shares of converters without sun, where those may rest."""
        if not self._any_rest:
            return None
        kw = setpoints.kw[..., self._rows] + setpoints.lost_kw[..., self._rows]
        found = np.zeros((*kw.shape, len(self.action_labels)), bool)
        found[..., 0] = (kw == 0) & (self.rest_share > 0)
        return found

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """See DeviceGroup.check; a curve continues from the resulting kvar, volt-watt from the next PV power."""
        if self.voltage_dependent:
            state = state.copy()
        if self._by_curve:
            state[..., self._held + 1] = setpoints.kvar[..., self.injections] / self.kva
        if self.guard is not None:
            state[..., self._held + 1] = 0.0
        if self.watt is not None:
            state[..., -1] = 0.0
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
        watts, follows = any(spec.volt_watt for spec in said), said[0].mode == "volt_var"
        guarded = any(spec.guard for spec in said)
        places = volt_var.places(feeder, rows_of, kva) if watts or follows or guarded else None
        return cls(
            names=tuple(name.split(".", 1)[1] for name in found),
            buses=tuple(feeder.injections[j].bus for j in rows_of),
            act_every=act_periods([spec.act_every for spec in said]),
            injections=np.array(rows_of, dtype=np.int64),
            kva=kva,
            may_curtail=np.array([float(spec.curtail) for spec in said]),
            mode=said[0].mode,
            own_converters=Converters.of(said, kva),
            var_first=np.array([spec.priority == "var" for spec in said]),
            night=np.array([spec.night for spec in said]),
            rest_share=np.array([spec.rest_share for spec in said]),
            power_factor_min=np.array([spec.power_factor_min for spec in said]),
            places=places,
            watt=_volt_watt(feeder, rows_of, said, kva, places) if places is not None and watts else None,
            action_scale=np.array([spec.action_scale for spec in said]),
            guard=_guard(feeder, rows_of, said, kva) if guarded else None,
        )

    def with_band(self, band: VoltageBand) -> Inverters:
        """See DeviceGroup.with_band: the guards' edges are inside it."""
        if self.guard is None or self.places is None:
            return self
        return replace(self, guard=self.guard.in_band(band, self.places))


def takes_shares(data: Mapping[str, Any]) -> bool:
    """Whether a device of a scenario, as plain data, is an inverter of mode share."""
    return issubclass(device_kind(str(data.get("kind"))), Inverters) and data.get("mode", "share") == "share"


def _volt_watt(
    feeder: Feeder, rows: Sequence[int], specs: Sequence[InverterSpec], kva: Array, places: volt_var.Places
) -> VoltWatt:
    peak_kw = np.array([feeder.injections[j].kw for j in rows])
    assert places.rise_by_kw is not None
    return VoltWatt.of([spec.volt_watt for spec in specs], peak_kw, kva, places.rise_by_kw)


def _guard(feeder: Feeder, rows: Sequence[int], specs: Sequence[InverterSpec], kva: Array) -> Guard:
    return Guard.of([spec.guard for spec in specs], volt_var.joint_rises(feeder, rows, kva))

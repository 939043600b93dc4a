"""Flexible loads: loads of the circuit that can be shed or shifted in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec, Goal, act_periods, clipped, unique_names
from dss_marl.devices.unit_specs import unserved
from dss_marl.grid.feeder import Feeder, find
from dss_marl.grid.load_priorities import Priorities
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints, Solution

_ENTRY, _OWED, _PACE, _SHED, _BACK, _LOST = range(6)  # columns of the device state
_NOTHING = 1e-9  # [kWh] rounding tolerance


class FlexibleLoadSpec(DeviceSpec):
    """Loads of the circuit by name, or all of them, each a device."""

    names: tuple[str, ...] | Literal["all"] = Field(description="names of loads of the circuit, or all")
    most: float = Field(default=1.0, gt=0, le=1, description="maximum share of the load to shed")
    mode: Literal["shed", "shift"] = Field(default="shed", description="shift recovers the energy later")
    payback_h: float = Field(default=2.0, gt=0, description="duration of the payback of shifted energy [h]")
    payback: float = Field(default=1.0, ge=1, description="recovered energy over shed energy; above 1: rebound")
    priority: float = Field(default=1.0, ge=0, description="weight of shed energy")


@dataclass(frozen=True)
class FlexibleLoads(DeviceGroup):
    """Loads. The action sheds the share (a + 1) / 2 * ``most`` of the load, at constant power factor.

    Shed energy is unmet or, with ``shift``, owed. Owed energy is recovered evenly over ``payback_h``, from the next
    interval on, multiplied by ``payback``; energy owed later adds its own recovery power until nothing is owed.
    Device state: the entry; energy owed [kWh], before rebound; recovery power [kW]; energy shed, recovered and lost
    (shed without recovery) in the last interval [kWh].

    Attributes:
        injections: (D) index of each in Feeder.injections.
        most: (D) maximum share to shed.
        shift: (D) True where shed energy is recovered.
        payback_h, payback: (D) duration and factor of the recovery [h, 1].
        priority: (D) weight of shed energy, times that of the load's class if the scenario has ``priorities``.
        base_kwh: (D) nominal sheddable energy in ``payback_h``, the base of the telemetry [kWh].
    """

    injections: IntArray
    most: Array
    shift: BoolArray
    payback_h: Array
    payback: Array
    priority: Array
    base_kwh: Array

    action_labels: ClassVar[tuple[str, ...]] = ("load shed",)
    state_size: ClassVar[int] = 6
    telemetry_labels: ClassVar[tuple[str, ...]] = ("energy owed [share of sheddable in payback_h]", "share shed [1]")
    Spec: ClassVar[type[DeviceSpec]] = FlexibleLoadSpec

    def with_priorities(self, priorities: Priorities) -> FlexibleLoads:
        """See DeviceGroup.with_priorities."""
        return replace(self, priority=self.priority * priorities.weight[self.injections])

    def initial(self) -> Array:
        """See DeviceGroup.initial: nothing shed, nothing owed."""
        state = np.zeros((self.size, self.state_size))
        state[:, _ENTRY] = -1.0
        return state

    def default_action(self) -> Array:
        """See DeviceGroup.default_action: nothing shed."""
        return np.full((self.size, 1), -1.0)

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; nothing is refused."""
        shed, back = self._write(action[..., 0], state, setpoints, interval)
        owed = np.where(self.shift, state[..., _OWED] - back + shed, 0.0)
        owed = np.where(owed > _NOTHING, owed, 0.0)
        pace = np.where(owed > 0, state[..., _PACE] + shed / self.payback_h, 0.0)
        lost = np.where(self.shift, 0.0, shed)
        kept = np.stack([np.broadcast_to(action[..., 0], shed.shape), owed, pace, shed, back, lost], -1)
        return kept, np.zeros(shed.shape, np.int64)

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """See DeviceGroup.hold."""
        self._write(state[..., _ENTRY], state, setpoints, interval)

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.hold_action."""
        return state[..., _ENTRY : _ENTRY + 1].copy()

    def action_towards(self, goal: Goal, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.action_towards: to the energy owed at the goal, where shed energy is recovered."""
        back = np.minimum(state[..., _OWED], state[..., _PACE] * interval.dt_h)
        shed = goal.state[..., _OWED] - (state[..., _OWED] - back)
        most = np.maximum(-setpoints.kw[..., self.injections], 0.0) * self.most * interval.dt_h
        share = np.divide(shed, most, out=np.zeros(shed.shape), where=most > 0)
        entry = np.where(self.shift & (most > 0), clipped(2 * share - 1, -1.0, 1.0), goal.action[..., 0])
        return entry[..., None]

    def _write(self, entry: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, Array]:
        """Set the loads; returns (..., D) energy shed, and recovered without rebound, in the interval [kWh]."""
        kw, kvar = setpoints.kw[..., self.injections], setpoints.kvar[..., self.injections]
        share = (entry + 1) / 2 * self.most
        back = np.minimum(state[..., _OWED], state[..., _PACE] * interval.dt_h)
        after = kw * (1 - share) - back * self.payback / interval.dt_h
        ratio = np.divide(after, kw, out=1 - share, where=kw < 0)
        setpoints.kw[..., self.injections] = after
        setpoints.kvar[..., self.injections] = kvar * ratio
        return np.maximum(-kw, 0.0) * share * interval.dt_h, back

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """See DeviceGroup.check; on a de-energised bus shed energy is lost, and nothing is recovered."""
        dead = unserved(self.injections, setpoints, solution)
        if dead.any():
            state = state.copy()
            undone = np.where(self.shift, state[..., _BACK] - state[..., _SHED], 0.0)
            state[..., _OWED] += np.where(dead, undone, 0.0)
            state[..., _PACE] = np.where(dead, state[..., _OWED] / self.payback_h, state[..., _PACE])
            state[..., _LOST] = np.where(dead, state[..., _SHED], state[..., _LOST])
            state[..., [_SHED, _BACK]] = np.where(dead[..., None], 0.0, state[..., [_SHED, _BACK]])
        return state, np.zeros(state.shape[:-1], np.int64)

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.telemetry."""
        return np.stack([state[..., _OWED] / self.base_kwh, (state[..., _ENTRY] + 1) / 2 * self.most], -1)

    def unmet_kwh(self, before: Array, after: Array, interval: Interval) -> Array:
        """See DeviceGroup.unmet_kwh: energy shed without recovery."""
        return np.asarray(after[..., _LOST] * self.priority)

    def stored_kwh(self, state: Array) -> Array:
        """See DeviceGroup.stored_kwh: energy still to be recovered, with rebound, negative."""
        return -state[..., _OWED] * self.payback

    @classmethod
    def build(cls, specs: Sequence[FlexibleLoadSpec], feeder: Feeder) -> FlexibleLoads:
        """See DeviceGroup.build."""
        loads = [feeder.injections[j] for j in feeder.loads]
        rows: list[int] = []
        expanded: list[FlexibleLoadSpec] = []
        for spec in specs:
            names = [row.name for row in loads] if spec.names == "all" else list(spec.names)
            rows += [int(feeder.loads[find(loads, name, "load", feeder.name)]) for name in names]
            expanded += [spec] * len(names)
        if not rows:
            raise ValueError(f"feeder {feeder.name!r} has no load to shed; remove the kind")
        payback_h, most = np.array([spec.payback_h for spec in expanded]), np.array([spec.most for spec in expanded])
        nominal = most * np.maximum(-feeder.nominal_kw[rows], 0.0) * payback_h
        return cls(
            names=unique_names([feeder.injections[j].name.split(".", 1)[1] for j in rows], "flexible load"),
            buses=tuple(feeder.injections[j].bus for j in rows),
            act_every=act_periods([spec.act_every for spec in expanded]),
            injections=np.array(rows, dtype=np.int64),
            most=most,
            shift=np.array([spec.mode == "shift" for spec in expanded]),
            payback_h=payback_h,
            payback=np.array([spec.payback for spec in expanded]),
            priority=np.array([spec.priority for spec in expanded]),
            base_kwh=np.where(nominal > 0, nominal, 1.0),
        )

"""Switched capacitor banks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec, Goal, act_periods, unique_names
from dss_marl.grid.feeder import Feeder, find
from dss_marl.grid.indexing import contiguous
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints


class CapacitorSpec(DeviceSpec):
    """Capacitor banks of the circuit by name, or all of them (``circuit`` says the same); each step is a device."""

    names: tuple[str, ...] | Literal["all", "circuit"] = Field(
        default="all", description="names of banks, or all; circuit says the same"
    )
    discharge_h: float = Field(default=0.0, ge=0, description="minimum time from opening to reclosing [h]")
    absolute: bool = Field(default=False, description="the action is the state, closed above 0; without holding")


@dataclass(frozen=True)
class Capacitors(DeviceGroup):
    """Capacitor steps. An action above 1/3 closes, below -1/3 opens, in between the state holds.

    With ``absolute`` an action above 0 closes, and any other opens.
    Closing onto residual charge causes a large inrush current, so a step must discharge first.
    Device state: hours since opening, up to the discharge time.

    Attributes:
        switches: (D) index of each in Feeder.switches.
        discharge_h: (D) minimum time from opening to reclosing [h].
        absolute: (D) True where the action is the state.
        rest: (D) 1 where a step is closed initially, else -1.
    """

    switches: IntArray
    discharge_h: Array | None = None
    absolute: BoolArray | None = None
    rest: Array | None = None

    state_size: ClassVar[int] = 1
    circuit_controls: ClassVar[bool] = True
    Spec: ClassVar[type[DeviceSpec]] = CapacitorSpec

    @property
    def action_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """One entry, a change or a state."""
        if self._absolute.all():
            return ("closed above 0",)
        return ("close above 1/3, open below -1/3",)

    @cached_property
    def telemetry_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """The remaining discharge time, if there is one."""
        return ("time until reclosing is allowed [discharge_h]",) if self._waits else ()

    @cached_property
    def _wait(self) -> Array:
        return np.zeros(self.size) if self.discharge_h is None else self.discharge_h

    @cached_property
    def _waits(self) -> bool:
        return bool(self._wait.any())

    @cached_property
    def _absolute(self) -> BoolArray:
        return np.zeros(self.size, bool) if self.absolute is None else self.absolute

    @cached_property
    def _any_absolute(self) -> bool:
        return bool(self._absolute.any())

    def _requested(self, entry: Array) -> Array:
        """(..., D) the entries with those of absolute steps at their ends."""
        return np.where(self._absolute, np.where(entry > 0, 1.0, -1.0), entry) if self._any_absolute else entry

    @cached_property
    def _rows(self) -> Any:
        return contiguous(self.switches)

    def n_levels(self) -> IntArray:
        """See DeviceGroup.n_levels: open, hold, close; or open, closed."""
        return np.where(self._absolute, 2, 3)[:, None]

    def default_action(self) -> Array:
        """See DeviceGroup.default_action: hold, or the initial state."""
        rest = np.ones(self.size) if self.rest is None else self.rest
        return np.where(self._absolute, rest, 0.0)[:, None]

    def at_start(self, start: Setpoints) -> Capacitors:
        """See DeviceGroup.at_start: the default action of an absolute step is its state at reset."""
        return replace(self, rest=np.where(start.closed[self.switches], 1.0, -1.0))

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.hold_action: hold, or the present state."""
        there = np.where(setpoints.closed[..., self.switches], 1.0, -1.0)
        return np.where(self._absolute, there, 0.0)[..., None]

    def initial(self) -> Array:
        """See DeviceGroup.initial: all discharged."""
        return self._wait[:, None].copy()

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; closing before discharge is refused."""
        before, requested = setpoints.closed[..., self._rows].copy(), self._requested(action[..., 0])
        if not self._waits:
            setpoints.closed[..., self._rows] = np.where(np.abs(requested) > 1 / 3, requested > 0, before)
            return np.zeros((*requested.shape, 1)), np.zeros(requested.shape, np.int64)
        allowed = self._allowed(requested, state, before)
        requested = np.where(allowed, requested, 0.0)
        after = np.where(np.abs(requested) > 1 / 3, requested > 0, before)
        setpoints.closed[..., self._rows] = after
        since = np.where(before & ~after, 0.0, state[..., 0]) + interval.dt_h
        return np.minimum(since, self._wait)[..., None], (~allowed).astype(np.int64)

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.feasible."""
        return self._allowed(self._requested(action[..., 0]), state, setpoints.closed[..., self.switches])[..., None]

    def request(self, before: BoolArray | IntArray, after: BoolArray | IntArray) -> Array:
        """(..., D, 1) the action that takes each step from one state (..., D) to another."""
        moved = np.asarray(after, float) - np.asarray(before, float)
        return np.where(self._absolute, 2.0 * np.asarray(after, float) - 1.0, moved)[..., None]

    def action_towards(self, goal: Goal, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.action_towards: to the state of the goal."""
        return self.request(setpoints.closed[..., self.switches], goal.setpoints.closed[..., self.switches])

    def _allowed(self, requested: Array, state: Array, closed: BoolArray) -> BoolArray:
        waiting = ~closed & (state[..., 0] < self._wait - 1e-9)  # hours accumulate rounding errors
        allowed: BoolArray = ~((requested > 1 / 3) & waiting)
        return allowed

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.telemetry."""
        waits = (self._wait > 0) & ~setpoints.closed[..., self.switches]
        left = np.where(waits, 1 - state[..., 0] / np.where(self._wait > 0, self._wait, 1.0), 0.0)
        return left[..., None][..., : len(self.telemetry_labels)]

    @classmethod
    def build(cls, specs: Sequence[CapacitorSpec], feeder: Feeder) -> Capacitors:
        """See DeviceGroup.build."""
        banks = [row for row in feeder.switches if row.kind == "capacitor"]
        rows: list[int] = []
        said: list[CapacitorSpec] = []
        for spec in specs:
            for name in [row.name for row in banks] if spec.names in ("all", "circuit") else spec.names:
                of_bank = [i for i, row in enumerate(feeder.switches) if row.element == f"capacitor.{name}".lower()]
                rows += of_bank or [feeder.switches.index(banks[find(banks, name, "capacitor", feeder.name)])]
            said += [spec] * (len(rows) - len(said))
        if not rows:
            raise ValueError(f"feeder {feeder.name!r} has no capacitor; remove the kind")
        found = [feeder.switches[i] for i in rows]
        return cls(
            names=unique_names([row.name.split(".", 1)[1] for row in found], "capacitor"),
            buses=tuple(row.bus for row in found),
            act_every=act_periods([spec.act_every for spec in said]),
            switches=np.array(rows, dtype=np.int64),
            discharge_h=np.array([spec.discharge_h for spec in said]),
            absolute=np.array([spec.absolute for spec in said]),
            rest=np.array([1.0 if row.closed else -1.0 for row in found]),
        )

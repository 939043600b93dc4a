"""Voltage regulators: tap changers, individual or ganged, with limited moves per step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from dss_marl.devices.base import DeviceGroup, DeviceSpec, Goal, act_periods, unique_names
from dss_marl.grid.feeder import Feeder, find
from dss_marl.grid.indexing import contiguous
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints


class RegulatorSpec(DeviceSpec):
    """Regulators of the circuit by the names of their transformers, or all of them."""

    names: tuple[str, ...] | Literal["all"] = Field(default="all", description="names of their transformers, or all")
    moves: int = Field(default=2, ge=1, le=32, description="maximum tap moves per step")
    absolute: bool = Field(default=False, description="the action is a tap position, from lowest to highest")
    ganged: bool = Field(default=False, description="the named regulators form one device with common moves")
    name: str = Field(default="", description="name of a ganged device; empty: the names joined by +")
    min_time_h: float = Field(default=0.0, ge=0, description="minimum time between moves [h]")

    @model_validator(mode="after")
    def _named(self) -> RegulatorSpec:
        if self.name and not self.ganged:
            raise ValueError(f"name {self.name!r} is for a ganged device; remove it, or set ganged: true")
        return self


@dataclass(frozen=True)
class Regulators(DeviceGroup):
    """Tap changers. The action requests round(a * moves) steps up (+) or down (-) from the present position.

    With ``absolute`` it requests a position, -1 the lowest and 1 the highest; if it is more than ``moves`` away, the
    tap moves as far as allowed. A ganged device has several taps: the position of the first one counts, all move by the
    same number of steps, and the first to reach its end stop stops all.
    Device state: hours since the last move, up to the minimum time between moves.

    Attributes:
        taps: (T) index of each tap in the Feeder's taps, device after device.
        moves: (D) maximum moves per step.
        lowest, highest: (T) end positions.
        first: (D) where each device's taps begin in ``taps``; None: one each.
        absolute: (D) True where the action is a position.
        min_time_h: (D) minimum time between moves [h].
        rest: (D) action for the initial position of an absolute device.
    """

    taps: IntArray
    moves: IntArray
    lowest: IntArray
    highest: IntArray
    first: IntArray | None = None
    absolute: BoolArray | None = None
    min_time_h: Array | None = None
    rest: Array | None = None

    state_size: ClassVar[int] = 1
    circuit_controls: ClassVar[bool] = True
    Spec: ClassVar[type[DeviceSpec]] = RegulatorSpec

    @property
    def action_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """One entry, a move or a position."""
        if self._absolute.all():
            return ("tap position",)
        return ("tap moves, or position",) if self._absolute.any() else ("tap moves",)

    @cached_property
    def telemetry_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """The remaining time until a move is allowed, if limited."""
        return ("time until the next move is allowed [min_time_h]",) if self._waits else ()

    @cached_property
    def leading(self) -> IntArray:
        """(D) position in ``taps`` of each device's first tap."""
        return np.arange(self.size) if self.first is None else self.first

    @cached_property
    def owner(self) -> IntArray:
        """(T) the device of each tap."""
        return np.repeat(np.arange(self.size), np.diff([*self.leading, len(self.taps)]))

    @cached_property
    def _absolute(self) -> BoolArray:
        return np.zeros(self.size, bool) if self.absolute is None else self.absolute

    @cached_property
    def _wait(self) -> Array:
        return np.zeros(self.size) if self.min_time_h is None else self.min_time_h

    # Steps that no regulator of the group needs are skipped, since an environment acts in every step.
    @cached_property
    def _waits(self) -> bool:
        return bool(self._wait.any())

    @cached_property
    def _any_absolute(self) -> bool:
        return bool(self._absolute.any())

    @cached_property
    def _one_each(self) -> bool:
        return len(self.taps) == self.size

    @cached_property
    def _rows(self) -> Any:
        return contiguous(self.taps)

    @cached_property
    def _span(self) -> IntArray:
        """(D) moves from the lowest position to the highest."""
        return (self.highest - self.lowest)[self.leading]

    def n_levels(self) -> IntArray:
        """See DeviceGroup.n_levels: all moves, or all positions."""
        return np.where(self._absolute, self._span, 2 * self.moves)[:, None] + 1

    def default_action(self) -> Array:
        """See DeviceGroup.default_action: no move, or the initial position."""
        rest = np.zeros(self.size) if self.rest is None else self.rest
        return np.where(self._absolute, rest, 0.0)[:, None]

    def at_start(self, start: Setpoints) -> Regulators:
        """See DeviceGroup.at_start: the default action of an absolute device is its position at reset."""
        there = start.tap[self.taps][self.leading]
        return replace(self, rest=_entry(there, self.lowest[self.leading], self._span))

    def initial(self) -> Array:
        """See DeviceGroup.initial: all are free to move."""
        return self._wait[:, None].copy()

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; limited by end positions, moves per step and the time between moves."""
        wanted = self._wanted(action[..., 0], setpoints)
        low, high = self.room(state, setpoints)
        moved = np.minimum(np.maximum(wanted, low), high)
        setpoints.tap[..., self._rows] += moved if self._one_each else moved[..., self.owner]
        limited = (moved != wanted).astype(np.int64)
        if not self._waits:
            return np.zeros((*moved.shape, 1)), limited
        since = np.where(moved != 0, 0.0, state[..., 0]) + interval.dt_h
        return np.minimum(since, self._wait)[..., None], limited

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.hold_action: no move, or the position."""
        if not self._any_absolute:
            return np.zeros((*setpoints.tap.shape[:-1], self.size, 1))
        there = _entry(setpoints.tap[..., self.taps][..., self.leading], self.lowest[self.leading], self._span)
        return np.where(self._absolute, there, 0.0)[..., None]

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.feasible."""
        wanted = self._wanted(action[..., 0], setpoints)
        low, high = self.room(state, setpoints)
        allowed: BoolArray = ((low <= wanted) & (wanted <= high))[..., None]
        return allowed

    def request(self, before: IntArray, after: IntArray) -> Array:
        """(..., D, 1) the action that takes each device's first tap from one position (..., D) to another."""
        lowest = self.lowest[self.leading]
        return np.where(self._absolute, _entry(after, lowest, self._span), (after - before) / self.moves)[..., None]

    def action_towards(self, goal: Goal, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.action_towards: the way from the present position, as far as it is allowed."""
        first = self.taps[self.leading]
        before, (low, high) = setpoints.tap[..., first], self.room(state, setpoints)
        return self.request(before, before + np.clip(goal.setpoints.tap[..., first] - before, low, high))

    def _wanted(self, entry: Array, setpoints: Setpoints) -> IntArray:
        """(..., D) moves requested by the entry (..., D)."""
        moves = np.rint(entry * self.moves).astype(np.int64)
        if not self._any_absolute:
            return moves
        place = (setpoints.tap[..., self.taps] - self.lowest)[..., self.leading]
        goal = np.rint((entry + 1) / 2 * self._span).astype(np.int64)
        return np.where(self._absolute, goal - place, moves)

    def room(self, state: Array, setpoints: Setpoints) -> tuple[IntArray, IntArray]:
        """(..., D) lowest and highest feasible number of moves; 0 always is feasible."""
        tap = setpoints.tap[..., self._rows]
        low, high, most = self.lowest - tap, self.highest - tap, self.moves
        if not self._one_each:
            low = np.maximum.reduceat(low, self.leading, axis=-1)
            high = np.minimum.reduceat(high, self.leading, axis=-1)
        if self._waits:
            most = np.where(state[..., 0] < self._wait - 1e-9, 0, most)  # hours accumulate rounding errors
        return np.minimum(np.maximum(low, -most), 0), np.minimum(np.maximum(high, 0), most)

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.telemetry."""
        left = 1 - state / np.where(self._wait > 0, self._wait, 1.0)[:, None]
        return np.where(self._wait[:, None] > 0, left, 0.0)[..., : len(self.telemetry_labels)]

    @classmethod
    def build(cls, specs: Sequence[RegulatorSpec], feeder: Feeder) -> Regulators:
        """See DeviceGroup.build."""
        devices: list[tuple[RegulatorSpec, list[int]]] = []
        for spec in specs:
            names = [tap.name for tap in feeder.taps] if spec.names == "all" else list(spec.names)
            if not names:
                raise ValueError(f"feeder {feeder.name!r} has no regulator; remove the kind")
            rows = [find(feeder.taps, name, "regulator", feeder.name) for name in names]
            devices += [(spec, rows)] if spec.ganged else [(spec, [row]) for row in rows]
        every_tap = [row for _, rows in devices for row in rows]
        own = unique_names([feeder.taps[row].name.split(".", 1)[1] for row in every_tap], "regulator")
        first = np.cumsum([0, *(len(rows) for _, rows in devices)])[:-1]
        joined = ["+".join(own[f : f + len(rows)]) for f, (_, rows) in zip(first, devices, strict=True)]
        taps = [feeder.taps[row] for row in every_tap]
        ends = np.array([[tap.minimum, tap.maximum] for tap in taps], dtype=np.int64)
        start = np.array([tap.initial for tap in taps], dtype=np.int64)[first]
        return cls(
            names=unique_names(
                [spec.name or name for name, (spec, _) in zip(joined, devices, strict=True)], "regulator"
            ),
            buses=tuple(feeder.taps[rows[0]].bus2 for _, rows in devices),
            act_every=act_periods([spec.act_every for spec, _ in devices]),
            taps=np.array(every_tap, dtype=np.int64),
            moves=np.array([spec.moves for spec, _ in devices], dtype=np.int64),
            lowest=ends[:, 0],
            highest=ends[:, 1],
            first=first,
            absolute=np.array([spec.absolute for spec, _ in devices]),
            min_time_h=np.array([spec.min_time_h for spec, _ in devices]),
            rest=_entry(start, ends[first, 0], (ends[:, 1] - ends[:, 0])[first]),
        )


def _entry(position: IntArray, lowest: IntArray, span: IntArray) -> Array:
    """The action, -1 to 1, for one of ``span`` + 1 positions; 0 if there is only one."""
    entry: Array = np.where(span > 0, 2.0 * (position - lowest) / np.maximum(span, 1) - 1.0, 0.0)
    return entry

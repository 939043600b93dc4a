"""Line switches and ties, with an interlock against loops, parallel sources and energised faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec, Goal, unique_names
from dss_marl.grid.feeder import AddedSwitch, Feeder, find
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints
from dss_marl.grid.topology import Topology

_ABOUT_0 = 1e-9  # [h] rounding tolerance


class TieSpec(BaseModel):
    """A new normally open tie between two buses. ``phases`` empty means all that both buses have."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    name: str = Field(description="of the new switch")
    bus1: str = Field(description="one end")
    bus2: str = Field(description="the other end")
    phases: tuple[int, ...] = Field(default=(), description="phases that it connects; empty: all that both buses have")
    amps: float = Field(default=600.0, gt=0, description="rating [A]")


class SwitchSpec(DeviceSpec):
    """Line switches by name, or all of them; other lines to make switchable; and new ties."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    names: tuple[str, ...] | Literal["all", "circuit"] = Field(
        default="all", description="all includes lines and ties; circuit: its own, and this spec's lines and ties"
    )
    lines: tuple[str, ...] = Field(default=(), description="lines made switchable, with their impedance")
    ties: tuple[TieSpec, ...] = Field(default=(), description="ties to add, normally open")
    interlock: bool = Field(default=True, description="refuse loops, parallel sources and energised faults")
    lockout_h: float = Field(default=0.0, ge=0, description="minimum time between operations [h]")

    @property
    def added(self) -> list[AddedSwitch]:
        """Lines and ties to add as switches."""
        ties = [AddedSwitch(tie.name, tie.bus1, tie.bus2, tie.phases, tie.amps) for tie in self.ties]
        return [*map(AddedSwitch, self.lines), *ties]


@dataclass(frozen=True)
class Switches(DeviceGroup):
    """Line switches. An action above 1/3 closes, below -1/3 opens, in between the state holds.

    Under the interlock a closing must form no loop, put no sources in parallel and energise no fault; see Topology.
    Closings that are feasible individually may be refused together: requests are applied one at a time, in an order
    that rotates with the step; refused ones count as limited. Opening is always allowed.
    Device state: hours until the switch may operate again.

    Attributes:
        switches: (D) index of each in Feeder.switches.
        lockout_h: (D) minimum time between operations [h].
        topology: connectivity of the feeder; None without interlock.
    """

    switches: IntArray
    lockout_h: Array
    topology: Topology | None

    action_labels: ClassVar[tuple[str, ...]] = ("close above 1/3, open below -1/3",)
    state_size: ClassVar[int] = 1
    coupled: ClassVar[bool] = True
    Spec: ClassVar[type[DeviceSpec]] = SwitchSpec

    @cached_property
    def telemetry_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """The remaining lockout, if there is one."""
        return ("lockout left [share]",) if self.lockout_h.any() else ()

    def n_levels(self) -> IntArray:
        """See DeviceGroup.n_levels: open, hold, close."""
        return np.full((self.size, 1), 3, np.int64)

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act."""
        before = setpoints.closed[..., self.switches]
        requests = self._requests(action[..., 0], before)
        if not requests.any():
            return np.maximum(state - interval.dt_h, 0.0), np.zeros(requests.shape, np.int64)
        locked = (requests != 0) & (state[..., 0] > _ABOUT_0)
        requests = np.where(locked, 0, requests)
        refused = self._operate(requests, setpoints, interval)
        moved = setpoints.closed[..., self.switches] != before
        wait_h = np.where(moved, self.lockout_h, state[..., 0])
        kept = np.maximum(wait_h - interval.dt_h, 0.0)[..., None]
        return kept, (locked | refused).astype(np.int64)

    def _requests(self, entry: Array, closed: BoolArray) -> IntArray:
        """(..., D) 1 for a closing, -1 for an opening, else 0."""
        wanted = np.where(np.abs(entry) > 1 / 3, entry > 0, closed)
        return wanted.astype(np.int64) - closed

    def _operate(self, requests: IntArray, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """Execute requests; returns which were refused, (..., D)."""
        if self.topology is None:
            setpoints.closed[..., self.switches] = setpoints.closed[..., self.switches] + requests > 0
            return np.zeros(requests.shape, bool)
        setpoints.closed[...], refused = self.topology.resolve(
            setpoints.closed, self.switches, requests, interval.faulted, interval.step % self.size
        )
        return refused

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.feasible."""
        requests = self._requests(action[..., 0], setpoints.closed[..., self.switches])
        free = state[..., 0] <= _ABOUT_0
        if self.topology is None:
            return np.array((requests == 0) | free)[..., None]
        may_close = self.topology.may_close(setpoints.closed, interval.faulted)[..., self.switches]
        return np.array((requests == 0) | free & ((requests < 0) | may_close))[..., None]

    def action_towards(self, goal: Goal, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.action_towards: to the state of the goal."""
        wanted, present = goal.setpoints.closed[..., self.switches], setpoints.closed[..., self.switches]
        return (wanted.astype(float) - present)[..., None]

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.telemetry."""
        left = state[..., 0] / np.where(self.lockout_h > 0, self.lockout_h, 1.0)
        return left[..., None][..., : len(self.telemetry_labels)]

    @classmethod
    def added_switches(cls, specs: Sequence[SwitchSpec]) -> list[AddedSwitch]:
        """See DeviceGroup.added_switches."""
        return [row for spec in specs for row in spec.added]

    @classmethod
    def build(cls, specs: Sequence[SwitchSpec], feeder: Feeder) -> Switches:
        """See DeviceGroup.build."""
        if len({spec.interlock for spec in specs}) > 1:
            raise ValueError("switches: interlock must be the same for all of them")
        lines = [row for row in feeder.switches if row.kind == "switch"]
        rows: dict[str, float] = {}
        names: list[str] = []
        for spec in specs:
            new = {f"line.{row.name.split('.', 1)[-1]}".lower() for spec in specs for row in spec.added}
            wanted = [] if isinstance(spec.names, str) else list(spec.names) + [row.name for row in spec.added]
            if spec.names == "circuit":
                wanted = [row.name for row in lines if row.name not in new] + [row.name for row in spec.added]
            found = [lines[find(lines, name, "switch", feeder.name)] for name in wanted] if wanted else lines
            names += [row.name.split(".", 1)[1] for row in found]
            rows |= {row.name: spec.lockout_h for row in found}
        if not rows:
            raise ValueError(f"feeder {feeder.name!r} has no line switch; add lines or ties, or remove the kind")
        unique_names(names, "switch")
        index = {row.name: s for s, row in enumerate(feeder.switches)}
        return cls(
            names=tuple(names),
            buses=tuple(feeder.switches[index[name]].bus for name in rows),
            switches=np.array([index[name] for name in rows], dtype=np.int64),
            lockout_h=np.array(list(rows.values())),
            topology=Topology.build(feeder) if specs[0].interlock else None,
        )

"""Ties to other feeders with limited capacity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec, Goal, unique_names
from dss_marl.grid.feeder import AddedUnit, Feeder, find
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints, Solution
from dss_marl.grid.topology import Topology

_UNBALANCE = 1.33  # limit of one phase over a third of the total limit
_SLACK = 1e-4  # relative margin for the solver's tolerance
_ABOUT_0 = 1e-9  # [h] rounding tolerance


class FeederTieSpec(DeviceSpec):
    """A tie to another feeder, at a bus with three phases."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    bus: str = Field(description="bus of the feeder that it is connected to")
    kva: float = Field(gt=0, description="spare capacity of the other feeder [kVA]")
    name: str = Field(default="", description="of the device; empty: derived from its bus")
    restart_h: float = Field(default=0.5, ge=0, description="lockout after a trip [h]")

    @property
    def label(self) -> str:
        """The name; by default derived from the bus."""
        return self.name.lower() or f"feeder_tie_{self.bus}".lower()


@dataclass(frozen=True)
class FeederTies(DeviceGroup):
    """Ties to other feeders, sources at 1 pu behind a switch. Above 1/3 closes, below -1/3 opens, in between holds.

    A tie may close onto a de-energised part, or onto an island, whose generators then become grid-following; never onto
    a part that another feeder supplies, nor onto a fault. It trips at once if its load exceeds ``kva``, or on one phase
    1.33 times a third of it, and stays open for ``restart_h`` after the interval.
    Device state: hours until it may close, and its output in the last interval [kVA].

    Attributes:
        grid_forming_units: (D) index of each in Feeder.switches.
        kva: (D) limits [kVA].
        restart_h: (D) lockout after a trip [h].
        topology: connectivity of the feeder.
        places: (D) position of each in Solution.grid_forming_kw.
    """

    grid_forming_units: IntArray
    kva: Array
    restart_h: Array
    topology: Topology
    places: IntArray

    action_labels: ClassVar[tuple[str, ...]] = ("close above 1/3, open below -1/3",)
    telemetry_labels: ClassVar[tuple[str, ...]] = (
        "closed [0 or 1]", "apparent power / limit [1]", "lockout left [share]",
    )  # fmt: skip
    state_size: ClassVar[int] = 2
    coupled: ClassVar[bool] = True
    trips: ClassVar[bool] = True
    Spec: ClassVar[type[DeviceSpec]] = FeederTieSpec

    def n_levels(self) -> IntArray:
        """See DeviceGroup.n_levels: open, hold, close."""
        return np.full((self.size, 1), 3, np.int64)

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; closings are applied one at a time, in an order that rotates with the step."""
        self.hold(state, setpoints, interval)
        requests = self._requests(action[..., 0], setpoints)
        refused = np.zeros(requests.shape, bool)
        locked = state[..., 0] > _ABOUT_0
        for row in np.ndindex(requests.shape[:-1]):
            closed, faulted = setpoints.closed[row], interval.faulted_in(row)
            for d in np.roll(np.arange(self.size), -(interval.step_in(row) % self.size)):
                if requests[row][d] > 0 and (
                    locked[row][d] or not self.topology.may_supply(closed, int(self.grid_forming_units[d]), faulted)
                ):
                    refused[(*row, d)] = True
                elif requests[row][d]:
                    closed[self.grid_forming_units[d]] = requests[row][d] > 0
        kept = state.copy()
        kept[..., 0] = np.maximum(state[..., 0] - interval.dt_h, 0.0)
        return kept, refused.astype(np.int64)

    def _requests(self, entry: Array, setpoints: Setpoints) -> IntArray:
        """(..., D) 1 for a closing, -1 for an opening, else 0."""
        closed = setpoints.closed[..., self.grid_forming_units]
        wanted = np.where(np.abs(entry) > 1 / 3, entry > 0, closed)
        return wanted.astype(np.int64) - closed

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """See DeviceGroup.hold: tripped ties are open."""
        setpoints.closed[..., self.grid_forming_units] &= state[..., 0] <= _ABOUT_0

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.feasible."""
        tripped = state[..., 0] > _ABOUT_0
        held = setpoints.copy()
        self.hold(state, held, interval)
        requests = self._requests(action[..., 0], held)
        ties = self.grid_forming_units.tolist()
        may = np.stack([self.topology.may_supply(held.closed, s, interval.faulted) for s in ties], axis=-1)
        return np.array((requests <= 0) | may & ~tripped)[..., None]

    def action_towards(self, goal: Goal, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.action_towards: to the state of the goal."""
        ties = self.grid_forming_units
        return (goal.setpoints.closed[..., ties].astype(float) - setpoints.closed[..., ties])[..., None]

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """See DeviceGroup.check: overloaded ties trip."""
        kw, kvar = solution.grid_forming_kw[..., self.places, :], solution.grid_forming_kvar[..., self.places, :]
        given, most = np.hypot(kw.sum(axis=-1), kvar.sum(axis=-1)), self.kva * (1 + _SLACK)
        over = (given > most) | (np.hypot(kw, kvar).max(axis=-1) > _UNBALANCE * most / 3)
        state = state.copy()
        state[..., 0] = np.where(over, self.restart_h, state[..., 0])
        state[..., 1] = given
        return state, over.astype(np.int64)

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.telemetry."""
        left = state[..., 0] / np.where(self.restart_h > 0, self.restart_h, 1.0)
        return np.stack([setpoints.closed[..., self.grid_forming_units], state[..., 1] / self.kva, left], axis=-1)

    @classmethod
    def added_units(cls, specs: Sequence[FeederTieSpec]) -> list[AddedUnit]:
        """See DeviceGroup.added_units: a grid-forming unit per tie."""
        names = unique_names([spec.label for spec in specs], "feeder_tie")
        return [
            AddedUnit(name, spec.bus, spec.kva, kind="feeder_tie", forms=True)
            for name, spec in zip(names, specs, strict=True)
        ]

    @classmethod
    def build(cls, specs: Sequence[FeederTieSpec], feeder: Feeder) -> FeederTies:
        """See DeviceGroup.build."""
        rows = [find(feeder.injections, f"generator.{spec.label}", "feeder_tie", feeder.name) for spec in specs]
        grid_forming_units = [feeder.injections[j].grid_forming_switch for j in rows]
        place = {int(s): g for g, s in enumerate(feeder.grid_forming_units)}
        return cls(
            names=tuple(spec.label for spec in specs),
            buses=tuple(feeder.injections[j].bus for j in rows),
            grid_forming_units=np.array(grid_forming_units, dtype=np.int64),
            kva=np.array([spec.kva for spec in specs]),
            restart_h=np.array([spec.restart_h for spec in specs]),
            topology=Topology.build(feeder),
            places=np.array([place[s] for s in grid_forming_units], dtype=np.int64),
        )

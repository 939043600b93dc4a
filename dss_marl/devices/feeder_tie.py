"""FeederTies: ties to other feeders, which give so much and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec, unique_names
from dss_marl.grid.feeder import AddedUnit, Feeder, find
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints, Solution
from dss_marl.grid.topology import Topology

_UNBALANCE = 1.33  # of a third of the limit: what one phase can carry
_SLACK = 1e-4  # of the limit, for the solver's tolerance
_ABOUT_0 = 1e-9  # of hours that are left


class SupplySpec(DeviceSpec):
    """A tie to another feeder, at a bus with three phases."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    bus: str
    kva: float = Field(gt=0, description="what the other feeder can spare [kVA]")
    name: str = ""
    restart_h: float = Field(default=0.5, ge=0, description="how long it stays open after a trip [h]")

    @property
    def label(self) -> str:
        """The name, or one made of the bus."""
        return self.name.lower() or f"supply_{self.bus}".lower()


@dataclass(frozen=True)
class FeederTies(DeviceGroup):
    """Ties to other feeders, at 1 pu behind a switch of their own. Above 1/3 closes, below -1/3 opens, between them
    nothing moves.

    A tie closes onto what is dead, or onto an island, whose generators then follow; never onto what another feeder
    supplies, nor onto a fault. It trips at once where it is asked for more than ``kva``, or on a phase for more than
    1.33 times a third of that, and stays open for ``restart_h`` after the interval.
    Memory: hours until it may close, and what it gave in the last interval [kVA].

    Attributes:
        formers: (D) index of each in the Feeder's switches.
        kva: (D) limits [kVA].
        restart_h: (D) how long a trip lasts [h].
        topology: what the switches join.
        places: (D) position of each in Solution.former_kw.
    """

    grid_forming_units: IntArray
    kva: Array
    restart_h: Array
    topology: Topology
    places: IntArray

    action_labels: ClassVar[tuple[str, ...]] = ("close above 1/3, open below -1/3",)
    telemetry_labels: ClassVar[tuple[str, ...]] = (
        "closed [0 or 1]", "apparent power over limit [1]", "time to reclose, share of it [1]",
    )  # fmt: skip
    state_size: ClassVar[int] = 2
    coupled: ClassVar[bool] = True
    trips: ClassVar[bool] = True
    Spec: ClassVar[type[DeviceSpec]] = SupplySpec

    def n_levels(self) -> IntArray:
        """See DeviceGroup.levels: open, stay, close."""
        return np.full((self.size, 1), 3, np.int64)

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; closings are taken in turn, the first being another tie's in every step."""
        self.hold(state, setpoints, interval)
        requests = self._requests(action[..., 0], setpoints)
        refused = np.zeros(requests.shape, bool)
        locked = state[..., 0] > _ABOUT_0
        for row in np.ndindex(requests.shape[:-1]):
            closed, faulted = setpoints.closed[row], interval.faulted_in(row)
            for d in np.roll(np.arange(self.size), -(interval.step % self.size)):
                if requests[row][d] > 0 and (
                    locked[row][d] or not self.topology.may_supply(closed, int(self.grid_forming_units[d]), faulted)
                ):
                    refused[(*row, d)] = True
                elif requests[row][d]:
                    closed[self.grid_forming_units[d]] = requests[row][d] > 0
        kept = state.copy()
        kept[..., 0] = np.maximum(state[..., 0] - interval.dt_h, 0.0)
        return kept, refused.astype(np.int64)

    def _requests(self, asked: Array, setpoints: Setpoints) -> IntArray:
        """(..., D) 1 to close what is open, -1 to open what is closed, else 0."""
        closed = setpoints.closed[..., self.grid_forming_units]
        wanted = np.where(np.abs(asked) > 1 / 3, asked > 0, closed)
        return wanted.astype(np.int64) - closed

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """See DeviceGroup.hold: what tripped is open."""
        setpoints.closed[..., self.grid_forming_units] &= state[..., 0] <= _ABOUT_0

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.legal."""
        tripped = state[..., 0] > _ABOUT_0
        held = setpoints.copy()
        self.hold(state, held, interval)
        requests = self._requests(action[..., 0], held)
        ties = self.grid_forming_units.tolist()
        may = np.stack([self.topology.may_supply(held.closed, s, interval.faulted) for s in ties], axis=-1)
        return np.array((requests <= 0) | may & ~tripped)[..., None]

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """See DeviceGroup.check: what gives more than it can trips."""
        kw, kvar = solution.grid_forming_kw[..., self.places, :], solution.grid_forming_kvar[..., self.places, :]
        given, most = np.hypot(kw.sum(axis=-1), kvar.sum(axis=-1)), self.kva * (1 + _SLACK)
        over = (given > most) | (np.hypot(kw, kvar).max(axis=-1) > _UNBALANCE * most / 3)
        state = state.copy()
        state[..., 0] = np.where(over, self.restart_h, state[..., 0])
        state[..., 1] = given
        return state, over.astype(np.int64)

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.readings."""
        left = state[..., 0] / np.where(self.restart_h > 0, self.restart_h, 1.0)
        return np.stack([setpoints.closed[..., self.grid_forming_units], state[..., 1] / self.kva, left], axis=-1)

    @classmethod
    def added_units(cls, specs: Sequence[SupplySpec]) -> list[AddedUnit]:
        """What stands for each other feeder."""
        names = unique_names([spec.label for spec in specs], "feeder_tie")
        return [
            AddedUnit(name, spec.bus, spec.kva, kind="feeder_tie", forms=True)
            for name, spec in zip(names, specs, strict=True)
        ]

    @classmethod
    def build(cls, specs: Sequence[SupplySpec], feeder: Feeder) -> FeederTies:
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

"""Stepped inverters: reactive power raised, held or lowered by one step at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from pydantic import Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec, Goal, act_periods
from dss_marl.devices.converters import Converters, ConverterSpec
from dss_marl.devices.unit_specs import UnitSpec, new_units, unit_rows
from dss_marl.grid.feeder import AddedUnit, Feeder
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints

_ABOVE = 1 / 3  # magnitude of an entry above which it requests a move


class SteppedInverterSpec(ConverterSpec, UnitSpec):
    """A PV inverter whose reactive power moves in steps. ``kva`` defaults to 1.2 times ``kw``."""

    kva: float = Field(default=0.0, ge=0, description="rating [kVA]; 0 means 1.2 kw")
    step: float = Field(default=0.1, gt=0, le=1, description="step size as a share of the available reactive power")

    @property
    def rating_kva(self) -> float:
        """The rating [kVA]."""
        return self.kva or 1.2 * self.kw


@dataclass(frozen=True)
class SteppedInverters(DeviceGroup):
    """Inverters without curtailment; an action above 1/3 raises the reactive power by a step, below -1/3 lowers it.

    The set point is a share of the available reactive power, which is sqrt(S^2 - P^2), or less by category, from -1 to
    1, 0 at reset. It holds until it is moved; moves beyond its ends are refused. What the converters lose because of
    the reactive power is taken off the active power, see ``Converters``.
    Device state: the number of steps from 0.

    Attributes:
        injections: (D) index of each in Feeder.injections.
        kva: (D) rating [kVA].
        most: (D) steps from 0 to either end, an integer.
        own_converters: capability and losses; None: lossless, limited by the rating alone.
    """

    injections: IntArray
    kva: Array
    most: Array
    own_converters: Converters | None = None

    action_labels: ClassVar[tuple[str, ...]] = ("raise reactive power above 1/3, lower below -1/3",)
    state_size: ClassVar[int] = 1
    Spec: ClassVar[type[DeviceSpec]] = SteppedInverterSpec

    @cached_property
    def converters(self) -> Converters:
        """Capability and losses."""
        return Converters.ideal(self.kva) if self.own_converters is None else self.own_converters

    def n_levels(self) -> IntArray:
        """See DeviceGroup.n_levels: lower, hold, raise."""
        return np.full((self.size, 1), 3)

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; moves beyond the ends are refused."""
        wanted = state[..., 0] + _moves(action[..., 0])
        place = np.clip(wanted, -self.most, self.most)
        kept = place[..., None]
        self.hold(kept, setpoints, interval)
        return kept, (place != wanted).astype(np.int64)

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """See DeviceGroup.hold."""
        kw, entry = np.minimum(setpoints.kw[..., self.injections], self.kva), state[..., 0] / self.most
        self.converters.write(self.injections, kw, entry * self.converters.reach(entry, kw), setpoints)

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.feasible."""
        allowed: BoolArray = (np.abs(state[..., 0] + _moves(action[..., 0])) <= self.most)[..., None]
        return allowed

    def action_towards(self, goal: Goal, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.action_towards: a step towards the set point of the goal."""
        return np.sign(goal.state - state)

    @classmethod
    def added_units(cls, specs: Sequence[SteppedInverterSpec]) -> list[AddedUnit]:
        """See DeviceGroup.added_units.

        Raises:
            ValueError: a rating is below the peak power, or a step does not divide the range.
        """
        for spec in specs:
            if spec.rating_kva < spec.kw:
                raise ValueError(f"inverter {spec.label!r}: kva {spec.kva:g} is below kw {spec.kw:g}; raise kva")
            if abs(1 / spec.step - round(1 / spec.step)) > 1e-6:
                raise ValueError(
                    f"inverter {spec.label!r}: step {spec.step:g} does not divide 1 evenly; "
                    f"use {1 / round(1 / spec.step):.4g}"
                )
        return new_units(specs, "inverter")

    @classmethod
    def build(cls, specs: Sequence[SteppedInverterSpec], feeder: Feeder) -> SteppedInverters:
        """See DeviceGroup.build."""
        rows = unit_rows(specs, feeder, "inverter")
        kva = np.array([spec.rating_kva for spec in specs])
        return cls(
            names=tuple(spec.label for spec in specs),
            buses=tuple(feeder.injections[j].bus for j in rows),
            act_every=act_periods([spec.act_every for spec in specs]),
            injections=rows,
            kva=kva,
            most=np.array([float(round(1 / spec.step)) for spec in specs]),
            own_converters=Converters.of(specs, kva),
        )


def _moves(entry: Array) -> Array:
    """-1, 0 or 1."""
    return np.where(np.abs(entry) > _ABOVE, np.sign(entry), 0.0)

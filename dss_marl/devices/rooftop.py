"""Rooftops: photovoltaic units that feed in what the sun gives, and that nobody controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dss_marl.devices.base import DeviceGroup, DeviceSpec
from dss_marl.devices.units import UnitSpec, new_units, unit_rows
from dss_marl.feeder import Feeder, NewInjection
from dss_marl.state import Array, IntArray, Interval, Setpoints


class RooftopSpec(UnitSpec):
    """Photovoltaics at a bus. ``kw`` is their peak power."""


@dataclass(frozen=True)
class Rooftops(DeviceGroup):
    """Photovoltaics at unity power factor without any entry: all that the sun gives, whatever agents do.

    Attributes:
        injections: (D) index of each in the Feeder's injections.
    """

    injections: IntArray

    Spec: ClassVar[type[DeviceSpec]] = RooftopSpec

    def act(self, action: Array, memory: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; the set points hold the interval's sun already."""
        return memory, np.zeros(memory.shape[:-1], np.int64)

    @classmethod
    def new_injections(cls, specs: Sequence[RooftopSpec]) -> list[NewInjection]:
        """See DeviceGroup.new_injections; the sun drives what the Feeder calls an inverter."""
        return new_units(specs, "inverter")

    @classmethod
    def build(cls, specs: Sequence[RooftopSpec], feeder: Feeder) -> Rooftops:
        """See DeviceGroup.build."""
        injections = unit_rows(specs, feeder, "rooftop")
        buses = tuple(feeder.injections[j].bus for j in injections)
        return cls(tuple(spec.label for spec in specs), buses, injections)

"""Uncontrolled PV units at unity power factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dss_marl.devices.base import DeviceGroup, DeviceSpec
from dss_marl.devices.unit_specs import UnitSpec, new_units
from dss_marl.grid.feeder import AddedUnit, Feeder


class PVSpec(UnitSpec):
    """A PV unit at a bus; kw is its peak power."""


@dataclass(frozen=True)
class PV(DeviceGroup):
    """Units driven by profiles only: part of the circuit but not devices, so the group is always empty."""

    Spec: ClassVar[type[DeviceSpec]] = PVSpec

    @classmethod
    def added_units(cls, specs: Sequence[PVSpec]) -> list[AddedUnit]:
        """See DeviceGroup.added_units."""
        return new_units(specs, "inverter")

    @classmethod
    def build(cls, specs: Sequence[PVSpec], feeder: Feeder) -> PV:
        """See DeviceGroup.build."""
        return cls((), ())

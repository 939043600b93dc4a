"""PV: panels that feed what the sun gives, at unity power factor, and that nobody moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dss_marl.devices.base import DeviceGroup, DeviceSpec
from dss_marl.devices.unit_specs import UnitSpec, new_units
from dss_marl.grid.feeder import AddedUnit, Feeder


class PVSpec(UnitSpec):
    """Panels at a bus; kw is their peak power."""


@dataclass(frozen=True)
class PV(DeviceGroup):
    """Units that the profiles alone drive: part of the circuit, but no device, so the group is always empty."""

    Spec: ClassVar[type[DeviceSpec]] = PVSpec

    @classmethod
    def added_units(cls, specs: Sequence[PVSpec]) -> list[AddedUnit]:
        """See DeviceGroup.new_injections."""
        return new_units(specs, "inverter")

    @classmethod
    def build(cls, specs: Sequence[PVSpec], feeder: Feeder) -> PV:
        """See DeviceGroup.build."""
        return cls((), ())

"""Demand meter: the highest import of the feeder so far, on which a demand charge is billed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, IntArray, Setpoints, Solution


class DemandMeterSpec(DeviceSpec):
    """The meter at the feeder's source."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    floor_kw: float = Field(
        default=0.0,
        ge=0,
        description="demand that is billed in any case [kW], as a contract's ratchet; an episode starts with it",
    )
    bus: str = Field(default="", description="bus whose zone it belongs to; empty: that of the source")
    name: str = Field(default="demand_meter", description="of the device")


@dataclass(frozen=True)
class DemandMeters(DeviceGroup):
    """The highest mean import over an interval since the start of the episode, at least the floor.

    It has no action and does not affect the power flow. Device state: the billed peak [kW].

    Attributes:
        floor_kw: (D) peak at the start of an episode.
    """

    floor_kw: Array

    state_size: ClassVar[int] = 1
    Spec: ClassVar[type[DeviceSpec]] = DemandMeterSpec

    def initial(self) -> Array:
        """See DeviceGroup.initial."""
        return self.floor_kw[:, None].copy()

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: object) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; writes no set point."""
        return state.copy(), np.zeros(state.shape[:-1], np.int64)

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """See DeviceGroup.check: the import of the interval counts if it is the highest so far."""
        drawn = np.asarray(solution.source_kw, float)[..., None, None]
        return np.maximum(state, drawn), np.zeros(state.shape[:-1], np.int64)

    @classmethod
    def build(cls, specs: Sequence[DemandMeterSpec], feeder: Feeder) -> DemandMeters:
        """See DeviceGroup.build.

        Raises:
            ValueError: more than one meter, or a bus that the feeder does not have.
        """
        if len(specs) > 1:
            raise ValueError(f"demand_meter: {len(specs)} meters would bill the same import; keep one")
        source = feeder.buses[feeder.node_bus[feeder.source_nodes[0]]].name
        return cls(
            names=tuple(spec.name for spec in specs),
            buses=tuple(feeder.bus(spec.bus).name if spec.bus else source for spec in specs),
            floor_kw=np.array([spec.floor_kw for spec in specs]),
        )

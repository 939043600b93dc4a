"""Capacitors: banks whose steps open and close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from dss_marl.devices.base import DeviceGroup, DeviceSpec, unique
from dss_marl.feeder import Feeder, find
from dss_marl.state import Array, IntArray, Setpoints


class CapacitorSpec(DeviceSpec):
    """Capacitor banks of the circuit by name, or all of them; a bank of several steps is a device for each step."""

    names: tuple[str, ...] | Literal["all"] = "all"


@dataclass(frozen=True)
class Capacitors(DeviceGroup):
    """Capacitor steps. An action above 1/3 closes, below -1/3 opens, between them nothing moves.

    Attributes:
        switches: (D) index of each in the Feeder's switches.
    """

    switches: IntArray

    action_labels: ClassVar[tuple[str, ...]] = ("close above 1/3, open below -1/3",)
    circuit_controls: ClassVar[bool] = True
    Spec: ClassVar[type[DeviceSpec]] = CapacitorSpec

    def act(self, action: Array, memory: Array, setpoints: Setpoints, dt_h: float) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; nothing limits a capacitor here."""
        asked = action[..., 0]
        setpoints.closed[..., self.switches] = np.where(
            np.abs(asked) > 1 / 3, asked > 0, setpoints.closed[..., self.switches]
        )
        return memory, np.zeros(asked.shape, dtype=np.int64)

    @classmethod
    def build(cls, specs: Sequence[CapacitorSpec], feeder: Feeder) -> Capacitors:
        """See DeviceGroup.build."""
        banks = [row for row in feeder.switches if row.kind == "capacitor"]
        rows: list[int] = []
        for spec in specs:
            if spec.names == "all":
                rows += [feeder.switches.index(row) for row in banks]
                continue
            for name in spec.names:
                of_bank = [i for i, row in enumerate(feeder.switches) if row.element == f"capacitor.{name}".lower()]
                rows += of_bank or [find(banks, name, "capacitor", feeder.name)]
        if not rows:
            raise ValueError(f"feeder {feeder.name!r} has no capacitor; leave the kind out")
        found = [feeder.switches[i] for i in rows]
        return cls(
            names=unique([row.name.split(".", 1)[1] for row in found], "capacitor"),
            buses=tuple(row.bus for row in found),
            switches=np.array(rows, dtype=np.int64),
        )

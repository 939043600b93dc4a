"""Regulators: tap changers moved a few steps at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec, unique
from dss_marl.feeder import Feeder, find
from dss_marl.state import Array, IntArray, Setpoints


class RegulatorSpec(DeviceSpec):
    """Regulators of the circuit by the names of their transformers, or all of them."""

    names: tuple[str, ...] | Literal["all"] = "all"
    moves: int = Field(default=2, ge=1, le=32, description="most tap moves in a step")


@dataclass(frozen=True)
class Regulators(DeviceGroup):
    """Tap changers. The action asks for round(a * moves) steps up (+) or down (-) from the present position.

    Attributes:
        taps: (D) index of each in the Feeder's taps.
        moves: (D) most moves in a step.
        lowest, highest: (D) end positions.
    """

    taps: IntArray
    moves: IntArray
    lowest: IntArray
    highest: IntArray

    action_labels: ClassVar[tuple[str, ...]] = ("tap moves",)
    circuit_controls: ClassVar[bool] = True
    Spec: ClassVar[type[DeviceSpec]] = RegulatorSpec

    def act(self, action: Array, memory: Array, setpoints: Setpoints, dt_h: float) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; a move beyond an end position is a limit."""
        wanted = setpoints.tap[..., self.taps] + np.rint(action[..., 0] * self.moves).astype(np.int64)
        allowed = np.clip(wanted, self.lowest, self.highest)
        setpoints.tap[..., self.taps] = allowed
        return memory, (allowed != wanted).astype(np.int64)

    @classmethod
    def build(cls, specs: Sequence[RegulatorSpec], feeder: Feeder) -> Regulators:
        """See DeviceGroup.build."""
        rows, moves = [], []
        for spec in specs:
            names = [tap.name for tap in feeder.taps] if spec.names == "all" else list(spec.names)
            if not names:
                raise ValueError(f"feeder {feeder.name!r} has no regulator; leave the kind out")
            rows += [find(feeder.taps, name, "regulator", feeder.name) for name in names]
            moves += [spec.moves] * len(names)
        taps = [feeder.taps[r] for r in rows]
        return cls(
            names=unique([tap.name.split(".", 1)[1] for tap in taps], "regulator"),
            buses=tuple(tap.bus2 for tap in taps),
            taps=np.array(rows, dtype=np.int64),
            moves=np.array(moves, dtype=np.int64),
            lowest=np.array([tap.minimum for tap in taps], dtype=np.int64),
            highest=np.array([tap.maximum for tap in taps], dtype=np.int64),
        )

"""Specs of units that a scenario adds to the circuit, one device each, and their indices in the Feeder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from pydantic import Field, model_validator

from dss_marl.devices.base import DeviceSpec, unique_names
from dss_marl.grid.feeder import AddedUnit, Feeder, find
from dss_marl.grid.state import BoolArray, IntArray, Setpoints, Solution


class UnitSpec(DeviceSpec):
    """A one- or three-phase unit at a bus. ``phases`` empty means all phases of the bus."""

    bus: str
    kw: float = Field(gt=0, description="rated power [kW]")
    phases: tuple[int, ...] = ()
    name: str = ""

    @model_validator(mode="before")
    @classmethod
    def _bus_as_text(cls, data: Any) -> Any:
        return {**data, "bus": str(data["bus"])} if isinstance(data, dict) and "bus" in data else data

    @property
    def label(self) -> str:
        """The name; by default derived from kind, bus and phases."""
        return (self.name or "_".join([self.kind, self.bus, *map(str, self.phases)])).lower()


Spec = TypeVar("Spec", bound=UnitSpec)


def new_units(specs: Sequence[UnitSpec], kind: str) -> list[AddedUnit]:
    """A new injection for each.

    Raises:
        ValueError: two have the same name.
    """
    names = unique_names([spec.label for spec in specs], kind)
    return [AddedUnit(name, spec.bus, spec.kw, spec.phases, kind) for name, spec in zip(names, specs, strict=True)]


def unit_rows(specs: Sequence[UnitSpec], feeder: Feeder, kind: str) -> IntArray:
    """(D) index of each in Feeder.injections."""
    rows = [find(feeder.injections, f"generator.{spec.label}", kind, feeder.name) for spec in specs]
    return np.array(rows, dtype=np.int64)


def unserved(injections: IntArray, setpoints: Setpoints, solution: Solution) -> BoolArray:
    """(..., D) True where a non-zero set point delivers nothing because the bus is de-energised."""
    dead: BoolArray = (setpoints.kw[..., injections] != 0) & (solution.served_kw[..., injections] == 0)
    return dead

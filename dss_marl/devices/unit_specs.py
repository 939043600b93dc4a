"""Specs of units that a scenario adds to the circuit, one device each, and their indices in the Feeder."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import Field, model_validator

from dss_marl.devices.base import DeviceSpec, unique_names
from dss_marl.grid.elements import PROFILE_DRIVEN
from dss_marl.grid.feeder import AddedUnit, CircuitUnit, Feeder, find
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
IN_CIRCUIT = "(of the circuit)"
_CLASS = {"pvsystem": "PVSystem", "storage": "Storage", "generator": "Generator"}
Names = tuple[str, ...] | Literal["circuit"] | None


def placed_in_circuit(data: Any, own: Sequence[str], unused: Mapping[str, float]) -> Any:
    """A spec's data; with ``names`` its place and ratings are those of the circuit, and the ``unused`` stand in here.

    Args:
        data: as the scenario has them.
        own: keys that the circuit decides.
        unused: required keys to values that the circuit's replace.

    Raises:
        ValueError: both ``names`` and one of the keys.
    """
    if not isinstance(data, dict) or data.get("names") is None:
        return data
    given = [key for key in own if data.get(key)]
    if given and data.get("bus") != IN_CIRCUIT:
        raise ValueError(f"names already defines {', '.join(given)}; give one or the other")
    return {"bus": IN_CIRCUIT, **unused, **data}


def replacing(names: Names, kind: str, device: str, forms: bool = False) -> list[AddedUnit]:
    """Units in the place of the circuit's own of a class, all or the named ones."""
    taken = ("*",) if names == "circuit" else tuple(names or ())
    return [AddedUnit(replaces=f"{kind}.{name}".lower(), kind=device, forms=forms) for name in taken]


def taken_over(names: Names, kind: str, feeder: Feeder, already: Container[str]) -> list[CircuitUnit]:
    """The circuit's units of a class that ``names`` means and that no earlier spec controls.

    Raises:
        ValueError: there is none.
    """
    wanted = None if names == "circuit" else {f"{kind}.{name}".lower() for name in names or ()}
    found = [
        unit
        for unit in feeder.units
        if unit.kind == kind and unit.moved_by not in ("", PROFILE_DRIVEN) and unit.injection not in already
        and (wanted is None or unit.name in wanted)
    ]  # fmt: skip
    if not found:
        raise ValueError(f"feeder {feeder.name!r} has no {_CLASS[kind]} to control; remove names: {names}")
    return found


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
    wanted, served = setpoints.kw.take(injections, axis=-1), solution.served_kw.take(injections, axis=-1)
    dead: BoolArray = (wanted != 0) & (served == 0)
    return dead

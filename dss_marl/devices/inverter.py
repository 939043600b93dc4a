"""Inverters: sun and reactive power within the kVA circle."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from dss_marl.devices.base import DeviceGroup, DeviceSpec, unique
from dss_marl.feeder import Feeder, NewInjection, find
from dss_marl.state import Array, IntArray, Setpoints

_IN_CIRCUIT = "(of the circuit)"


class InverterSpec(DeviceSpec):
    """A photovoltaic inverter. ``phases`` empty means all of the bus; ``kva`` defaults to 1.2 times ``kw``.

    ``names: circuit`` instead takes over every PVSystem of the circuit, or the named ones, each at its bus, phases,
    peak power and rating.
    """

    bus: str
    kw: float = Field(gt=0, description="peak power of the panels [kW]")
    kva: float = Field(default=0.0, ge=0, description="rating [kVA]; 0 means 1.2 kw")
    phases: tuple[int, ...] = ()
    name: str = ""
    curtail: bool = Field(default=False, description="the agent may also hold back sun")
    names: tuple[str, ...] | Literal["circuit"] | None = Field(default=None, description="PV systems of the circuit")

    @model_validator(mode="before")
    @classmethod
    def _place(cls, data: dict[str, object]) -> dict[str, object]:
        if not isinstance(data, dict):
            return data
        if data.get("names") is not None:
            given = [key for key in ("bus", "kw", "kva", "phases", "name") if data.get(key)]
            if given and data.get("bus") != _IN_CIRCUIT:
                raise ValueError(f"names takes {', '.join(given)} from the circuit; give one or the other")
            return {"bus": _IN_CIRCUIT, "kw": 1.0, **data}  # unused: the PVSystem's own count
        return {**data, "bus": str(data["bus"])} if "bus" in data else data

    @property
    def label(self) -> str:
        """The name, or one made of the bus and phases."""
        return self.name or "_".join(["inverter", self.bus, *map(str, self.phases)]).lower()

    @property
    def rating_kva(self) -> float:
        """The rating [kVA]."""
        return self.kva or 1.2 * self.kw


@dataclass(frozen=True)
class Inverters(DeviceGroup):
    """Inverters with watt priority: what the sun gives comes first, reactive power takes what the circle leaves.

    The first entry of the action is a share of the reactive power left, q = a sqrt(S^2 - P^2), available at night too;
    with ``curtail`` a second entry holds sun back, P = (1 + min(a, 0)) P_sun, so that 0 and above take all.
    Memory: both entries as applied, so a held inverter keeps its share, and its kvar follows the circle.

    Attributes:
        injections: (D) index of each in the Feeder's injections.
        kva: (D) rating [kVA].
        may_curtail: (D) 1 where sun may be held back, else 0.
    """

    injections: IntArray
    kva: Array
    may_curtail: Array

    memory_size: ClassVar[int] = 2
    Spec: ClassVar[type[DeviceSpec]] = InverterSpec

    @property
    def action_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """One entry, and a second where any of the inverters may curtail."""
        entries = ("share of the reactive power left", "sun held back where negative")
        return entries if self.may_curtail.any() else entries[:1]

    @cached_property
    def _kva_squared(self) -> Array:
        return self.kva**2

    def act(self, action: Array, memory: Array, setpoints: Setpoints, dt_h: float) -> tuple[Array, IntArray]:
        """See DeviceGroup.act. A request to hold back sun without ``curtail`` is a limit."""
        kept = np.zeros_like(memory)
        kept[..., 0] = action[..., 0]
        limited = np.zeros(kept.shape[:-1], dtype=np.int64)
        if action.shape[-1] > 1:
            held_back = np.minimum(action[..., 1], 0)
            kept[..., 1] = held_back * self.may_curtail
            limited = ((held_back < 0) & (self.may_curtail == 0)).astype(np.int64)
        self.hold(kept, setpoints)
        return kept, limited

    def hold(self, memory: Array, setpoints: Setpoints) -> None:
        """See DeviceGroup.hold."""
        kw = np.minimum(setpoints.kw[..., self.injections] * (1 + memory[..., 1]), self.kva)
        setpoints.kw[..., self.injections] = kw
        setpoints.kvar[..., self.injections] = memory[..., 0] * np.sqrt(self._kva_squared - kw * kw)

    @classmethod
    def new_injections(cls, specs: Sequence[InverterSpec]) -> list[NewInjection]:
        """One unit each, or one for each PVSystem that is taken over."""
        names = unique([spec.label for spec in specs if not spec.names], "inverter")
        small = next((spec for spec in specs if spec.rating_kva < spec.kw), None)
        if small is not None:
            raise ValueError(f"inverter {small.label!r}: kva {small.kva:g} is below kw {small.kw:g}; raise kva")
        label = iter(names)
        rows: list[NewInjection] = []
        for spec in specs:
            if spec.names:
                taken = ("*",) if spec.names == "circuit" else spec.names
                rows += [NewInjection(replaces=f"pvsystem.{name}".lower()) for name in taken]
            else:
                rows.append(NewInjection(next(label), spec.bus, spec.kw, spec.phases))
        return rows

    @classmethod
    def build(cls, specs: Sequence[InverterSpec], feeder: Feeder) -> Inverters:
        """See DeviceGroup.build."""
        found: dict[str, tuple[float, bool]] = {}  # injection: kVA, may curtail
        for spec in specs:
            rows = _taken_over(spec, feeder, found) if spec.names else {f"generator.{spec.label}": spec.rating_kva}
            found |= {name: (kva, spec.curtail) for name, kva in rows.items()}
        index = {row.name: j for j, row in enumerate(feeder.injections)}
        rows_of = [
            index[name] if name in index else find(feeder.injections, name, "inverter", feeder.name) for name in found
        ]
        return cls(
            names=tuple(name.split(".", 1)[1] for name in found),
            buses=tuple(feeder.injections[j].bus for j in rows_of),
            injections=np.array(rows_of, dtype=np.int64),
            kva=np.array([kva for kva, _ in found.values()]),
            may_curtail=np.array([float(curtail) for _, curtail in found.values()]),
        )


def _taken_over(spec: InverterSpec, feeder: Feeder, already: Container[str]) -> dict[str, float]:
    """Injection and rating [kVA] of each PVSystem that the spec names and no earlier one took."""
    wanted = None if spec.names == "circuit" else {f"pvsystem.{name}".lower() for name in spec.names or ()}
    units = [unit for unit in feeder.units if unit.injection and unit.injection not in already]
    rows = {unit.injection: unit.kva for unit in units if wanted is None or unit.name in wanted}
    if not rows:
        raise ValueError(f"feeder {feeder.name!r} has no PVSystem to take over; leave names: {spec.names} out")
    return rows

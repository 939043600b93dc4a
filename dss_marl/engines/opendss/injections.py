"""Reads injections: loads, the circuit's own generators, PV systems and batteries, and added units."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any

from dss_marl.engines.opendss.allowed_commands import check_name
from dss_marl.engines.opendss.terminals import elements, terminals
from dss_marl.grid.elements import AddedUnit, Bus, CircuitUnit, Injection

_RATINGS = {  # OpenDSS property names of kW, kVA and kWh
    "pvsystem": ("pmpp", "kva", ""),
    "storage": ("kwrated", "kva", "kwhrated"),
    "generator": ("kw", "kva", ""),
}


def read_loads(context: Any, places: Sequence[int], fixed_kvar: Container[str] = ()) -> list[Injection]:
    """All enabled loads at their snapshot power; for ``fixed_kvar`` loads the multiplier scales only the kW."""
    rows = []
    multiplier, loads = context.Solution.LoadMult(), context.Loads
    for name in elements(loads):
        scale = multiplier if int(loads.Status()) == 0 else 1.0  # fixed and exempt loads do not follow it
        kvar = loads.kvar() * (1.0 if f"load.{name}" in fixed_kvar else scale)
        kw, kv, delta = loads.kW() * scale, loads.kV(), bool(loads.IsDelta())
        end = terminals(context, places)[0]
        at = end.ends
        rows.append(Injection(f"load.{name}", "load", end.bus, tuple(at), -kw, -kvar, kv, delta, tuple(at.values())))
    return rows


def read_units(context: Any, present: dict[str, list[str]]) -> list[CircuitUnit]:
    """Generators, PV systems and batteries of the circuit itself."""
    rows = []
    for kind, (kw, kva, kwh) in _RATINGS.items():
        for own in present.get(kind, ()):
            context.Circuit.SetActiveElement(f"{kind}.{own}")
            bus, *numbers = context.CktElement.BusNames()[0].split(".")
            phases = [int(p) for p in numbers] or list(range(1, context.CktElement.NumPhases() + 1))
            value = context.Properties.Value
            rows.append(
                CircuitUnit(
                    name=f"{kind}.{own}",
                    kind=kind,
                    bus=bus.lower(),
                    phases=tuple(p for p in phases if 0 < p <= 3),
                    kw=float(value(kw)),
                    kva=float(value(kva)),
                    kv=float(value("kv")),
                    kwh=float(value(kwh)) if kwh else 0.0,
                )
            )
    return rows


class Additions:
    """Units added to a circuit: their rows, the commands that create them, and the elements they replace."""

    def __init__(self, context: Any, feeder: str, buses: Sequence[Bus], units: Sequence[CircuitUnit]) -> None:
        self.feeder = feeder
        self.rows: list[Injection] = []
        self.commands: list[str] = []
        self.units = {unit.name: unit for unit in units}
        self.forming: set[str] = set()  # names of the rows that can form an island
        self._context = context
        self._buses = {bus.name: bus for bus in buses}

    def add(self, new: AddedUnit) -> None:
        """One unit, or one for each PVSystem that it replaces."""
        if not new.replaces:
            row, command = new_unit(new, self._buses, self.feeder)
            self.rows.append(row)
            self.commands.append(command)
            if new.forms:
                self.forming.add(row.name)
            return
        systems = [unit for unit in self.units.values() if unit.kind == "pvsystem" and not unit.injection]
        wanted = new.replaces.lower()
        if wanted != "pvsystem.*":
            known = ", ".join(unit.name for unit in systems) or "none"
            systems = [unit for unit in systems if unit.name == wanted]
            if not systems:
                raise ValueError(f"{new.replaces!r} does not exist on feeder {self.feeder!r}; known: {known}")
        for unit in systems:
            self._replace(unit, new.kind)

    def _replace(self, unit: CircuitUnit, kind: str) -> None:
        """A constant-power unit with the connection of the PVSystem, which is disabled."""
        own = unit.name.split(".", 1)[1]
        name = f"generator.{own}" if f"generator.{own}" not in self.units else f"generator.pvsystem_{own}"
        self._context.Circuit.SetActiveElement(unit.name)
        terminal, phases = self._context.CktElement.BusNames()[0], self._context.CktElement.NumPhases()
        delta = self._context.Properties.Value("conn").lower().startswith("d")
        self.rows.append(Injection(name, kind, unit.bus, unit.phases, unit.kw, 0.0, unit.kv, delta))
        self.commands += [
            f'edit "{unit.name}" enabled=no',
            _generator(name, terminal, phases, delta, unit.kv, unit.kw),
        ]
        self.units[unit.name] = replace(unit, injection=name)


def new_unit(new: AddedUnit, buses: dict[str, Bus], feeder: str) -> tuple[Injection, str]:
    """A three- or one-phase constant-power unit.

    A three-phase unit is a three-wire inverter (delta): it feeds no zero sequence, and works on ungrounded feeders.
    """
    what = f"{new.kind} {new.name!r}"
    check_name(new.name, what)
    bus = buses.get(str(new.bus).lower())
    if bus is None:
        known = ", ".join(list(buses)[:40]) + (", ..." if len(buses) > 40 else "")
        raise ValueError(f"{what}: bus {new.bus!r} does not exist on feeder {feeder!r}; known: {known}")
    phases = tuple(new.phases) or tuple(p for p in bus.phases if p <= 3)
    missing = [p for p in phases if p not in bus.phases]
    if missing:  # OpenDSS would silently create phantom nodes
        raise ValueError(f"{what}: bus {bus.name!r} of feeder {feeder!r} has phases {list(bus.phases)}, not {missing}")
    if len(phases) not in (1, 3):
        raise ValueError(f"{what} at bus {bus.name!r}: use one or three phases, or two units; got {phases}")
    if bus.kv_base <= 0:
        raise ValueError(f"bus {bus.name!r} of feeder {feeder!r} has no base voltage; no source reaches it")
    delta = len(phases) == 3
    kv = bus.kv_base * (3**0.5 if delta else 1.0)
    row = Injection(f"generator.{new.name}".lower(), new.kind, bus.name, phases, new.kw, 0.0, kv, delta)
    terminal = ".".join([bus.name, *map(str, phases)])
    return row, _generator(row.name, terminal, len(phases), delta, kv, new.kw)


def _generator(name: str, terminal: str, phases: int, delta: bool, kv: float, kw: float) -> str:
    """A constant-power element with wide voltage limits, so that it always delivers its set point."""
    return (
        f'new "{name}" phases={phases} bus1="{terminal}" conn={"delta" if delta else "wye"} kv={kv:.9g} '
        f"kw={kw:.9g} kvar=0 model=1 vminpu=0.4 vmaxpu=1.6 status=variable"
    )

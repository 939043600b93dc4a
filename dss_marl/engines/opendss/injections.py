"""Reads injections: loads, the circuit's own generators, PV systems and batteries, and added units."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from typing import Any

from dss_marl.engines.opendss.allowed_commands import check_name
from dss_marl.engines.opendss.growth import LoadScale
from dss_marl.engines.opendss.own_units import DEVICE_KINDS
from dss_marl.engines.opendss.terminals import activate, elements, terminals
from dss_marl.grid.elements import PROFILE_DRIVEN, UNIT_V_PU, AddedUnit, Bus, CircuitUnit, Injection

IsSplit = Callable[[Bus, Sequence[int]], bool]


def read_loads(
    context: Any, places: Sequence[int], scales: LoadScale, fixed_kvar: Container[str] = ()
) -> list[Injection]:
    """Every enabled load at the power that a snapshot gives it; of ``fixed_kvar`` the factors scale the kW only."""
    rows = []
    loads = context.Loads
    for name in elements(loads):
        scale = scales.of_active_load(loads)
        kvar = loads.kvar() * (1.0 if f"load.{name}" in fixed_kvar else scale)
        kw, kv, delta = loads.kW() * scale, loads.kV(), bool(loads.IsDelta())
        end = terminals(context, places)[0]
        at = end.ends
        rows.append(Injection(f"load.{name}", "load", end.bus, tuple(at), -kw, -kvar, kv, delta, tuple(at.values())))
    return rows


class Additions:
    """Units added to a circuit: their rows, the commands that create them, and the elements they replace."""

    def __init__(
        self, context: Any, feeder: str, buses: Sequence[Bus], units: Sequence[CircuitUnit], is_split: IsSplit
    ) -> None:
        self.feeder = feeder
        self._is_split = is_split
        self.rows: list[Injection] = []
        self.commands: list[str] = []
        self.units = {unit.name: unit for unit in units}
        self.forming: set[str] = set()  # names of the rows that can form an island
        self._context = context
        self._buses = {bus.name: bus for bus in buses}

    def add(self, new: AddedUnit) -> None:
        """One unit, or one for each unit of the circuit that it replaces."""
        if not new.replaces:
            row, command = new_unit(new, self._buses, self.feeder, self._is_split)
            self.rows.append(row)
            self.commands.append(command)
            if new.forms:
                self.forming.add(row.name)
            return
        for unit in self._wanted(new):
            self._replace(unit, new)

    def _wanted(self, new: AddedUnit) -> list[CircuitUnit]:
        """The circuit's units that are to be replaced."""
        free = [unit for unit in self.units.values() if not unit.injection]
        wanted = new.replaces.lower()
        if wanted == "*":
            return [unit for unit in free if unit.kw > 0]
        kind = wanted.split(".", 1)[0]
        free = [unit for unit in free if unit.kind == kind]
        if wanted == f"{kind}.*":
            return free
        found = [unit for unit in free if unit.name == wanted]
        if not found:
            known = ", ".join(unit.name for unit in free) or "none"
            raise ValueError(f"{new.replaces!r} does not exist on feeder {self.feeder!r}; known: {known}")
        return found

    def _replace(self, unit: CircuitUnit, new: AddedUnit) -> None:
        """A constant-power unit with the connection of the circuit's, which is disabled."""
        own = unit.name.split(".", 1)[1]
        taken = {*self.units, *(row.name for row in self.rows)} - {unit.name}
        name = next(n for n in (f"generator.{own}", f"generator.{unit.kind}_{own}") if n not in taken)
        if unit.kind == "generator":
            name = f"generator.{unit.kind}_{own}"  # the disabled one keeps its name
        activate(self._context, unit.name)
        terminal, phases = self._context.CktElement.BusNames()[0], self._context.CktElement.NumPhases()
        delta = self._context.Properties.Value("conn").lower().startswith("d")
        moves = new.kind == PROFILE_DRIVEN
        kind = DEVICE_KINDS[unit.kind] if moves else new.kind
        self.rows.append(Injection(name, kind, unit.bus, unit.phases, unit.kw, 0.0, unit.kv, delta))
        self.commands += [
            f'edit "{unit.name}" enabled=no',
            _generator(name, terminal, phases, delta, unit.kv, unit.kw),
        ]
        self.units[unit.name] = replace(unit, injection=name, moved_by="profiles" if moves else new.kind)
        if new.forms:
            self.forming.add(name)


def new_unit(new: AddedUnit, buses: dict[str, Bus], feeder: str, is_split: IsSplit) -> tuple[Injection, str]:
    """A three- or one-phase constant-power unit, or one across the two ends of a split phase.

    A three-phase unit is a three-wire inverter (delta): it feeds no zero sequence, and works on ungrounded feeders. A
    one-phase unit connects to the neutral conductor where its bus has one.
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
    if bus.kv_base <= 0:
        raise ValueError(f"bus {bus.name!r} of feeder {feeder!r} has no base voltage; no source reaches it")
    if len(phases) > 3 or (len(phases) == 2 and not is_split(bus, phases)):
        raise ValueError(
            f"{what} at bus {bus.name!r}: use one or three phases, or two units, or the two ends of a split phase; got "
            f"{phases}"
        )
    delta = len(phases) > 1
    kv = new.kv or bus.kv_base * (1.0, 2.0, 3**0.5)[len(phases) - 1]  # the ends of a split phase are opposite
    row = Injection(f"generator.{new.name}".lower(), new.kind, bus.name, phases, new.kw, 0.0, kv, delta, v_pu=new.v_pu)
    neutral = [bus.neutral] if bus.neutral and not delta else []
    terminal = ".".join([bus.name, *map(str, [*phases, *neutral])])
    limits = new.v_pu or UNIT_V_PU
    return row, _generator(row.name, terminal, 3 if len(phases) == 3 else 1, delta, kv, new.kw, limits)


def _generator(
    name: str, terminal: str, phases: int, delta: bool, kv: float, kw: float, v_pu: tuple[float, float] = UNIT_V_PU
) -> str:
    """A constant-power element; its voltage limits are so wide that it always delivers its set point, unless given."""
    return (
        f'new "{name}" phases={phases} bus1="{terminal}" conn={"delta" if delta else "wye"} kv={kv:.9g} '
        f"kw={kw:.9g} kvar=0 model=1 vminpu={v_pu[0]:.9g} vmaxpu={v_pu[1]:.9g} status=variable"
    )

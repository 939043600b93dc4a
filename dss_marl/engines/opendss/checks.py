"""Checks of a circuit as read: errors, and notes about doubtful data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from dss_marl.engines.opendss.element_sums import WHY_SINGULAR, has_solution, stiff_branches
from dss_marl.engines.opendss.terminals import activate, elements
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array

_SHOWN = 5
_ENDLESS_SIEMENS = 1e15
_DEFAULT_AMPS = 400.0  # OpenDSS's rating where a file gives none


def few(names: Iterable[str]) -> str:
    """The first names, and the number of others."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def refuse_phantoms(context: Any, feeder: Feeder) -> None:
    """Refuse phantom buses: OpenDSS silently creates a bus for a misspelt name, and a node for a missing phase.

    Raises:
        ValueError: a load or unit connects to a bus or phase that no branch reaches.
    """
    reached = {n for branch in feeder.branches for n in (*branch.nodes1, *branch.nodes2)}
    sources = {feeder.source_bus, *feeder.other_sources}
    index = feeder.node_index
    ends = [(row.name, row.bus, row.phases) for row in feeder.injections]
    ends += [(row.name, row.bus, row.phases) for row in feeder.units]
    ends += [(row.element, row.bus, row.phases) for row in feeder.switches if row.kind == "capacitor"]
    lost = [
        (name, bus, tuple(p for p in phases if p <= 3 and index.get(f"{bus}.{p}", -1) not in reached))
        for name, bus, phases in dict.fromkeys(ends)
        if bus not in sources
    ]
    lost = [row for row in lost if any(f"{row[1]}.{p}" in index for p in row[2])]
    if not lost:
        return
    out_of_service = _nodes_out_of_service(context)
    problems = []
    for name, bus, phases in lost:
        missing = [p for p in phases if f"{bus}.{p}" in index and f"{bus}.{p}" not in out_of_service]
        if not missing:
            continue
        there = sorted(p for p in (1, 2, 3) if index.get(f"{bus}.{p}", -1) in reached)
        where = f"phases {missing} of bus {bus!r}, which has {there}" if there else f"bus {bus!r}"
        problems.append(f"{name} connects to {where}")
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ValueError(
            f"{str(feeder.path)!r}: {'; '.join(problems[:_SHOWN])}{more}: no line or transformer leads there. Correct "
            f"the bus name or phases, or disable it with commands=['{problems[0].split()[0]}.enabled=no']"
        )


def refuse_wrong_units(feeder: Feeder, is_trusted: Callable[[str], bool]) -> None:
    """A generator, PV system or battery rated for another voltage level would short-circuit its bus, or give nothing.

    Args:
        feeder: whose units are looked at.
        is_trusted: whether a bus has its base voltage without load; else the base is what is wrong.

    Raises:
        ValueError: a unit's kv is below half or above twice what its bus offers it.
    """
    for unit in feeder.units:
        base = next((bus.kv_base for bus in feeder.buses if bus.name == unit.bus), 0.0)
        fitting = [base] if len(unit.phases) == 1 else [base * 3**0.5, base * 2.0]
        wrong = base > 0 and unit.kv > 0 and all(not 0.5 < unit.kv / kv < 2.0 for kv in fitting)
        if wrong and is_trusted(unit.bus):
            raise ValueError(
                f"{str(feeder.path)!r}: {unit.name} is rated {unit.kv:g} kV at bus {unit.bus!r} of {fitting[0]:.4g} "
                f"kV; correct its kv or its bus, or leave it out with commands=['{unit.name}.enabled=no']"
            )


def refuse_singular(context: Any, path: Any) -> None:
    """Where its matrix has no inverse, OpenDSS answers zero, or what the memory held before, and calls it converged.

    Raises:
        ValueError: so it is with the circuit as solved last.
    """
    if not has_solution(context, np.zeros(context.Circuit.NumNodes() + 1, complex)):
        raise ValueError(f"{str(path)!r} has no power flow: {WHY_SINGULAR}")


def refuse_endless(context: Any, path: Any, volts: Array) -> None:
    """An element of no impedance has endless admittance, and then no voltage is a number.

    Raises:
        ValueError: there is one; ``volts`` are of all nodes as solved [V].
    """
    if np.isfinite(volts).all() and np.abs(volts).max() > 0:
        return
    for name in context.Circuit.AllElementNames():
        if name.split(".", 1)[0].lower() in ("line", "reactor", "transformer", "autotrans", "capacitor", "vsource"):
            element = activate(context, name)
            y = np.asarray(element.YPrim()) if element.Enabled() else np.zeros(1)
            if not np.isfinite(y).all() or np.abs(y).max() > _ENDLESS_SIEMENS:
                raise ValueError(
                    f"{str(path)!r}: {name.lower()} has no impedance, so nothing can be solved; give it one, such as "
                    "r=0.0001 ohm, or join its buses"
                )


def _nodes_out_of_service(context: Any) -> set[str]:
    """Nodes at disabled or open branches."""
    nodes = set()
    for name in context.Circuit.AllElementNames():
        if name.split(".", 1)[0].lower() in ("line", "transformer", "reactor"):
            element = activate(context, name)
            for text in element.BusNames():
                bus, *numbers = text.lower().split(".")
                everyone = numbers or [str(p + 1) for p in range(element.NumPhases())]
                if not element.Enabled() or any(element.IsOpen(k + 1, 0) for k in range(element.NumTerminals())):
                    nodes |= {f"{bus}.{p}" for p in everyone}
    return nodes


def notes_of_nodes(feeder: Feeder, volts: Array, opened: Sequence[str]) -> list[str]:
    """De-energised nodes, implausible voltages, missing bases and coordinates. ``volts`` (N) are as compiled [kV]."""
    notes = []
    alive = feeder.energised(feeder.setpoints().closed)
    ever = feeder.energised(np.ones(len(feeder.switches), bool))
    bus = np.array([row.name for row in feeder.buses])[feeder.node_bus]
    if opened:
        notes.append(f"permanently open, so not a branch: {few(opened)}")
    if not ever.all():
        notes.append(f"{(~ever).sum()} nodes have no path to a source for any switch state: buses {few(bus[~ever])}")
    waiting = ever & ~alive
    if waiting.any():
        notes.append(f"{waiting.sum()} nodes are de-energised behind open switches: buses {few(bus[waiting])}")
    with np.errstate(divide="ignore", invalid="ignore"):
        v_pu = np.where(feeder.kv_base > 0, volts / feeder.kv_base, np.nan)
    if (alive & ~(feeder.kv_base > 0)).any():
        notes.append(f"no base voltage: buses {few(bus[alive & ~(feeder.kv_base > 0)])}")
    odd = alive & ((v_pu < 0.7) | (v_pu > 1.3))
    if odd.any():
        first = int(np.flatnonzero(odd)[0])
        notes.append(
            f"{odd.sum()} nodes are far from their base voltage as compiled (node {feeder.nodes[first]}: "
            f"{v_pu[first]:.2f} pu of {feeder.kv_base[first]:.4g} kV); the voltage bases may be wrong: "
            f"buses {few(bus[odd])}"
        )
    nowhere = [row.name for row in feeder.buses if row.x is None]
    if nowhere:
        all_of_them = len(nowhere) == len(feeder.buses)
        notes.append(
            "no bus has coordinates" if all_of_them else f"{len(nowhere)} buses without coordinates: {few(nowhere)}"
        )
    return notes


def notes_of_loads(context: Any, feeder: Feeder, volts: Any) -> list[str]:
    """Loads at the limits of their model, and loads rated for another voltage than their bus's.

    ``volts`` (N) are complex, as compiled [kV].
    """
    loads = [feeder.injections[j] for j in feeder.loads]
    limits = [(context.Loads.Vminpu(), context.Loads.Vmaxpu()) for _ in elements(context.Loads)]
    low, high, strange = [], [], []
    for row, (least, most) in zip(loads, limits, strict=True):
        phases = [n for n in row.nodes if abs(volts[n]) > 0.1 * feeder.kv_base[n] > 0]
        if len(phases) < len(row.nodes) or not phases or row.kv <= 0:  # de-energised
            continue
        v, base = _across(volts, row.nodes, row.delta) / row.kv, feeder.kv_base[phases[0]]
        base *= 1.0 if len(phases) == 1 else np.clip(v.mean() * row.kv / base, 3**0.5, 2.0)  # 2: a split phase
        if not 0.75 < row.kv / base < 1.25:
            strange.append(row.name)
        elif v.min() < least + 0.01:
            low.append(row.name)
        elif v.max() > most - 0.01:
            high.append(row.name)
    notes = []
    if low:
        notes.append(f"{len(low)} loads near or below vminpu, where they become constant impedances: {few(low)}")
    if high:
        notes.append(f"{len(high)} loads near or above vmaxpu, where they become constant impedances: {few(high)}")
    if strange:
        notes.append(f"{len(strange)} loads whose kv does not match their bus: {few(strange)}")
    return notes


def _across(volts: Any, nodes: Sequence[int], delta: bool) -> Array:
    """The voltage that kv refers to: between two nodes; of three, line to line, or sqrt(3) times each phase [kV]."""
    v = volts[list(nodes)]
    if len(v) == 1:
        return np.abs(v)
    if len(v) == 2:
        return np.abs(v[:1] - v[1:])
    return np.abs(v - np.roll(v, 1)) if delta else np.abs(v) * 3**0.5


def notes_of_ratings(context: Any, feeder: Feeder) -> list[str]:
    """Missing ratings, lengths without unit, lines open in some phases."""
    notes = []
    unrated = [row.name for row in feeder.branches if row.normal_amps <= 0]
    if unrated:
        notes.append(f"{len(unrated)} branches without a rating, so their loading is 0: {few(unrated)}")
    default = [row.name for row in feeder.branches if row.normal_amps == _DEFAULT_AMPS and row.name.startswith("line.")]
    if default:
        notes.append(f"{len(default)} lines are rated {_DEFAULT_AMPS:g} A, OpenDSS's own default: {few(default)}")
    stiff = stiff_branches(feeder)
    if stiff:
        notes.append(f"{len(stiff)} branches of next to no impedance, so losses are summed by element: {few(stiff)}")
    unitless = [row.name for row in feeder.branches if row.kind == "line" and row.length_km == 0]
    if unitless:
        notes.append(f"{len(unitless)} lines give no unit of length, so length_km is 0: {few(unitless)}")
    declared = {row.name for row in feeder.switches}
    partly = [
        f"line.{own}"
        for own in elements(context.Lines)
        if f"line.{own}" not in declared and (context.CktElement.IsOpen(1, 0) or context.CktElement.IsOpen(2, 0))
    ]
    if partly:
        notes.append(f"open in some phases, permanently: {few(partly)}")
    melted = [f"{row.protection} on {row.name}" for row in feeder.branches if row.protection == "fuse"]
    if melted:
        notes.append(f"{len(melted)} fuses never blow here: {few(melted)}")
    return notes

"""Text report of a feeder: what was read, what the circuit brings and what that does, and warnings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from dss_marl.grid.elements import PROFILE_DRIVEN
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.own_elements import OwnElement, own_elements


def feeder_report(feeder: Feeder) -> str:
    """A few lines of plain text."""
    lines = [f"feeder {feeder.name} ({feeder.path})", *_counts(feeder), *_powers(feeder), *_devices(feeder)]
    own = own_elements(feeder)
    lines += ["what the circuit brings, and what it does in a day", *_table(own)] if own else []
    lines += ["warnings", *(f"  {note}" for note in feeder.notes)] if feeder.notes else []
    return "\n".join(lines)


def _counts(feeder: Feeder) -> list[str]:
    kinds = Counter(branch.kind for branch in feeder.branches)
    branches = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1]))
    levels = Counter(round(bus.kv_base * 3**0.5, 4) for bus in feeder.buses)
    sources = [feeder.source_bus, *feeder.other_sources]
    return [
        f"  buses     {len(feeder.buses)} ({len(feeder.nodes)} nodes), source at {', '.join(sources)}",
        f"  branches  {len(feeder.branches)}: {branches or 'none'}",
        "  voltages  " + ", ".join(f"{kv:g} kV ({levels[kv]} buses)" for kv in sorted(levels, reverse=True)),
    ]


def _powers(feeder: Feeder) -> list[str]:
    loads = feeder.loads
    kw, kvar = -feeder.nominal_kw[loads].sum(), -feeder.nominal_kvar[loads].sum()
    rows = [f"  loads     {len(loads)}: {kw:.1f} kW, {kvar:.1f} kvar"]
    own = defaultdict(list)
    for unit in feeder.units:
        own[unit.kind].append(unit)
    for kind, units in own.items():
        kwh = sum(unit.kwh for unit in units)
        energy = f", {kwh:.1f} kWh" if kwh else ""
        taken = sum(unit.moved_by not in ("", PROFILE_DRIVEN) for unit in units)
        rows.append(
            f"  {kind:9s} {len(units)}: {sum(u.kw for u in units):.1f} kW, {sum(u.kva for u in units):.1f} kVA{energy}"
            + (f", {taken} controllable" if taken else "")
        )
    driven = {unit.injection for unit in feeder.units if unit.moved_by == PROFILE_DRIVEN}
    added = [row for row in feeder.injections if row.kind != "load" and row.name not in driven]
    if added:
        rows.append(f"  units     {len(added)}: {sum(row.kw for row in added):.1f} kW, controlled by devices")
    return rows


def _devices(feeder: Feeder) -> list[str]:
    banks: dict[str, float] = defaultdict(float)
    for row in feeder.switches:
        if row.kind == "capacitor":
            banks[row.element] += row.kvar
    switches = [row for row in feeder.switches if row.kind == "switch"]
    still_open = sum(not row.closed for row in switches)
    steps = sum(row.kind == "capacitor" for row in feeder.switches)
    return [
        f"  regulators {len(feeder.taps)}{_named(row.name for row in feeder.taps)}",
        f"  capacitors {len(banks)} in {steps} steps: {sum(banks.values()):.0f} kvar{_named(banks)}",
        f"  switches   {len(switches)}, {still_open} of them open{_named(row.name for row in switches)}",
    ]


def _named(names: Iterable[str]) -> str:
    own = [name.split(".", 1)[1] for name in names]
    return "" if not own else ": " + ", ".join(own[:12]) + (", ..." if len(own) > 12 else "")


def _table(own: Sequence[OwnElement]) -> list[str]:
    """Element, class and what it does; elements that do the same in one line, as there may be thousands."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in own:
        found[row.kind, row.does].append(row.name)
    width = max(len(kind) for kind, _ in found)
    return [f"  {kind:{width}s}  {len(names)}{_named(names)}: {does}" for (kind, does), names in found.items()]

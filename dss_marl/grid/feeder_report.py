"""Text report of a feeder: what was read, what no set point controls and why, and warnings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from dss_marl.grid.feeder import Feeder

_WHY = {
    "generator": "keeps its own power",
    "pvsystem": "keeps its own power; device {kind: inverter, names: circuit} makes it controllable",
    "storage": "keeps its initial power; its stored energy does not change",
    "isource": "keeps its current",
    "fault": "stays",
    "regcontrol": "never acts: its transformer is out of service",
    "capcontrol": "never acts: its bank joins two buses, or is out of service",
}
_NEVER_ACTS = "inactive: only regulator and capacitor controls run"
_CONTROLS = ("fuse", "recloser", "relay", "swtcontrol", "control", "controller", "dispatcher")


def feeder_report(feeder: Feeder) -> str:
    """A few lines of plain text."""
    lines = [f"feeder {feeder.name} ({feeder.path})", *_counts(feeder), *_powers(feeder), *_devices(feeder)]
    stays = _uncontrolled(feeder)
    lines += ["not controllable", *stays] if stays else []
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
        taken = sum(bool(unit.injection) for unit in units)
        rows.append(
            f"  {kind:9s} {len(units)}: {sum(u.kw for u in units):.1f} kW, {sum(u.kva for u in units):.1f} kVA{energy}"
            + (f", {taken} controllable" if taken else "")
        )
    added = [row for row in feeder.injections if row.kind != "load"]
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


def _uncontrolled(feeder: Feeder) -> list[str]:
    found = defaultdict(list)
    for name in feeder.uncontrolled:
        found[name.split(".", 1)[0]].append(name)
    rows = []
    for kind, names in found.items():
        why = _WHY.get(kind, _NEVER_ACTS if kind.endswith(_CONTROLS) else "no set point controls it")
        rows.append(f"  {len(names)} {kind}{_named(names)}: {why}")
    return rows

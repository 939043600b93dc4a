"""What each element that the circuit brings, beside plain loads and branches, does over a day."""

from __future__ import annotations

from typing import NamedTuple

from dss_marl.grid.elements import PROFILE_DRIVEN, CircuitUnit
from dss_marl.grid.feeder import Feeder

NEVER_ACTS = "inactive: only regulator and capacitor controls run"
_CONTROLS = ("fuse", "recloser", "relay", "swtcontrol", "control", "controller", "dispatcher")
_IDLE = {
    "regcontrol": "never acts: its transformer is out of service",
    "capcontrol": "never acts: its bank joins two buses, or is out of service",
}
_DEVICES = {"pvsystem": "inverter", "storage": "battery", "generator": "generator"}


class OwnElement(NamedTuple):
    """One element: its name and class, what it does, and whether it keeps one power day and night (``held``)."""

    name: str
    kind: str
    does: str
    held: bool = False


def own_elements(feeder: Feeder) -> list[OwnElement]:
    """Every unit, negative load and other element of the circuit that no plain load profile or set point moves."""
    rows = [OwnElement(unit.name, unit.kind, *_unit(unit)) for unit in feeder.units]
    rows += [
        OwnElement(row.name, "load", f"negative load of {row.kw:g} kW: follows its LoadShape, or else the day's sun")
        for row in feeder.injections
        if row.kind == "load" and row.kw > 0
    ]
    known = {unit.name for unit in feeder.units}
    for name in feeder.uncontrolled:
        kind = name.split(".", 1)[0]
        if name in known:
            continue
        if kind in _IDLE:
            rows.append(OwnElement(name, kind, _IDLE[kind]))
        elif kind.endswith(_CONTROLS):
            rows.append(OwnElement(name, kind, NEVER_ACTS))
        elif kind == "fault":
            rows.append(OwnElement(name, kind, "remains"))
        else:
            rows.append(OwnElement(name, kind, "held as compiled at all hours, at midnight too", True))
    return rows


def _unit(unit: CircuitUnit) -> tuple[str, bool]:
    device = _DEVICES[unit.kind]
    if not unit.moved_by:
        return (
            f"held at its power as compiled at all hours, at midnight too; in a scenario the day moves it, or an agent "
            f"with {{kind: {device}, names: circuit}}",
            True,
        )
    if unit.moved_by != PROFILE_DRIVEN:
        return f"device of an agent: {unit.moved_by}", False
    if unit.kind == "storage":
        return f"idles: {unit.run_kw:g} kW, at midnight too; its stored energy does not change", False
    shape = unit.shape()
    if unit.kind == "pvsystem":
        own = f"; with profiles of kind loadshapes its LoadShape {shape!r}" if shape else ""
        return f"follows the day's sun, 0 kW at midnight{own}", False
    if shape:
        return f"follows its LoadShape {shape!r}", False
    return f"held at {unit.run_kw:g} kW at all hours, at midnight too: it has no LoadShape", True

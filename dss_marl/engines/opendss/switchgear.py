"""Reads and moves what has states: lines that open, and capacitor steps; and reads what protects a branch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dss_marl.engines.opendss.terminals import activate, elements, openness
from dss_marl.grid.elements import Switch
from dss_marl.grid.state import BoolArray

_BANK = "capacitor."
_OPERABLE = ("recloser", "relay", "swtcontrol")  # a fuse is not switchable


def read_protection(context: Any, present: Mapping[str, list[str]]) -> dict[str, str]:
    """The element that each fuse, recloser, relay or switch control opens, and the kind of protection."""
    rows: dict[str, str] = {}
    for kind in ("fuse", *_OPERABLE):  # of two on one element, the operable one counts
        for own in present.get(kind, ()):
            activate(context, f"{kind}.{own}")
            value = context.Properties.Value
            rows[(value("switchedobj") or value("monitoredobj")).lower()] = kind
    return rows


def read_switches(context: Any, protection: Mapping[str, str], requested: Collection[str] = ()) -> tuple[Switch, ...]:
    """Line switches, followed by capacitor steps.

    A line is a switch if it is declared as one, operated by a recloser, relay or switch control, open, or requested by
    name.
    """
    return (*_line_switches(context, protection, requested), *_capacitor_steps(context))


def _line_switches(context: Any, protection: Mapping[str, str], requested: Collection[str]) -> list[Switch]:
    rows = []
    for own in elements(context.Lines):
        name = f"line.{own}"
        element = context.CktElement
        touched = element.IsOpen(1, 0) or element.IsOpen(2, 0)
        if touched or context.Lines.IsSwitch() or protection.get(name) in _OPERABLE or name in requested:
            state = openness(context)
            if state == "partly":  # no set point can represent that
                if name in requested:
                    raise ValueError(f"{name} is open in some phases, so it cannot be a switch; close or open it whole")
                continue
            bus = element.BusNames()[0].split(".")[0].lower()
            phases = tuple(int(p) for p in element.NodeOrder()[: element.NumPhases()] if 0 < p <= 3)
            rows.append(Switch(name, "switch", name, bus, phases, state == "closed"))
    return rows


def _capacitor_steps(context: Any) -> list[Switch]:
    rows = []
    for own in elements(context.Capacitors):
        if is_series(context):
            continue
        element, states = f"capacitor.{own}", context.Capacitors.States()
        bus = context.CktElement.BusNames()[0].split(".")[0].lower()
        order = context.CktElement.NodeOrder()[: context.CktElement.NumPhases()]
        phases = tuple(int(p) for p in order if 0 < p <= 3)
        kvar = context.Capacitors.kvar() / len(states)
        for step, state in enumerate(states, start=1):
            label = element if len(states) == 1 else f"{element}.{step}"
            rows.append(Switch(label, "capacitor", element, bus, phases, bool(state), step, kvar))
    return rows


def idle_capacitor_controls(context: Any) -> list[str]:
    """CapControls that move no step of the Feeder: their bank joins two buses, or is out of service."""
    banks = {own for own in elements(context.Capacitors) if not is_series(context)}
    controls = context.CapControls
    return [f"capcontrol.{own}" for own in elements(controls) if controls.Capacitor().lower() not in banks]


def is_series(context: Any) -> bool:
    """Whether the active two-terminal element connects two buses, rather than a bus and ground."""
    element = context.CktElement
    buses = [name.split(".")[0].lower() for name in element.BusNames()]
    return len(set(buses)) > 1 and any(element.NodeRef()[element.NumConductors() :])


def close_all(context: Any, switches: Iterable[Switch]) -> dict[str, list[int]]:
    """Close every line switch, so that primitive admittances are those of the closed element.

    Returns:
        the open ends of lines that were open: with one end open the line is still charged from the other.
    """
    ends: dict[str, list[int]] = {}
    for switch in switches:
        if switch.kind == "switch" and not switch.closed:
            element = activate(context, switch.element)
            ends[switch.element] = [end for end in (1, 2) if element.IsOpen(end, 0)]
            element.Close(1, 0)
            element.Close(2, 0)
    context.Solution.Solve()
    return ends


class SwitchWriter:
    """Moves the lines and banks of a compiled circuit.

    Args:
        context: with the circuit.
        switches: the Feeder's.
        ends: of lines that open at one end alone, see ``close_all``.
    """

    def __init__(self, context: Any, switches: Sequence[Switch], ends: Mapping[str, list[int]]) -> None:
        self._context, self._lib, self._ends = context, context.dss_lib, ends
        self._elements = [row.element for row in switches]
        self._rows: dict[str, list[int]] = {}
        for s, row in enumerate(switches):
            self._rows.setdefault(row.element, []).append(s)
        self._banks = {
            name: (name.split(".", 1)[1].encode(), context.dss_ffi.new("int32_t[]", len(rows)))
            for name, rows in self._rows.items()
            if name.startswith(_BANK)
        }

    def write(self, closed: BoolArray, before: BoolArray) -> None:
        """Set the states (S) that differ from those before (S); errors show in the next checked call."""
        changed = np.flatnonzero(closed != before).tolist()
        for element in dict.fromkeys([self._elements[s] for s in changed]):
            rows = self._rows[element]
            if element in self._banks:
                self._write_bank(element, closed[rows].tolist())
            else:
                self._move_line(element, bool(closed[rows[0]]))

    def close_terminals(self) -> None:
        """Close the terminals of all banks, see ``_close_terminal``."""
        for name, _ in self._banks.values():
            self._lib.Capacitors_Set_Name(name)
            self._close_terminal()

    def _write_bank(self, element: str, steps: list[bool]) -> None:
        name, states = self._banks[element]
        states[0 : len(steps)] = steps
        self._lib.Capacitors_Set_Name(name)
        self._lib.Capacitors_Set_States(states, len(steps))
        self._close_terminal()

    def _close_terminal(self) -> None:
        """A CapControl opens the terminal with the last step, looks at it alone, and no state closes it again."""
        if self._lib.CktElement_IsOpen(1, 0):
            self._lib.CktElement_Close(1, 0)

    def _move_line(self, element: str, close: bool) -> None:
        line = activate(self._context, element)
        move = line.Close if close else line.Open
        for end in self._ends.get(element, (1, 2)):
            move(end, 0)  # all phases

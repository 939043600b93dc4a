"""Reads tap changers, line switches, capacitor steps, and the protection of branches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from dss_marl.engines.opendss.terminals import elements, openness
from dss_marl.grid.elements import Switch, TapChanger

_OPERABLE = ("recloser", "relay", "swtcontrol")  # a fuse is not switchable


def read_taps(context: Any) -> tuple[TapChanger, ...]:
    """The windings that a RegControl moves, one per transformer."""
    rows: dict[str, TapChanger] = {}
    controls = [
        (context.RegControls.Transformer().lower(), int(context.RegControls.TapWinding()))
        for _ in elements(context.RegControls)
    ]
    for name, winding in controls:
        context.Circuit.SetActiveElement(f"transformer.{name}")
        if context.CktElement.Enabled() and f"transformer.{name}" not in rows:
            rows[f"transformer.{name}"] = _tap(context, name, winding)
    return tuple(rows.values())


def _tap(context: Any, name: str, winding: int) -> TapChanger:
    transformer = context.Transformers
    transformer.Name(name)
    transformer.Wdg(winding)
    low, high, steps, tap = transformer.MinTap(), transformer.MaxTap(), transformer.NumTaps(), transformer.Tap()
    step = (high - low) / steps
    initial = round((tap - 1) / step)
    offset = tap - 1 - initial * step
    if abs(offset) < 1e-5:  # rounding in the file
        offset = 0.0
    context.Circuit.SetActiveElement(f"transformer.{name}")
    order, width = context.CktElement.NodeOrder(), context.CktElement.NumConductors()
    buses = [bus.split(".")[0].lower() for bus in context.CktElement.BusNames()]
    own = slice((winding - 1) * width, winding * width)
    within = 1e-3  # of a step: limits are rounded as well
    return TapChanger(
        name=f"transformer.{name}",
        winding=winding,
        bus1=buses[0 if winding != 1 else 1],
        bus2=buses[winding - 1],
        phases=tuple(int(p) for p in order[own] if 0 < p <= 3),
        minimum=min(_ceil((low - 1 - offset) / step - within), initial),
        maximum=max(-_ceil(-(high - 1 - offset) / step - within), initial),
        step_pu=step,
        initial=initial,
        offset_pu=offset,
    )


def _ceil(x: float) -> int:
    return -int(-x // 1)


def read_protection(context: Any, present: Mapping[str, list[str]]) -> dict[str, str]:
    """The element that each fuse, recloser, relay or switch control opens, and the kind of protection."""
    rows: dict[str, str] = {}
    for kind in ("fuse", *_OPERABLE):  # of two on one element, the operable one counts
        for own in present.get(kind, ()):
            context.Circuit.SetActiveElement(f"{kind}.{own}")
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
            context.Circuit.SetActiveElement(switch.element)
            ends[switch.element] = [end for end in (1, 2) if context.CktElement.IsOpen(end, 0)]
            context.CktElement.Close(1, 0)
            context.CktElement.Close(2, 0)
    context.Solution.Solve()
    return ends

"""Reads the controls of a circuit, and refuses by name what their rows cannot describe."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from dss_marl.engines.opendss.commands import engine_settings
from dss_marl.engines.opendss.context import acquire, compile_circuit, release
from dss_marl.engines.opendss.control_data import (
    AVERAGE,
    MAX_PHASE,
    MIN_PHASE,
    Bank,
    BankControl,
    ControlData,
    TapControl,
    Target,
)
from dss_marl.engines.opendss.hidden_state import has_reversible_controls
from dss_marl.engines.opendss.measured import (
    Conductors,
    Winding,
    conductors,
    nodes_of_bus,
    nodes_of_terminal,
    ratio_limits,
    winding,
)
from dss_marl.engines.opendss.switchgear import close_all
from dss_marl.engines.opendss.terminals import activate, elements
from dss_marl.grid.elements import TapChanger
from dss_marl.grid.feeder import Feeder

_CHOICES = {"max": MAX_PHASE, "min": MIN_PHASE, "avg": AVERAGE}
_KINDS = ("current", "voltage", "kvar", "time", "powerfactor")
_ON_A_STEP = 1e-3  # of a step, for limits that are rounded in the file


def read_controls(feeder: Feeder) -> ControlData:
    """The enabled controls of a circuit.

    Raises:
        ValueError: a control that these rows cannot describe, with the property.
    """
    context = acquire()
    try:
        compile_circuit(context, feeder.path, feeder.commands)
        for command in engine_settings(1e-6, 100):
            context.Text.Command(command)
        context.Solution.Solve()
        ends = close_all(context, feeder.switches)
        return _read(context, feeder, {name for name, open_ends in ends.items() if len(open_ends) == 1})
    finally:
        release(context)


def _read(context: Any, feeder: Feeder, half_open: Set[str]) -> ControlData:
    known = [name.lower() for name in context.Circuit.AllElementNames()]
    regulators = sorted((f"regcontrol.{own}" for own in elements(context.RegControls)), key=known.index)
    switching = sorted((f"capcontrol.{own}" for own in elements(context.CapControls)), key=known.index)
    taps = [_tap_control(context, feeder, name) for name in regulators]
    moved: dict[str, Bank] = {}
    return ControlData(
        nodes=tuple(name.lower() for name in context.Circuit.YNodeOrder()),
        taps=tuple(row for row in taps if row.most),  # the others never act
        banks=tuple(_bank_control(context, feeder, name, moved, half_open) for name in switching),
        moved=tuple(moved.values()),
        begins_anew=has_reversible_controls(context),
        step=np.array([row.step_pu for row in feeder.taps]),
        offset=np.array([row.offset_pu for row in feeder.taps]),
    )


class _Properties:
    """Those of a control, read at once, because the active element changes."""

    def __init__(self, context: Any, name: str) -> None:
        self.name = name
        names = activate(context, name).AllPropertyNames()
        self._texts = {own.lower(): context.Properties.Value(own).strip() for own in names}

    def text(self, own: str) -> str:
        return self._texts[own].lower()

    def number(self, own: str) -> float:
        return float(self._texts[own])

    def yes(self, own: str) -> bool:
        return self.text(own)[:1] in ("y", "t")

    def phase(self, own: str) -> int:
        """A phase from 0, or a choice."""
        text = self.text(own)
        return _CHOICES[text] if text in _CHOICES else int(text) - 1

    def refusal(self, own: str, why: str) -> ValueError:
        return ValueError(
            f"{self.name}: {own}={self._texts[own]} {why}; change it, disable the control, or solve with OpenDSS"
        )


# --- regulators ------------------------------------------------------------------------------------------------------


def _tap_control(context: Any, feeder: Feeder, name: str) -> TapControl:
    asked = _Properties(context, name)
    number, moved = int(asked.number("winding")), int(asked.number("tapwinding"))
    tap = _row(feeder, asked, moved)
    element = feeder.taps[tap].element
    measured = winding(context, element, number, name)
    remote = bool(asked.text("bus"))
    drops = asked.number("r") != 0 or asked.number("x") != 0 or asked.number("ldc_z") > 0
    turns = asked.yes("reversible") or asked.yes("cogen")
    lines = measured.conductors
    return TapControl(
        name=name,
        tap=tap,
        **_limits(context, asked, feeder.taps[tap]),
        **_voltages(context, asked, measured, remote),
        opposite=number != moved,
        limit=asked.number("vlimit"),
        volts_per_ratio=measured.base_volts / asked.number("ptratio"),
        forward=_target(asked, "vreg", "band", "r", "x", "ldc_z"),
        backward=_target(asked, "revvreg", "revband", "revr", "revx", "rev_z"),
        compensated=drops and not remote,
        ct=asked.number("ctprim"),
        current=conductors(context, feeder, element, lines[: len(measured.plus)], name)
        if drops and not remote
        else None,
        power=conductors(context, feeder, element, lines, name) if turns and not remote else None,
        cogeneration=asked.yes("cogen"),
        to_neutral=asked.yes("revneutral"),
        threshold_w=1000 * asked.number("revthreshold"),
        delay_s=asked.number("delay"),
        tap_delay_s=asked.number("tapdelay"),
        turn_delay_s=asked.number("revdelay"),
        inverse_time=asked.yes("inversetime"),
        most=int(asked.number("maxtapchange")),
    )


def _voltages(context: Any, asked: _Properties, measured: Winding, remote: bool) -> dict[str, Any]:
    """Which voltages count."""
    plus, minus = _remote(context, asked, measured) if remote else (measured.plus, measured.minus)
    phase = asked.phase("ptphase")
    if remote and phase > 0:
        raise asked.refusal("ptphase", "is beyond the one phase of a regulated bus")
    return {
        "plus": plus,
        "minus": minus,
        "phase": phase if phase < len(plus) else 0,  # as OpenDSS does
        "pt_ratio": asked.number("remoteptratio" if remote else "ptratio"),
        "local": (measured.plus[0], measured.minus[0], asked.number("ptratio")) if remote else None,
    }


def _row(feeder: Feeder, asked: _Properties, moved: int) -> int:
    own = asked.text("transformer").split(".")
    names = {f"transformer.{'.'.join(own)}", f"autotrans.{'.'.join(own)}", ".".join(own)}
    found = [r for r, row in enumerate(feeder.taps) if row.element in names and row.winding == moved]
    if not found:
        raise asked.refusal("transformer", f"and its winding {moved} are no tap of feeder {feeder.name!r}")
    return found[0]


def _limits(context: Any, asked: _Properties, row: TapChanger) -> dict[str, Any]:
    """Of the ratio. They must be on its steps: a control that has run into another goes on from there."""
    lowest, highest = ratio_limits(context, row.element, row.winding)
    for limit in (lowest, highest):
        position = (limit - 1 - row.offset_pu) / row.step_pu
        if abs(position - round(position)) > _ON_A_STEP:
            raise ValueError(
                f"{asked.name}: {row.element} may have a ratio of {limit:g}, which is none of its steps; change mintap "
                "and maxtap, disable the control, or solve with OpenDSS"
            )
    return {"increment": row.step_pu, "lowest": lowest, "highest": highest}


def _target(asked: _Properties, *names: str) -> Target:
    volts, band, r, x, z = map(asked.number, names)
    return Target(volts, band, complex(r, x), z)


def _remote(context: Any, asked: _Properties, measured: Winding) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions of the voltage at a regulated bus."""
    activate(context, asked.name)
    nodes = [int(n) for n in context.CktElement.NodeRef()]
    if not measured.delta:
        return (nodes[0],), (0,)
    if measured.next_phase != 1 or len(nodes) < 2:
        raise asked.refusal("bus", "has no second node to measure a voltage between phases")
    return (nodes[0],), (nodes[1],)


# --- banks -----------------------------------------------------------------------------------------------------------


def _bank_control(context: Any, feeder: Feeder, name: str, moved: dict[str, Bank], half_open: Set[str]) -> BankControl:
    asked = _Properties(context, name)
    kind = asked.text("type")
    if kind not in _KINDS or asked.text("usermodel"):
        raise asked.refusal("type" if kind not in _KINDS else "usermodel", "cannot be computed for many copies")
    bank = f"capacitor.{asked.text('capacitor')}"
    steps = tuple(s for s, row in enumerate(feeder.switches) if row.element == bank)
    if not steps:
        raise asked.refusal("capacitor", f"is no bank of feeder {feeder.name!r}")
    moved.setdefault(bank, Bank(bank, steps))
    voltage, plus, minus = _voltage(context, asked, bank)
    lines, current = _lines(context, feeder, asked, bank)
    if lines is not None and asked.text("element") in half_open:
        raise asked.refusal("element", "opens at one end alone, and stays charged from the other")
    total = _kvar(context, bank)
    on, off = _settings(asked)
    overridden = asked.yes("voltoverride") and kind != "voltage"
    return BankControl(
        name=name,
        bank=list(moved).index(bank),
        kind=kind,
        on=on,
        off=off,
        minimum_kvar=(total * asked.number("pctminkvar") * 0.01, total / len(steps) * 0.5),
        plus=plus,
        minus=minus,
        voltage=voltage,
        override=(asked.number("vmin"), asked.number("vmax")) if overridden else None,
        pt_ratio=asked.number("ptratio"),
        ct_ratio=asked.number("ctratio"),
        conductors=lines,
        current=current,
        delay_s=asked.number("delay"),
        delay_off_s=asked.number("delayoff"),
        dead_time_s=asked.number("deadtime"),
    )


def _settings(asked: _Properties) -> tuple[float, float]:
    """When to switch on and off. A power factor is taken as given behind ``type``; outside -1 to 1 it is none."""
    on, off = asked.number("onsetting"), asked.number("offsetting")
    if asked.text("type") != "powerfactor":
        return on, off
    return _factor(on, 0.95), _factor(off, 1.05)


def _factor(given: float, otherwise: float) -> float:
    if abs(given) > 1:
        return otherwise
    return given if given >= 0 else 2 + given


def _kvar(context: Any, bank: str) -> float:
    context.Capacitors.Name(bank.split(".", 1)[1])
    return float(context.Capacitors.kvar())


def _voltage(context: Any, asked: _Properties, bank: str) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Which voltage counts, and positions of all that may."""
    kind = asked.text("type")
    if kind != "voltage" and not asked.yes("voltoverride"):
        return 0, (), ()
    phase = asked.phase("ptphase")
    element = activate(context, bank)
    phases = element.NumPhases()
    context.Capacitors.Name(bank.split(".", 1)[1])
    delta = bool(context.Capacitors.IsDelta())
    nodes, width = nodes_of_terminal(context, asked.text("element"), int(asked.number("terminal")))
    own_bus = "vbus" if kind != "voltage" and asked.text("vbus") else "element"
    if own_bus == "vbus":
        nodes = nodes_of_bus(context, asked.text("vbus"))[:phases]
    wanted = [(phase + 1) % phases] if phase >= 0 and delta else []
    needed = range(width) if phase < 0 else [phase, *wanted]
    if any(k >= len(nodes) for k in needed):
        raise asked.refusal(own_bus, f"has no voltage for ptphase={asked.text('ptphase')}")
    if phase < 0:
        return phase, tuple(nodes[:width]), (0,) * width
    return 0, (nodes[phase],), (nodes[wanted[0]] if wanted else 0,)


def _lines(context: Any, feeder: Feeder, asked: _Properties, bank: str) -> tuple[Conductors | None, int]:
    """The conductors whose currents or power count, and which current does."""
    kind = asked.text("type")
    if kind in ("voltage", "time"):
        return None, 0
    name, terminal = asked.text("element"), int(asked.number("terminal"))
    width = activate(context, name).NumConductors()
    own = list(range((terminal - 1) * width, terminal * width))
    phase = asked.phase("ctphase")
    if kind != "current":
        return conductors(context, feeder, name, own, asked.name), 0
    if phase >= 0:  # counted from the first terminal, whichever is monitored
        return conductors(context, feeder, name, [phase], asked.name), 0
    phases = activate(context, bank).NumPhases()
    return conductors(context, feeder, name, own[:phases], asked.name), phase

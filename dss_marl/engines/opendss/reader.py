"""Reads the facts of a compiled circuit into a Feeder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl.data import data_folder, known_names
from dss_marl.engines.opendss.context import acquire, compile_circuit, release
from dss_marl.feeder import Branch, Bus, Feeder, Injection, NewInjection, Switch, Tap

_KM_PER_UNIT = {0: 0.0, 1: 1.609344, 2: 0.3048, 3: 1.0, 4: 1e-3, 5: 3.048e-4, 6: 2.54e-5, 7: 1e-5, 8: 1e-6}


def feeder_path(path_or_name: str | Path) -> tuple[str, Path]:
    """Name and master file of a shipped feeder or of any DSS file.

    Raises:
        ValueError: neither a known name nor an existing file.
    """
    known = known_names("feeders")
    if str(path_or_name) in known:
        return str(path_or_name), data_folder("feeders") / str(path_or_name) / "feeder.dss"
    path = Path(path_or_name).expanduser()
    if path.is_file():
        return path.stem.lower(), path.resolve()
    raise ValueError(f"unknown feeder {str(path_or_name)!r}; known: {', '.join(known)}, or the path of a .dss file")


def read_feeder(
    path_or_name: str | Path, commands: Sequence[str] = (), injections: Sequence[NewInjection] = ()
) -> Feeder:
    """Compile a circuit and read its facts.

    Args:
        path_or_name: a shipped feeder's name, or the path of an OpenDSS master file.
        commands: OpenDSS commands to run after it, such as ``"vsource.source.pu=1.02"``.
        injections: units to add, which engines then control.

    Raises:
        ValueError: the feeder is unknown or does not compile, or a unit's bus or phase does not exist.
    """
    name, path = feeder_path(path_or_name)
    context = acquire()
    try:
        compile_circuit(context, path, commands)
        buses = _buses(context)
        without = [bus.name for bus in buses if bus.kv_base <= 0]
        if without:
            raise ValueError(
                f"bus {without[0]!r} of feeder {name!r} has no base voltage; end the .dss with CalcVoltageBases"
            )
        added = tuple(_generator(new, buses, name) for new in injections)
        for _, command in added:
            context.Text.Command(command)
        context.Text.Command("set mode=snapshot controlmode=off")
        context.Solution.Solve()  # numbers the nodes; the loads' own state does not matter here
        return _read(context, name, path, (*commands, *(c for _, c in added)), buses, [row for row, _ in added])
    finally:
        release(context)


def _read(
    context: Any, name: str, path: Path, commands: tuple[str, ...], buses: tuple[Bus, ...], added: list[Injection]
) -> Feeder:
    nodes = tuple(node.lower() for node in context.Circuit.YNodeOrder())
    node_index = {node: i for i, node in enumerate(nodes)}
    context.Vsources.First()
    source_bus = context.CktElement.BusNames()[0].split(".")[0].lower()
    taps = _taps(context)
    switches = (*_line_switches(context), *_capacitor_steps(context))
    close_all(context, switches)  # an open line has no impedance to read
    return Feeder(
        name=name,
        path=path,
        commands=commands,
        nodes=nodes,
        source_bus=source_bus,
        buses=buses,
        branches=_branches(context, node_index, {tap.name for tap in taps}, switches),
        injections=(*_loads(context, node_index), *(_placed(row, node_index) for row in added)),
        taps=taps,
        switches=switches,
        uncontrolled=_uncontrolled(context, {row.name for row in added}),
    )


def _buses(context: Any) -> tuple[Bus, ...]:
    if not context.Circuit.NumBuses():  # the file did not end with CalcVoltageBases, which lists the buses
        context.Text.Command("makebuslist")
    rows = []
    for index in range(context.Circuit.NumBuses()):
        context.Circuit.SetActiveBusi(index)
        bus = context.Bus
        located = bool(bus.Coorddefined())
        rows.append(
            Bus(
                name=bus.Name().lower(),
                phases=tuple(sorted(n for n in bus.Nodes() if n > 0)),
                kv_base=float(bus.kVBase()),
                x=float(bus.X()) if located else None,
                y=float(bus.Y()) if located else None,
            )
        )
    return tuple(rows)


def _generator(new: NewInjection, buses: Sequence[Bus], feeder: str) -> tuple[Injection, str]:
    """A three- or one-phase constant-power unit, its voltage limits wide so that what is asked is delivered.

    A three-phase unit is a three-wire inverter (delta): it feeds no zero sequence, and works on ungrounded feeders.
    """
    bus = next((b for b in buses if b.name == str(new.bus).lower()), None)
    if bus is None:
        known = ", ".join(b.name for b in buses[:40]) + (", ..." if len(buses) > 40 else "")
        raise ValueError(
            f"{new.kind} {new.name!r}: bus {new.bus!r} does not exist on feeder {feeder!r}; known: {known}"
        )
    phases = tuple(new.phases) or tuple(p for p in bus.phases if p <= 3)
    missing = [p for p in phases if p not in bus.phases]
    if missing:  # OpenDSS would make phantom nodes without a word
        raise ValueError(
            f"{new.kind} {new.name!r}: bus {bus.name!r} of feeder {feeder!r} has phases {list(bus.phases)}, "
            f"not {missing}"
        )
    if len(phases) == 2:
        raise ValueError(
            f"{new.kind} {new.name!r} at bus {bus.name!r}: use one or three phases, or two units; got {phases}"
        )
    if bus.kv_base <= 0:
        raise ValueError(
            f"bus {bus.name!r} of feeder {feeder!r} has no base voltage; end the .dss with CalcVoltageBases"
        )
    kv = bus.kv_base * (3**0.5 if len(phases) == 3 else 1.0)
    terminal = ".".join([bus.name, *map(str, phases)])
    delta = len(phases) == 3
    row = Injection(f"generator.{new.name}".lower(), new.kind, bus.name, phases, new.kw, 0.0, kv, delta)
    command = (
        f"new {row.name} phases={len(phases)} bus1={terminal} conn={'delta' if delta else 'wye'} kv={kv:.9g} "
        f"kw={new.kw:.9g} kvar=0 model=1 vminpu=0.4 vmaxpu=1.6 status=variable"
    )
    return row, command


def _placed(row: Injection, node_index: dict[str, int]) -> Injection:
    nodes = tuple(node_index[f"{row.bus}.{phase}"] for phase in row.phases)
    return Injection(row.name, row.kind, row.bus, row.phases, row.kw, row.kvar, row.kv, row.delta, nodes)


def _terminals(context: Any, node_index: dict[str, int]) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Per terminal of the active element: bus, phases and node indices; grounded conductors are left out."""
    element = context.CktElement
    order = element.NodeOrder()
    width = element.NumConductors()
    result = []
    for k, bus_name in enumerate(element.BusNames()):
        bus = bus_name.split(".")[0].lower()
        phases = tuple(int(p) for p in order[k * width : (k + 1) * width] if p > 0)
        result.append((bus, phases, tuple(node_index[f"{bus}.{p}"] for p in phases)))
    return result


def _elements(collection: Any) -> Iterable[str]:
    """Names of the enabled elements of a class; each is the active element while it is yielded."""
    index = collection.First()
    while index:
        yield collection.Name().lower()
        index = collection.Next()


def _loads(context: Any, node_index: dict[str, int]) -> list[Injection]:
    rows = []
    multiplier = context.Solution.LoadMult()
    for name in _elements(context.Loads):
        load = context.Loads
        kw, kvar, kv, delta = load.kW() * multiplier, load.kvar() * multiplier, load.kV(), bool(load.IsDelta())
        bus, phases, nodes = _terminals(context, node_index)[0]
        phases, nodes = tuple(dict.fromkeys(phases)), tuple(dict.fromkeys(nodes))
        rows.append(Injection(f"load.{name}", "load", bus, phases, -kw, -kvar, kv, delta, nodes))
    return rows


def _taps(context: Any) -> tuple[Tap, ...]:
    rows: dict[str, Tap] = {}
    controls = [
        (context.RegControls.Transformer().lower(), int(context.RegControls.TapWinding()))
        for _ in _elements(context.RegControls)
    ]
    for name, winding in controls:
        transformer = context.Transformers
        transformer.Name(name)
        transformer.Wdg(winding)
        low, high, steps, tap = transformer.MinTap(), transformer.MaxTap(), transformer.NumTaps(), transformer.Tap()
        step = (high - low) / steps
        context.Circuit.SetActiveElement(f"transformer.{name}")
        order, width = context.CktElement.NodeOrder(), context.CktElement.NumConductors()
        bus_names = [b.split(".")[0].lower() for b in context.CktElement.BusNames()]
        other = 0 if winding != 1 else 1
        rows[f"transformer.{name}"] = Tap(
            name=f"transformer.{name}",
            winding=winding,
            bus1=bus_names[other],
            bus2=bus_names[winding - 1],
            phases=tuple(int(p) for p in order[(winding - 1) * width : winding * width] if p > 0),
            minimum=round((low - 1) / step),
            maximum=round((high - 1) / step),
            step_pu=step,
            initial=round((tap - 1) / step),
        )
    return tuple(rows.values())


def _line_switches(context: Any) -> list[Switch]:
    rows = []
    for name in _elements(context.Lines):
        if context.Lines.IsSwitch():
            bus_name = context.CktElement.BusNames()[0]
            phases = tuple(int(p) for p in context.CktElement.NodeOrder()[: context.CktElement.NumPhases()])
            is_open = context.CktElement.IsOpen(1, 0) or context.CktElement.IsOpen(2, 0)
            rows.append(
                Switch(f"line.{name}", "switch", f"line.{name}", bus_name.split(".")[0].lower(), phases, not is_open)
            )
    return rows


def close_all(context: Any, switches: Iterable[Switch]) -> None:
    """Close every line switch, so that primitive admittances are those of the closed element."""
    for switch in switches:
        if switch.kind == "switch" and not switch.closed:
            context.Circuit.SetActiveElement(switch.element)
            context.CktElement.Close(1, 0)
            context.CktElement.Close(2, 0)
    context.Solution.Solve()


def _capacitor_steps(context: Any) -> list[Switch]:
    rows = []
    for name in _elements(context.Capacitors):
        element, states = f"capacitor.{name}", context.Capacitors.States()
        bus = context.CktElement.BusNames()[0].split(".")[0].lower()
        phases = tuple(int(p) for p in context.CktElement.NodeOrder()[: context.CktElement.NumPhases()])
        kvar = context.Capacitors.kvar() / len(states)
        for step, state in enumerate(states, start=1):
            label = element if len(states) == 1 else f"{element}.{step}"
            rows.append(Switch(label, "capacitor", element, bus, phases, bool(state), step, kvar))
    return rows


def _branches(
    context: Any, node_index: dict[str, int], regulators: set[str], switches: Sequence[Switch]
) -> tuple[Branch, ...]:
    switch_index = {switch.name: i for i, switch in enumerate(switches)}
    rows: list[Branch] = []
    for name in _elements(context.Lines):
        line = context.Lines
        index = switch_index.get(f"line.{name}", -1)
        km = line.Length() * _KM_PER_UNIT.get(int(line.Units()), 0.0)
        amps = line.NormAmps()
        (bus1, phases, nodes1), (bus2, _, nodes2) = _terminals(context, node_index)[:2]
        z = _series_impedance(context, len(phases))
        kind = "line" if index < 0 else "switch"
        rows.append(Branch(f"line.{name}", kind, bus1, bus2, phases, nodes1, nodes2, km, z.real, z.imag, amps, index))
    for name in _elements(context.Transformers):
        rows += _transformer(context, f"transformer.{name}", node_index, f"transformer.{name}" in regulators)
    for name in _elements(context.Reactors):
        ends = _terminals(context, node_index)
        if len(ends) == 2 and ends[1][2] and ends[0][0] != ends[1][0]:
            (bus1, phases, nodes1), (bus2, _, nodes2) = ends
            z = complex(context.Reactors.R(), context.Reactors.X())
            amps = context.CktElement.NormalAmps()
            rows.append(
                Branch(f"reactor.{name}", "reactor", bus1, bus2, phases, nodes1, nodes2, 0.0, z.real, z.imag, amps)
            )
    return tuple(rows)


def _series_impedance(context: Any, phases: int) -> complex:
    """Positive-sequence series impedance of the active line [ohm]: the coupling block of Yprim is -1/Z."""
    flat = np.asarray(context.CktElement.YPrim())
    order = round((len(flat) / 2) ** 0.5)
    y = (flat[::2] + 1j * flat[1::2]).reshape(order, order)
    block = -y[:phases, order // 2 : order // 2 + phases]
    if not np.any(block):  # open, or disabled
        return 0j
    z = np.linalg.inv(block)
    mutual = (z.sum() - np.trace(z)) / (phases * (phases - 1)) if phases > 1 else 0.0
    return complex(np.trace(z) / phases - mutual)


def _transformer(context: Any, name: str, node_index: dict[str, int], regulator: bool) -> list[Branch]:
    """One branch per secondary bus; the two halves of a centre-tapped winding are one."""
    transformer = context.Transformers
    transformer.Wdg(1)
    kv, kva, r_percent, x_percent = transformer.kV(), transformer.kVA(), transformer.R(), transformer.Xhl()
    windings = transformer.NumWindings()
    z = complex(r_percent * windings, x_percent) / 100 * kv**2 / (kva / 1000)
    ends = _terminals(context, node_index)
    bus1, phases, nodes1 = ends[0]
    amps = kva / (kv * (3**0.5 if context.CktElement.NumPhases() == 3 else 1.0))
    secondary: dict[str, list[int]] = {}
    for bus, _, nodes in ends[1:]:
        secondary.setdefault(bus, []).extend(n for n in nodes if n not in secondary.get(bus, []))
    kind = "regulator" if regulator else "transformer"
    return [
        Branch(
            name=name if k == 0 else f"{name}:{k + 2}",
            kind=kind,
            bus1=bus1,
            bus2=bus2,
            phases=tuple(dict.fromkeys(phases)),
            nodes1=tuple(dict.fromkeys(nodes1)),
            nodes2=tuple(nodes2),
            length_km=0.0,
            r_ohm=z.real,
            x_ohm=z.imag,
            normal_amps=amps,
        )
        for k, (bus2, nodes2) in enumerate(secondary.items())
    ]


_READ_CLASSES = {"line", "load", "transformer", "capacitor", "reactor", "vsource", "regcontrol", "capcontrol"}


def _uncontrolled(context: Any, added: set[str]) -> tuple[str, ...]:
    """Elements of the circuit that stay as they are because no set point reaches them."""
    names = (name.lower() for name in context.Circuit.AllElementNames())
    return tuple(n for n in names if n.split(".")[0] not in _READ_CLASSES and n not in added)

"""Compiles a circuit and reads its data into a Feeder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl._assets import data_folder, known_names
from dss_marl.engines.opendss.added_switches import refuse_unequal, switchable
from dss_marl.engines.opendss.branches import Marks, read_branches
from dss_marl.engines.opendss.checks import few, notes_of_loads, notes_of_nodes, notes_of_ratings, refuse_phantoms
from dss_marl.engines.opendss.context import acquire, compile_circuit, message_of, release, run_commands
from dss_marl.engines.opendss.grid_forming import grid_forming_unit
from dss_marl.engines.opendss.injections import Additions, read_loads
from dss_marl.engines.opendss.own_units import followers, read_units
from dss_marl.engines.opendss.switchgear import close_all, read_protection, read_switches, read_taps
from dss_marl.engines.opendss.terminals import NOWHERE
from dss_marl.engines.opendss.voltage_bases import (
    OTHER_CONTROLS,
    base_commands,
    by_class,
    fixed_kvar_loads,
    snapshot_commands,
)
from dss_marl.grid.elements import AddedSwitch, AddedUnit, Bus, Injection
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array

# A node numbered above 3 below the first, or any other below the second, is a neutral or grounded [pu].
_NEUTRAL_PU, _GROUNDED_PU = 0.3, 0.1


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
    if path.is_dir():
        masters = sorted(p for p in path.iterdir() if p.name.lower() in ("master.dss", "feeder.dss"))
        if len(masters) == 1:
            return path.resolve().name.lower(), masters[0].resolve()
    raise ValueError(f"unknown feeder {str(path_or_name)!r}; known: {', '.join(known)}, or the path of a .dss file")


def read_feeder(
    path_or_name: str | Path,
    commands: Sequence[str] = (),
    injections: Sequence[AddedUnit] = (),
    switches: Sequence[AddedSwitch] = (),
) -> Feeder:
    """Compile a circuit and read its data; ``feeder_report`` summarises the result.

    Args:
        path_or_name: name of a shipped feeder, or path of an OpenDSS master file or of the folder with Master.dss.
        commands: OpenDSS commands to run afterwards, such as ``"vsource.source.pu=1.02"``.
        injections: units to add, controlled by set points.
        switches: lines of the circuit to make switchable in addition to its switches, and new ties.

    Raises:
        ValueError: the feeder is unknown or does not compile, an element connects to a bus or phase that no branch
            reaches, or the bus or phase of a unit or tie does not exist.

    >>> feeder = read_feeder("ieee13")
    >>> len(feeder.buses), len(feeder.nodes), feeder.source_bus
    (16, 41, 'sourcebus')
    >>> [tap.name for tap in feeder.taps]
    ['transformer.reg1', 'transformer.reg2', 'transformer.reg3']
    """
    name, path = feeder_path(path_or_name)
    context = acquire()
    try:
        compile_circuit(context, path, commands)
        return _Reading(context, name, path, commands).feeder(injections, switches)
    finally:
        release(context)


class _Reading:
    """State of reading one compiled circuit."""

    def __init__(self, context: Any, name: str, path: Path, commands: Sequence[str]) -> None:
        self.context, self.name, self.path = context, name, path
        self.commands = list(commands)
        self.notes: list[str] = []
        self._fixed_kvar: dict[str, int] = {}

    def run(self, commands: Sequence[str]) -> None:
        """Run commands that engines must repeat."""
        run_commands(self.context, self.path, commands)
        self.commands += commands

    def solve(self) -> None:
        """A snapshot as compiled, without controls; numbers the nodes."""
        try:
            self.context.Text.Command("set mode=snapshot controlmode=off")
            self.context.Solution.Solve()
        except Exception as error:
            raise ValueError(f"OpenDSS cannot solve {str(self.path)!r}: {message_of(error)}") from error

    def feeder(self, injections: Sequence[AddedUnit], switches: Sequence[AddedSwitch]) -> Feeder:
        """Build the Feeder; the order of the steps matters, since each modifies the circuit."""
        context = self.context
        present = by_class(context)
        self._refuse_doubles()
        protection = read_protection(context, present)
        self._fixed_kvar = fixed_kvar_loads(context)
        if self._fixed_kvar:
            self.notes.append(
                "loads of model 6 and 7 are read as model 1 and 3, so that their kvar can be set: "
                + few(self._fixed_kvar)
            )
        units, held = read_units(context, present), followers(context, present)  # before their shapes are taken away
        if held:
            self.notes.append(f"keep their value as compiled at all hours, and not their shape: {few(held)}")
        self.run(snapshot_commands(context, present, self._fixed_kvar))
        bases = base_commands(context)
        if bases:
            self.run(bases)
            self.notes.append(f"the file calculates no base voltages; computed with {bases[0]!r}")
        known = _buses(context) if switches or any(not new.replaces for new in injections) else ()
        additions = Additions(context, self.name, known, units)
        for new in injections:
            additions.add(new)
        self.run(additions.commands)
        asked, ties = switchable(context, switches, known, self.name)
        self.run(ties)
        self.solve()
        if not context.Solution.Converged():
            self.notes.append("as compiled, the power flow does not converge")
        feeder = self._facts(present, protection, additions, asked)
        sources = [name for name in held if name.startswith("vsource.")]
        feeder = replace(feeder, uncontrolled=(*feeder.uncontrolled, *sources))
        refuse_unequal([row for row in switches if row.bus1], feeder.buses, self.name)
        return self._with_grid_forming(feeder, additions.forming)

    def _with_grid_forming(self, feeder: Feeder, forming: Container[str]) -> Feeder:
        """Add grid-forming units, last of all, so that the hidden buses of their sources are not read."""
        units, rows = list(feeder.injections), list(feeder.switches)
        for j, unit in enumerate(units):
            if unit.name in forming:
                row, commands = grid_forming_unit(unit, feeder.bus(unit.bus), self.name)
                units[j] = replace(unit, grid_forming_switch=len(rows))
                rows.append(row)
                self.run(commands)
        return replace(feeder, injections=tuple(units), switches=tuple(rows), commands=tuple(self.commands))

    def _refuse_doubles(self) -> None:
        names = Counter(name.lower() for name in self.context.Circuit.AllElementNames())
        doubles = [name for name, count in names.items() if count > 1]
        if doubles:
            raise ValueError(
                f"{str(self.path)!r} has several elements of one name: {', '.join(doubles[:5])}; give each its own name"
            )

    def _facts(
        self, present: dict[str, list[str]], protection: dict[str, str], additions: Additions, asked: set[str]
    ) -> Feeder:
        context = self.context
        names = [node.lower() for node in context.Circuit.YNodeOrder()]
        buses = _buses(context)
        compiled = _volts(context, len(names)).copy()
        taps, switches = read_taps(context), read_switches(context, protection, asked)
        close_all(context, switches)  # an open line has no readable impedance
        buses = _with_bases_behind_switches(context, buses, names, np.abs(compiled))
        marks = Marks(
            frozenset(tap.name for tap in taps),
            {row.name: i for i, row in enumerate(switches) if row.kind == "switch"},
            protection,
        )
        sources = _sources(context)
        draft = Feeder(
            self.name, self.path, tuple(self.commands), (), sources[0], buses, (), (), taps, switches,
            uncontrolled=_uncontrolled(present, additions), other_sources=tuple(sources[1:]),
            units=tuple(additions.units.values()),
        )  # fmt: skip
        feeder, places, opened = self._placed(draft, names, marks, present, additions.rows)
        refuse_phantoms(context, feeder)
        kv = compiled[[i for i, place in enumerate(places[1:]) if place != NOWHERE]] / 1000
        self.notes += notes_of_nodes(feeder, np.abs(kv), opened)
        self.notes += notes_of_loads(context, feeder, kv)
        self.notes += notes_of_ratings(context, feeder)
        return replace(feeder, notes=tuple(self.notes))

    def _placed(
        self, draft: Feeder, names: list[str], marks: Marks, present: dict[str, list[str]], added: list[Injection]
    ) -> tuple[Feeder, list[int], list[str]]:
        """The Feeder with its nodes and all elements that connect to them; neutrals are detected and left out."""
        self.context.Solution.SolveDirect()  # linear, so it has a solution even where the power flow has none
        v = np.abs(_volts(self.context, len(names)))
        base = {bus.name: bus.kv_base * 1000 for bus in draft.buses}
        own_base = np.array([base[name.rsplit(".", 1)[0]] for name in names])
        above_3 = np.array([int(name.rsplit(".", 1)[1]) > 3 for name in names])
        dropped = above_3 & (v < _NEUTRAL_PU * own_base)
        suspects = ~above_3 & (v < _GROUNDED_PU * own_base)
        everything = self._with_nodes(draft, names, np.zeros(len(names), bool), marks, present, added)
        fed = np.array([name.rsplit(".", 1)[0] == draft.source_bus for name in names])
        if (v < 0.5 * own_base)[fed].any():  # no meaningful solution, so no evidence
            dropped[:] = suspects[:] = False
        if suspects.any():  # de-energised or grounded? A path to the source through any conductor decides
            closed = np.ones(len(draft.switches), bool)
            dropped |= suspects & everything[0].energised(closed)
        if not dropped.any():
            return everything
        return self._with_nodes(draft, names, dropped, marks, present, added)

    def _with_nodes(
        self, draft: Feeder, names: list[str], dropped: Any, marks: Marks, present: dict[str, list[str]],
        added: list[Injection],
    ) -> tuple[Feeder, list[int], list[str]]:  # fmt: skip
        nodes = tuple(name for name, out in zip(names, dropped, strict=True) if not out)
        index = {name: i for i, name in enumerate(nodes)}
        places = [NOWHERE, *(index.get(name, NOWHERE) for name in names)]
        branches, opened = read_branches(self.context, places, marks, present)
        units = [
            replace(row, nodes=tuple(index[n] for p in row.phases if (n := f"{row.bus}.{p}") in index)) for row in added
        ]
        phases: dict[str, list[int]] = {}
        for name in nodes:
            bus, phase = name.rsplit(".", 1)
            phases.setdefault(bus, []).append(int(phase))
        feeder = replace(
            draft,
            nodes=nodes,
            buses=tuple(replace(b, phases=tuple(sorted(phases[b.name]))) for b in draft.buses if b.name in phases),
            branches=branches,
            injections=(*read_loads(self.context, places, self._fixed_kvar), *units),
        )
        return feeder, places, opened


def _buses(context: Any) -> tuple[Bus, ...]:
    rows = []
    bus, activate = context.Bus, context.Circuit.SetActiveBusi
    for index in range(context.Circuit.NumBuses()):
        activate(index)
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


def _volts(context: Any, count: int) -> Any:
    """(Y) complex voltage of every node of the circuit [V]; a view."""
    view = context.dss_ffi.buffer(context.YMatrix.VVector(), 16 * (count + 1))
    return np.frombuffer(view, complex)[1:]


def _with_bases_behind_switches(
    context: Any, buses: tuple[Bus, ...], names: list[str], as_compiled: Array
) -> tuple[Bus, ...]:
    """Correct voltage bases behind open switches: CalcVoltageBases gives a de-energised bus the smallest base."""
    v = np.abs(_volts(context, len(names)))
    risen = np.flatnonzero((as_compiled < 1.0) & (v > 10.0))
    if not risen.size:
        return buses
    highest: dict[str, float] = {}
    for i in risen:
        name = names[i].rsplit(".", 1)[0]
        highest[name] = max(highest.get(name, 0.0), float(v[i]) / 1000)
    legal = np.asarray(context.Settings.VoltageBases()) / 3**0.5
    rows = []
    for bus in buses:
        kv = highest.get(bus.name)
        if kv is not None and not 0.7 < kv / max(bus.kv_base, 1e-9) < 1.3:
            bus = replace(bus, kv_base=float(legal[np.argmin(np.abs(legal - kv))]))
        rows.append(bus)
    return tuple(rows)


def _sources(context: Any) -> list[str]:
    """Buses of the voltage sources; both buses of a source between two."""
    rows: list[str] = []
    index = context.Vsources.First()
    while index:
        refs, width = context.CktElement.NodeRef(), context.CktElement.NumConductors()
        for k, bus in enumerate(context.CktElement.BusNames()):
            if any(refs[k * width : (k + 1) * width]):
                rows.append(bus.split(".")[0].lower())
        index = context.Vsources.Next()
    return list(dict.fromkeys(rows))


_READ = {"line", "load", "transformer", "capacitor", "reactor", "vsource", "regcontrol", "capcontrol"}
_MEASURE = {"monitor", "energymeter", "sensor"}


def _uncontrolled(present: dict[str, list[str]], additions: Additions) -> tuple[str, ...]:
    """Elements of the circuit that no set point controls."""
    taken = {unit.name for unit in additions.units.values() if unit.injection}
    order = [kind for kind in present if kind not in OTHER_CONTROLS] + list(OTHER_CONTROLS)
    names = (f"{kind}.{own}" for kind in order if kind not in _READ | _MEASURE for own in present.get(kind, ()))
    return tuple(name for name in names if name not in taken)

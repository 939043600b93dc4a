"""Compiles a circuit and reads its data into a Feeder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl._assets import data_folder, known_names
from dss_marl.engines.opendss.added_switches import refuse_unequal, switchable
from dss_marl.engines.opendss.branches import Marks, read_branches
from dss_marl.engines.opendss.checks import (
    few,
    notes_of_loads,
    notes_of_nodes,
    notes_of_ratings,
    refuse_endless,
    refuse_phantoms,
    refuse_singular,
    refuse_wrong_units,
)
from dss_marl.engines.opendss.conductors import Conductors, read_conductors
from dss_marl.engines.opendss.context import acquire, compile_circuit, message_of, release, run_commands, snapshot
from dss_marl.engines.opendss.grid_forming import grid_forming_unit
from dss_marl.engines.opendss.growth import LoadScale, load_scale
from dss_marl.engines.opendss.injections import Additions, read_loads
from dss_marl.engines.opendss.own_units import followers, read_units
from dss_marl.engines.opendss.script import quoted
from dss_marl.engines.opendss.switchgear import close_all, idle_capacitor_controls, read_protection, read_switches
from dss_marl.engines.opendss.tap_changers import idle_controls, read_taps
from dss_marl.engines.opendss.terminals import NOWHERE, elements
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

_SUSPECT_PU = 0.1  # what is below may be grounded; see conductors


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
        raise ValueError(
            f"{str(path_or_name)!r} is a folder with {len(masters)} files named master.dss or feeder.dss; name the "
            "circuit's master file in it"
        )
    if path.suffix.lower() == ".dss":
        where = "" if path.is_absolute() else f" in {str(Path.cwd())!r}"
        raise ValueError(
            f"there is no file {str(path_or_name)!r}{where}; name a .dss file, or a shipped feeder; known: "
            f"{', '.join(known)}"
        )
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
        notes = compile_circuit(context, path, commands)
        return _Reading(context, name, path, commands, notes).feeder(injections, switches)
    finally:
        release(context)


class _Reading:
    """State of reading one compiled circuit."""

    def __init__(self, context: Any, name: str, path: Path, commands: Sequence[str], notes: Sequence[str]) -> None:
        self.context, self.name, self.path = context, name, path
        self.commands = list(commands)
        self.notes = list(notes)
        self._fixed_kvar: dict[str, int] = {}
        self._scales = LoadScale()
        self._before_additions: list[str] = []
        self._idle: list[str] = []  # controls that move nothing of the Feeder

    @cached_property
    def conductors(self) -> Conductors | None:
        """What is phase and what is not, of the circuit before anything is added; costs another compilation."""
        return read_conductors(self.path, self._before_additions)

    def run(self, commands: Sequence[str]) -> None:
        """Run commands that engines must repeat."""
        run_commands(self.context, self.path, commands)
        self.commands += commands

    def solve(self) -> None:
        """A snapshot as compiled, without controls; numbers the nodes."""
        try:
            snapshot(self.context)
        except Exception as error:
            raise ValueError(f"OpenDSS cannot solve {str(self.path)!r}: {message_of(error)}") from error
        refuse_endless(self.context, self.path, _volts(self.context, len(self.context.Circuit.YNodeOrder())))

    def feeder(self, injections: Sequence[AddedUnit], switches: Sequence[AddedSwitch]) -> Feeder:
        """Build the Feeder; the order of the steps matters, since each modifies the circuit."""
        context = self.context
        present = by_class(context)
        self._refuse_doubles()
        self._refuse_foreign_frequencies()
        protection = read_protection(context, present)
        self._fixed_kvar = fixed_kvar_loads(context)
        if self._fixed_kvar:
            self.notes.append(
                "loads of model 6 and 7 are read as model 1 and 3, so that their kvar can be set: "
                + few(self._fixed_kvar)
            )
        self._idle = [*idle_controls(context), *idle_capacitor_controls(context)]
        self.run([f"edit {quoted(name)} enabled=no" for name in self._idle])
        units, held = read_units(context, present), followers(context, present)  # before their shapes are taken away
        if held:
            self.notes.append(f"keep their value as compiled at all hours, and not their shape: {few(held)}")
        self.run(snapshot_commands(context, present, self._fixed_kvar))
        bases = base_commands(context)
        if bases:
            self.run(bases)
            self.notes.append(f"the file calculates no base voltages; computed with {bases[0]!r}")
        self._before_additions = list(self.commands)
        known = self._known_buses() if switches or any(not new.replaces for new in injections) else ()
        additions = Additions(context, self.name, known, units, self._is_split)
        for new in injections:
            additions.add(new)
        self._scales = load_scale(context)
        self.run(additions.commands)
        requested, ties = switchable(context, switches, known, self.name)
        self.run(ties)
        self.solve()
        if not context.Solution.Converged():
            self.notes.append("as compiled, the power flow does not converge")
        feeder = self._facts(present, protection, additions, requested)
        sources = [name for name in held if name.startswith("vsource.")]
        feeder = replace(feeder, uncontrolled=(*feeder.uncontrolled, *sources))
        refuse_unequal([row for row in switches if row.bus1], feeder.buses, self.name)
        return self._with_grid_forming(feeder, additions.forming)

    def _known_buses(self) -> tuple[Bus, ...]:
        buses = _buses(self.context)
        if all(p <= 3 for bus in buses for p in bus.phases) or not self.conductors:
            return buses
        return tuple(replace(bus, neutral=self.conductors.neutral(bus)) for bus in buses)

    def _is_split(self, bus: Bus, phases: Sequence[int]) -> bool:
        return self.conductors is not None and self.conductors.is_split(bus, phases)

    def _has_its_base(self, feeder: Feeder) -> Callable[[str], bool]:
        return lambda name: self.conductors is not None and self.conductors.has_its_base(feeder.bus(name))

    def _with_grid_forming(self, feeder: Feeder, forming: Container[str]) -> Feeder:
        """Last of all, so that nothing that is read knows the buses of the grid-forming units' sources."""
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

    def _refuse_foreign_frequencies(self) -> None:
        """A source is a short circuit at all frequencies but its own."""
        sources, hertz = self.context.Vsources, float(self.context.Solution.Frequency())
        for own in elements(sources):
            if abs(sources.Frequency() - hertz) > 1e-3:
                raise ValueError(
                    f"{str(self.path)!r} is to be solved at {hertz:g} Hz, but vsource.{own} has "
                    f"{sources.Frequency():g} Hz, and so no voltage; correct one of the two"
                )

    def _facts(
        self, present: dict[str, list[str]], protection: dict[str, str], additions: Additions, requested: set[str]
    ) -> Feeder:
        context = self.context
        names = [node.lower() for node in context.Circuit.YNodeOrder()]
        buses = _buses(context)
        compiled = _volts(context, len(names)).copy()
        taps, switches = read_taps(context), read_switches(context, protection, requested)
        close_all(context, switches)  # an open line has no readable impedance
        buses = _with_bases_behind_switches(context, buses, names, np.abs(compiled))
        marks = Marks(
            frozenset(tap.element for tap in taps),
            {row.name: i for i, row in enumerate(switches) if row.kind == "switch"},
            protection,
        )
        sources = _sources(context)
        draft = Feeder(
            self.name, self.path, tuple(self.commands), (), sources[0], buses, (), (), taps, switches,
            uncontrolled=(*_uncontrolled(present, additions), *self._idle), other_sources=tuple(sources[1:]),
            units=tuple(additions.units.values()),
        )  # fmt: skip
        feeder, opened = self._placed(draft, names, marks, present, additions.rows)
        refuse_phantoms(context, feeder)
        refuse_singular(context, self.path)
        kv = _to_neutral(feeder, names, compiled) / 1000
        refuse_wrong_units(feeder, self._has_its_base(feeder))
        self.notes += notes_of_nodes(feeder, np.abs(kv), opened)
        self.notes += notes_of_loads(context, feeder, kv)
        self.notes += notes_of_ratings(context, feeder)
        return replace(feeder, notes=tuple(self.notes))

    def _placed(
        self, draft: Feeder, names: list[str], marks: Marks, present: dict[str, list[str]], added: list[Injection]
    ) -> tuple[Feeder, list[str]]:
        """The Feeder with its nodes and all elements that connect to them; neutrals are detected and left out."""
        bus_of = {bus.name: bus for bus in draft.buses}
        places = [(bus_of[bus], int(number)) for bus, number in (name.rsplit(".", 1) for name in names)]
        self.context.Solution.SolveDirect()  # linear, so that it has an answer where the power flow has none
        v = np.abs(_volts(self.context, len(names)))
        low = v < _SUSPECT_PU * 1000 * np.array([bus.kv_base for bus, _ in places])
        suspects = low | np.array([number > 3 for _, number in places])
        dropped = np.zeros(len(names), bool)
        if suspects.any() and self.conductors:
            phases = [self.conductors.is_phase(*place) for place in places]
            dropped = suspects & ~np.array(phases)
            neutral = {bus.name: self.conductors.neutral(bus) for bus in draft.buses}
            draft = replace(draft, buses=tuple(replace(bus, neutral=neutral[bus.name]) for bus in draft.buses))
        return self._with_nodes(draft, names, dropped, marks, present, added)

    def _with_nodes(
        self, draft: Feeder, names: list[str], dropped: Any, marks: Marks, present: dict[str, list[str]],
        added: list[Injection],
    ) -> tuple[Feeder, list[str]]:  # fmt: skip
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
            injections=(*read_loads(self.context, places, self._scales, self._fixed_kvar), *units),
        )
        return feeder, opened


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


def _to_neutral(feeder: Feeder, names: Sequence[str], volts: Any) -> Any:
    """(N) voltage from each node to its bus's neutral, or to earth; ``volts`` are of all nodes, called ``names``."""
    place = {name: i + 1 for i, name in enumerate(names)}
    every = np.append(0.0, volts)
    return every[[place[node] for node in feeder.nodes]] - every[[place.get(node, 0) for node in feeder.neutrals]]


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
    voltages_kv = np.asarray(context.Settings.VoltageBases()) / 3**0.5
    rows = []
    for bus in buses:
        kv = highest.get(bus.name)
        if kv is not None and not 0.7 < kv / max(bus.kv_base, 1e-9) < 1.3:
            bus = replace(bus, kv_base=float(voltages_kv[np.argmin(np.abs(voltages_kv - kv))]))
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
    if not rows:
        name = context.Circuit.Name()
        raise ValueError(f"circuit {name!r} has no voltage source that is enabled; enable one, such as vsource.source")
    return list(dict.fromkeys(rows))


_READ = {"line", "load", "transformer", "capacitor", "reactor", "vsource", "regcontrol", "capcontrol"}
_MEASURE = {"monitor", "energymeter", "sensor"}


def _uncontrolled(present: dict[str, list[str]], additions: Additions) -> tuple[str, ...]:
    """Elements of the circuit that no set point controls."""
    taken = {unit.name for unit in additions.units.values() if unit.injection}
    order = [kind for kind in present if kind not in OTHER_CONTROLS] + list(OTHER_CONTROLS)
    names = (f"{kind}.{own}" for kind in order if kind not in _READ | _MEASURE for own in present.get(kind, ()))
    return tuple(name for name in names if name not in taken)

"""Reads a circuit's admittances, loads and sources into a Network, for engines that solve without OpenDSS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np
import scipy.sparse as sp

from dss_marl.engines.batched.network import EARTH, Adjustable, Complex, Network, Source
from dss_marl.engines.opendss.branch_currents import read_flows
from dss_marl.engines.opendss.commands import engine_settings
from dss_marl.engines.opendss.context import acquire, compile_circuit, release
from dss_marl.engines.opendss.load_phases import read_phases
from dss_marl.engines.opendss.script import quoted
from dss_marl.engines.opendss.switchgear import SwitchWriter, close_all
from dss_marl.engines.opendss.tap_changers import TapWriter
from dss_marl.engines.opendss.terminals import activate
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import BoolArray, IntArray

_LINEAR = ("line", "transformer", "autotrans", "reactor", "capacitor", "fault")
_SOURCES = ("vsource", "isource")
_WITHOUT_CURRENT = ("control", "controller", "monitor", "meter", "sensor", "relay", "recloser", "fuse", "dispatcher")
_EXACT = 1e-12  # of the largest admittance, that the assembled matrix may differ from OpenDSS's
_SYMMETRIC = 1e-9  # of an element's largest admittance
_LAW = 1e-13  # of an element's largest admittance, that a ratio's law may be off
_SAMPLES = (0.92, 1.0, 1.08, 1.04)  # ratios at which a law is found, and checked
_MOST_STATES = 5000  # of one element
_WHOLE = 2  # of the matrix: 1 leaves out what leads to earth


def read_network(feeder: Feeder) -> Network:
    """The admittances, loads and sources of a feeder's circuit.

    Raises:
        ValueError: an element has no constant, symmetric admittance, such as a converter; says which.
    """
    context = acquire()
    try:
        compile_circuit(context, feeder.path, feeder.commands)
        for command in engine_settings(1e-5, 100):
            context.Text.Command(command)
        context.Solution.Solve()
        return _Reading(context, feeder).network()
    finally:
        release(context)


class _Reading:
    """State of reading one compiled circuit, which is changed on the way."""

    def __init__(self, context: Any, feeder: Feeder) -> None:
        self.context, self.feeder = context, feeder
        ends = close_all(context, feeder.switches)
        ends |= {feeder.switches[s].element: [1] for s in feeder.grid_forming_units}
        self.switches = SwitchWriter(context, feeder.switches, ends)
        self.taps = TapWriter(context, feeder.taps)
        self.nodes = [name.lower() for name in context.Circuit.YNodeOrder()]
        self.place = {name: i for i, name in enumerate(self.nodes)}

    def network(self) -> Network:
        feeder = self.feeder
        volts = self._volts()  # of the solution as compiled
        flows = read_flows(self.context, feeder)
        phases = read_phases(self.context, feeder)
        sources = [self._source(name) for name in self._present(_SOURCES)]  # before anything moves: from the solution
        moved = [*self._banks_and_lines(), *self._tapped()]
        skipped = {row.name for row in moved if row.taps}
        forming = [f"vsource.{feeder.switches[s].element.removeprefix('line.')}" for s in feeder.grid_forming_units]
        names = [source.name for source in sources]
        network = Network(
            feeder_name=feeder.name,
            volts=volts,
            fixed=self._fixed(skipped),
            adjustables=tuple(moved),
            phases=phases,
            sources=tuple(sources),
            places=np.array([self.place[node] for node in feeder.nodes], np.int64),
            neutrals=np.array([self.place.get(node, EARTH) for node in feeder.neutrals], np.int64),
            forming=np.array([names.index(name) for name in forming], np.int64),
            flows=flows,
        )
        self._check(network)
        return network

    def _volts(self) -> Any:
        """(Y) base voltages, line to neutral; where a bus has none, what it is at as compiled [V]."""
        bus, at, found = self.context.Bus, self.context.Circuit.SetActiveBus, {}
        for name in dict.fromkeys(node.rsplit(".", 1)[0] for node in self.nodes):
            at(name)
            found[name] = float(bus.kVBase()) * 1000
        base = np.array([found[node.rsplit(".", 1)[0]] for node in self.nodes])
        return np.where(base > 0, base, np.maximum(np.abs(self._node_volts()), 1.0))

    def _node_volts(self) -> Complex:
        """(Y) voltages of the last solve [V]."""
        pointer = self.context.YMatrix.VVector()
        buffer = self.context.dss_ffi.buffer(pointer, 16 * (len(self.nodes) + 1))
        return np.frombuffer(buffer, complex)[1:].copy()

    # --- elements ------------------------------------------------------------------------------------------------

    def _present(self, kinds: Sequence[str]) -> list[str]:
        """Names of the enabled elements of these classes."""
        names = [name.lower() for name in self.context.Circuit.AllElementNames()]
        wanted = [name for name in names if name.split(".", 1)[0] in kinds]
        return [name for name in wanted if activate(self.context, name).Enabled()]

    def _others(self) -> Iterable[str]:
        """Names of the enabled elements that are neither branches nor sources, loads, units or controls."""
        known = {row.name for row in self.feeder.injections}
        for name in self.context.Circuit.AllElementNames():
            kind = name.lower().split(".", 1)[0]
            if kind in (*_LINEAR, *_SOURCES) or kind.endswith(_WITHOUT_CURRENT) or name.lower() in known:
                continue
            if activate(self.context, name).Enabled():
                yield name.lower()

    def _yprim(self, name: str) -> tuple[IntArray, Complex]:
        """Nodes of an element, and its admittances between them [S]."""
        element = activate(self.context, name)
        return self._reduced(np.array(element.NodeRef()) - 1, _matrix(element.YPrim()), name)

    def _reduced(self, refs: IntArray, y: Complex, name: str) -> tuple[IntArray, Complex]:
        """Admittances between the nodes of an element, each of which stands there once; earth is left out."""
        if np.abs(y - y.T).max(initial=0.0) > _SYMMETRIC * np.abs(y).max(initial=1e-30):
            raise ValueError(
                f"{name} of feeder {self.feeder.name!r} has an admittance that is not symmetric, which the batched "
                "engine cannot model; disable it, or use the engine 'opendss'"
            )
        nodes = np.unique(refs[refs >= 0])
        picks = (refs[None, :] == nodes[:, None]).astype(float)
        return nodes, picks @ y @ picks.T

    def _fixed(self, skipped: set[str]) -> Any:
        """(Y, Y) sum of the elements that nothing moves, and of lines and banks with their switches open."""
        others = list(self._others())
        if others:
            raise ValueError(
                f"feeder {self.feeder.name!r} has elements that the batched engine cannot model: {', '.join(others[:5])}"
                "; replace them by devices, disable them, or use the engine 'opendss'"
            )
        self._move_all(False)
        rows, columns, values = [], [], []
        for name in self._present((*_LINEAR, *_SOURCES)):
            if name not in skipped:
                nodes, y = self._yprim(name)
                rows.append(np.repeat(nodes, len(nodes)))
                columns.append(np.tile(nodes, len(nodes)))
                values.append(y.reshape(-1))
        for node, siemens in self._load_neutrals():
            rows.append(np.array([node]))
            columns.append(np.array([node]))
            values.append(np.array([siemens]))
        size = len(self.nodes), len(self.nodes)
        entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
        total = sp.coo_matrix(entries, shape=size).tocsc()
        total.eliminate_zeros()
        return total

    def _load_neutrals(self) -> Iterable[tuple[int, complex]]:
        """Neutral nodes that loads earth through an impedance of their own, and its admittance [S]."""
        for row in self.feeder.injections:
            if row.kind == "load" and not row.delta:
                element = activate(self.context, row.name)
                node = element.NodeRef()[-1] - 1
                if node < 0:
                    continue
                value = self.context.Properties.Value
                ohm = complex(float(value("rneut")), float(value("xneut")))
                if ohm.real >= 0:
                    yield node, 1 / ohm if ohm else 1e6

    def _source(self, name: str) -> Source:
        nodes, y = self._yprim(name)
        element = self.context.CktElement
        refs = np.array(element.NodeRef()) - 1
        first = set(refs[: element.NumConductors()].tolist())
        counted = np.array([node in first for node in nodes.tolist()], bool)
        return Source(name, nodes, y, self._amps(name)[nodes], counted)

    def _amps(self, name: str) -> Complex:
        """(Y) current that one source injects, the others being disabled for the moment [A]."""
        context, others = self.context, [other for other in self._present(_SOURCES) if other != name]
        for other in others:
            activate(context, other).Enabled(False)
        context.YMatrix.ZeroInjCurr()
        context.YMatrix.GetSourceInjCurrents()
        amps = np.asarray(context.YMatrix.getI(), float).view(complex)[1:].copy()
        for other in others:
            activate(context, other).Enabled(True)
        return amps

    # --- what moves ----------------------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        """Admittances of all elements that were touched; none is solved."""
        self.context.YMatrix.SystemYChanged(True)
        self.context.YMatrix.BuildYMatrixD(_WHOLE, 0)

    def _move_all(self, closed: bool) -> None:
        count = len(self.feeder.switches)
        self.switches.write(np.full(count, closed), np.full(count, not closed))
        self._rebuild()

    def _banks_and_lines(self) -> list[Adjustable]:
        """What each line adds when it closes, and each step of a bank."""
        rows = self.feeder.switches
        self._move_all(False)
        opened = [self._yprim(row.element) for row in rows]
        found: dict[int, Adjustable] = {}
        none = np.zeros(len(rows), bool)
        for turn in range(max((row.step for row in rows), default=0)):
            here: BoolArray = np.array([row.step == turn + 1 for row in rows])
            self.switches.write(here, none)
            self._rebuild()
            for s in np.flatnonzero(here).tolist():
                nodes, y = self._yprim(rows[s].element)
                added = y - opened[s][1]
                states = np.stack([np.zeros_like(added), added])
                found[s] = Adjustable(rows[s].name, nodes, states, switch=s)
            self.switches.write(none, here)
        self._rebuild()
        return [found[s] for s in sorted(found)]

    def _tapped(self) -> list[Adjustable]:
        """Each tapped transformer with a table of its admittances, whatever its number of windings that move."""
        groups: dict[str, list[int]] = {}
        for r, row in enumerate(self.feeder.taps):
            groups.setdefault(row.element, []).append(r)
        return [self._table(element, rows) for element, rows in groups.items()]

    def _table(self, element: str, rows: Sequence[int]) -> Adjustable:
        taps = [self.feeder.taps[r] for r in rows]
        positions = [np.arange(tap.minimum, tap.maximum + 1) for tap in taps]
        counts = tuple(len(p) for p in positions)
        if np.prod(counts) > _MOST_STATES:
            raise ValueError(
                f"{element} of feeder {self.feeder.name!r} has {np.prod(counts)} combinations of taps, more than the "
                f"batched engine's {_MOST_STATES}; disable the control of one winding"
            )
        ratios = [1 + p * tap.step_pu + tap.offset_pu for p, tap in zip(positions, taps, strict=True)]
        nodes, table = self._by_law(element, rows[0], ratios[0]) if len(rows) == 1 else (None, None)
        if table is None:
            nodes, table = self._one_by_one(element, rows, ratios)
        for r, tap in zip(rows, taps, strict=True):
            self.taps.write(r, 1 + tap.initial * tap.step_pu + tap.offset_pu)
        self._rebuild()
        assert nodes is not None
        moved_by = tuple((r, tap.minimum) for r, tap in zip(rows, taps, strict=True))
        return Adjustable(element, nodes, table, moved_by, counts)

    def _at(self, element: str, rows: Sequence[int], ratios: Sequence[float]) -> tuple[IntArray, Complex]:
        for r, ratio in zip(rows, ratios, strict=True):
            self.taps.write(r, ratio)
        self._rebuild()
        return self._yprim(element)

    def _by_law(self, element: str, row: int, ratios: Any) -> tuple[Any, Any]:
        """The table as y0 + y1 / ratio + y2 / ratio**2; None where another ratio shows that the law does not hold."""
        nodes, _ = self._at(element, [row], [1.0])
        samples = np.array([self._at(element, [row], [ratio])[1] for ratio in _SAMPLES])
        powers = np.array([[1.0, 1 / ratio, 1 / ratio**2] for ratio in _SAMPLES])
        parts = np.einsum("ab,bij->aij", np.linalg.inv(powers[:3]), samples[:3])
        off = np.abs(np.einsum("a,aij->ij", powers[3], parts) - samples[3]).max()
        if off > _LAW * np.abs(samples).max():
            return None, None
        terms = np.stack([np.ones(len(ratios)), 1 / ratios, 1 / ratios**2], axis=-1)
        return nodes, np.einsum("ta,aij->tij", terms, parts)

    def _one_by_one(self, element: str, rows: Sequence[int], ratios: Sequence[Any]) -> tuple[IntArray, Complex]:
        found = [self._at(element, rows, pick) for pick in product(*(r.tolist() for r in ratios))]
        return found[0][0], np.array([y for _, y in found])

    # --- check ---------------------------------------------------------------------------------------------------

    def _check(self, network: Network) -> None:
        """Compare the assembled matrix with OpenDSS's, loads and units at zero and all switches closed."""
        for row in self.feeder.injections:
            self.context.Text.Command(f"edit {quoted(row.name)} kw=0 kvar=0")
        self._move_all(True)
        data, indices, starts = self.context.YMatrix.getYsparse(factor=True)
        size = network.count, network.count
        theirs = sp.csc_matrix((data, indices, starts), shape=size)
        tap = np.array([[row.initial for row in self.feeder.taps]], np.int64)
        ours = network.assembled(network.states(tap, np.ones((1, len(self.feeder.switches)), bool))[0])
        apart = abs(ours - theirs).tocoo()
        if apart.nnz and apart.data.max() > _EXACT * abs(theirs).max():
            worst = int(np.argmax(apart.data))
            raise ValueError(
                f"the admittances read from feeder {self.feeder.name!r} differ from OpenDSS's by {apart.data[worst]:.3g} "
                f"S between nodes {self.nodes[apart.row[worst]]} and {self.nodes[apart.col[worst]]}; use the engine "
                "'opendss', and please report this with the circuit"
            )


def _matrix(flat: Any) -> Complex:
    """A primitive admittance matrix as OpenDSS gives it, by columns [S]."""
    numbers = np.asarray(flat).reshape(-1)
    values = numbers if np.iscomplexobj(numbers) else numbers.view(complex)
    order = round(len(values) ** 0.5)
    return values.reshape(order, order).T

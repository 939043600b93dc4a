"""Network: a circuit as admittances and injections, and what its taps and switches change; no OpenDSS in it.

Positions count the circuit's nodes, neutral conductors among them, in OpenDSS's order; -1 is earth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dss_marl.grid.state import Array, BoolArray, IntArray

Complex = NDArray[np.complex128]
EARTH = -1


@dataclass(frozen=True)
class Adjustable:
    """An element whose admittance depends on set points.

    Attributes:
        name: of the element.
        nodes: (k) where it connects, earth left out.
        admittance: (states, k, k) [S].
        taps: rows of Feeder.taps that move it, with the position of state 0 each; the last changes fastest.
        positions: number of positions of each of these taps.
        switch: row of Feeder.switches whose closing adds the second of two states; -1 for a tapped one.
        ratios: (taps, states) tap ratios [1].
    """

    name: str
    nodes: IntArray
    admittance: Complex
    taps: tuple[tuple[int, int], ...] = ()
    positions: tuple[int, ...] = ()
    switch: int = -1
    ratios: Array = field(default_factory=lambda: np.zeros((0, 1)))

    def state(self, tap: IntArray, closed: BoolArray) -> IntArray:
        """(B) the state that set points (B, R) and (B, S) mean; positions outside the range count as its end."""
        if self.switch >= 0:
            return closed[:, self.switch].astype(np.int64)
        state = np.zeros(len(tap), np.int64)
        for (row, first), count in zip(self.taps, self.positions, strict=True):
            state = state * count + np.clip(tap[:, row] - first, 0, count - 1)
        return state


@dataclass(frozen=True)
class Phases:
    """The phases of loads and units, each between two nodes: E of them, those of an injection one after the other.

    Attributes:
        injection: (E) row of Feeder.injections.
        one, other: (E) nodes; ``other`` may be earth, ``one`` never is.
        volts: (E) rated voltage across the phase [V].
        share: (E) of the injection's power [1].
        model: (E) OpenDSS's load model 1 to 5 or 8.
        v_min, v_max, v_low: (E) limits of the model [pu]; below ``v_low`` the phase is an admittance.
        low: (E) factor of this admittance [1].
        exponents: (E, 2) of kW and kvar, in model 4.
        zip: (E, 7) shares of impedance, current and power of kW, then of kvar, and the voltage of drop-out, in model 8.
    """

    injection: IntArray
    one: IntArray
    other: IntArray
    volts: Array
    share: Array
    model: IntArray
    v_min: Array
    v_max: Array
    v_low: Array
    low: Array
    exponents: Array
    zip: Array

    def __len__(self) -> int:
        return len(self.injection)


@dataclass(frozen=True)
class Source:
    """A voltage or current source: current into the circuit I = amps - admittance V.

    Attributes:
        name: of the element.
        nodes: (k) where it connects, earth left out.
        admittance: (k, k) [S].
        amps: (k) [A].
        counted: (k) True at its first terminal, whose power counts as delivered.
    """

    name: str
    nodes: IntArray
    admittance: Complex
    amps: Complex
    counted: BoolArray


@dataclass(frozen=True)
class Network:
    """A circuit for engines that solve many copies of it.

    Attributes:
        feeder_name: of the Feeder.
        volts: (Y) line-to-neutral base voltage of each node [V]; 1 where it has none.
        fixed: (Y, Y) scipy.sparse CSC matrix: all but the adjustable elements, loads and units [S].
        adjustables: what set points change.
        phases: of loads and units.
        sources: of voltage and current.
        places: (N) position of each of the Feeder's nodes.
        neutrals: (N) position of the node to which its voltage is measured, or earth.
        forming: (G) rows of ``sources`` that stand for the Feeder's grid-forming units.
        flows: branch currents from node voltages; see ``engines.opendss.branch_currents``.
    """

    feeder_name: str
    volts: Array
    fixed: Any
    adjustables: tuple[Adjustable, ...]
    phases: Phases
    sources: tuple[Source, ...]
    places: IntArray
    neutrals: IntArray
    forming: IntArray
    flows: Any

    @property
    def count(self) -> int:
        """Number of nodes Y."""
        return len(self.volts)

    def source_amps(self) -> Complex:
        """(Y) currents of all sources, into the circuit [A]."""
        amps = np.zeros(self.count, complex)
        for source in self.sources:
            np.add.at(amps, source.nodes, source.amps)
        return amps

    def states(self, tap: IntArray, closed: BoolArray) -> IntArray:
        """(B, U) state of each adjustable element at set points (B, R) and (B, S)."""
        found = np.empty((len(tap), len(self.adjustables)), np.int64)
        switched, rows = self._switched
        found[:, switched] = closed[:, rows]
        for u in self._tapped:
            found[:, u] = self.adjustables[u].state(tap, closed)
        return found

    @cached_property
    def _switched(self) -> tuple[IntArray, IntArray]:
        """The adjustable elements that are a switch or a step of a bank, and their rows in Feeder.switches."""
        pairs = [(u, row.switch) for u, row in enumerate(self.adjustables) if row.switch >= 0]
        both = np.array(pairs, np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    @cached_property
    def _tapped(self) -> list[int]:
        return [u for u, row in enumerate(self.adjustables) if row.switch < 0]

    def ratios(self, states: IntArray) -> dict[int, Array]:
        """(B) the tap ratios that states (B, U) mean, by row of Feeder.taps [1]."""
        return {
            row: adjustable.ratios[k, states[:, u]]
            for u, adjustable in enumerate(self.adjustables)
            for k, (row, _) in enumerate(adjustable.taps)
        }

    def closed(self, states: IntArray) -> dict[int, BoolArray]:
        """(B) True where states (B, U) mean that a switch is closed, by row of Feeder.switches."""
        return {row.switch: states[:, u] > 0 for u, row in enumerate(self.adjustables) if row.switch >= 0}

    def loading(self, volts: Complex, states: IntArray) -> Array:
        """(B, C) loading of every conductor at the first terminals of the branches, branch after branch [1].

        Args:
            volts: (B, 1 + Y) node voltages, earth first [V].
            states: (B, U) of the adjustable elements.
        """
        ratios, closed = self.ratios(states), self.closed(states)
        boost = [ratios[row] - 1 for row in sorted(ratios)]
        switches = [closed[row] for row in sorted(closed)]
        none = np.zeros((len(volts), 0))
        found: Array = self.flows.loading(
            volts, np.stack(boost, -1) if boost else none, np.stack(switches, -1) if switches else none
        )
        return found

    def assembled(self, states: IntArray) -> Any:
        """The whole admittance matrix in one state (U) of the adjustable elements, scipy.sparse CSC [S]."""
        import scipy.sparse as sp

        total = self.fixed.tocoo()
        parts = [(total.row, total.col, total.data)]
        for row, state in zip(self.adjustables, states, strict=True):
            k = len(row.nodes)
            parts.append((np.repeat(row.nodes, k), np.tile(row.nodes, k), row.admittance[state].reshape(-1)))
        rows, columns, values = (np.concatenate(group) for group in zip(*parts, strict=True))
        return sp.csc_matrix((values, (rows, columns)), shape=(self.count, self.count))

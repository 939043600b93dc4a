"""What becomes of flows: rows found elsewhere put into them, and sources told apart from grid-forming units."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.engines.batched.branch_loading import BatchCurrents
from dss_marl.engines.batched.network import Complex, Network
from dss_marl.engines.batched.solver import Flow
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, BoolArray, IntArray, Solution


class FoundRows:
    """Results that are replaced row by row."""

    def __init__(self, v_pu: Any, served: Any, kva: Complex, loss_kw: Array, currents: BatchCurrents) -> None:
        self.v_pu, self.served, self.kva, self.loss_kw, self.currents = v_pu, served, kva, loss_kw, currents

    def copy(self) -> FoundRows:
        """With arrays of its own."""
        return FoundRows(self.v_pu.copy(), self.served.copy(), self.kva.copy(), self.loss_kw.copy(), self.currents)

    def take(self, rows: IntArray, flow: Flow, at: IntArray) -> None:
        """Rows of another flow, at these places of it."""
        self.v_pu[rows], self.served[rows] = flow.v_pu[at], flow.served_kw[at]
        self.kva[rows], self.loss_kw[rows] = flow.source_kva[at], flow.loss_kw[at]
        volts = flow.volts()
        for b, k in zip(rows.tolist(), at.tolist(), strict=True):
            self.currents.replaced[b] = volts[k]

    def replace(self, b: int, solution: Solution, network: Network) -> None:
        """One row by a solution of OpenDSS."""
        currents: Any = solution.currents
        volts = currents.v
        self.v_pu[b], self.served[b], self.loss_kw[b] = solution.v_pu, solution.served_kw, solution.loss_kw
        start = 0
        for source in network.sources:
            v, end = volts[1 + source.nodes], start + len(source.nodes)
            self.kva[b, start:end] = v * (source.amps - source.admittance @ v).conj() * source.counted / 1000
            start = end
        self.currents.replaced[b] = volts


class Forming:
    """Which sources are grid-forming units, and what they deliver."""

    def __init__(self, network: Network, feeder: Feeder) -> None:
        sizes = [len(source.nodes) for source in network.sources]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        self._columns = [slice(int(starts[k]), int(starts[k] + 3)) for k in network.forming]
        self._switches = feeder.grid_forming_units
        switch = [row.grid_forming_switch for row in feeder.injections]
        self._injections = [switch.index(s) for s in self._switches]
        self._own = np.ones(int(starts[-1]), bool)
        for columns in self._columns:
            self._own[columns] = False

    def split(self, kva: Complex, closed: BoolArray, served: Any) -> tuple[Complex, Complex, Any]:
        """(B) power of the circuit's own sources, and (B, G, 3) of the units, which counts as served [kVA].

        Third (B) what rounding leaves of the units that are off [kW].
        """
        total = kva[:, self._own].sum(axis=-1)
        forming, idle_kw = np.zeros((len(kva), len(self._columns), 3), complex), 0.0
        for g, columns in enumerate(self._columns):
            forming[:, g] = kva[:, columns] * closed[:, self._switches[g], None]
            idle_kw = idle_kw + (kva[:, columns] - forming[:, g]).real.sum(axis=-1)
            served[:, self._injections[g]] += forming[:, g].real.sum(axis=-1)
        return total, forming, idle_kw

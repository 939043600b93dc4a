"""Branch loadings of many copies, computed when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.engines.batched.network import Complex
from dss_marl.engines.batched.solver import Flow
from dss_marl.grid.angles import NodePlaces
from dss_marl.grid.state import Array, BoolArray, IntArray


class BatchCurrents:
    """See Solution.currents.

    Args:
        flows: of the network.
        places: of the feeder's nodes among the voltages.
        flow: of all copies.
        boost: (B, R) tap ratios minus one [1].
        closed: (B, S) states.

    Attributes:
        replaced: copies that were solved elsewhere, and their (1 + Y) voltages [V].
    """

    def __init__(self, flows: Any, places: NodePlaces, flow: Flow, boost: Array, closed: BoolArray) -> None:
        self._flows, self._flow, self._boost, self._closed = flows, flow, boost, closed
        self._places = places
        self.replaced: dict[int, Complex] = {}

    def __call__(self, by_conductor: bool = False) -> Array:
        """(B, M) highest loading of each branch, or (B, C) of its conductors [1]."""
        if by_conductor:
            return np.asarray(self._flows.loading(self._volts(), self._boost, self._closed))
        loading = self._flow.loading()
        if self.replaced:
            rows, own = self._replaced()
            loading[rows] = self._flows.by_branch(self._flows.loading(own, self._boost[rows], self._closed[rows]))
        return np.asarray(loading)

    def angle_rad(self) -> Array:
        """(B, N) angles of the node voltages [rad]; see Solution.angle_rad."""
        return self._places.angle_rad(self._volts())

    def _volts(self) -> Complex:
        """(B, 1 + Y) node voltages [V]."""
        volts = self._flow.volts()
        if self.replaced:
            volts = volts.copy()
            rows, own = self._replaced()
            volts[rows] = own
        return volts

    def highest(self) -> Array:
        """(B) highest loading of any branch [1]; 0 on a feeder without branches."""
        highest = self._flow.highest()
        if self.replaced:
            rows, own = self._replaced()
            loading = self._flows.loading(own, self._boost[rows], self._closed[rows])
            highest[rows] = np.max(loading, axis=-1, initial=0.0)
        return np.asarray(highest)

    def _replaced(self) -> tuple[IntArray, Complex]:
        return np.array(list(self.replaced), np.int64), np.array(list(self.replaced.values()))

"""Branch loadings of many copies, computed when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.engines.batched.network import Complex
from dss_marl.engines.batched.solver import Flow
from dss_marl.grid.state import Array, BoolArray


class BatchCurrents:
    """See Solution.currents.

    Args:
        flows: of the network.
        flow: of all copies.
        boost: (B, R) tap ratios minus one [1].
        closed: (B, S) states.

    Attributes:
        replaced: copies that were solved elsewhere, and their (1 + Y) voltages [V].
    """

    def __init__(self, flows: Any, flow: Flow, boost: Array, closed: BoolArray) -> None:
        self._flows, self._flow, self._boost, self._closed = flows, flow, boost, closed
        self.replaced: dict[int, Complex] = {}

    def __call__(self, by_conductor: bool = False) -> Array:
        """(B, M) highest loading of each branch, or (B, C) of its conductors [1]."""
        volts = self._flow.volts()
        if self.replaced:
            volts = volts.copy()
            for b, row in self.replaced.items():
                volts[b] = row
        loading = self._flows.loading(volts, self._boost, self._closed)
        return loading if by_conductor else self._flows.by_branch(loading)

    def highest(self) -> Array:
        """(B) highest loading of any branch [1]; 0 on a feeder without branches."""
        return np.maximum.reduce(self(by_conductor=True), axis=-1, initial=0.0)

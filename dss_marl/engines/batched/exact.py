"""Power flows of any number of copies in float64, whatever the solver of all copies does."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.engines.batched.factors import Factors
from dss_marl.engines.batched.reference import Reference
from dss_marl.engines.batched.solver import Demand, Flow, Solver, with_volts

_AT_ONCE = 64


class ExactSolver:
    """Solves the copies that it is given in parts of equal size, padded with repetitions of the last.

    Args:
        factors: of the network.
        compiled: by numba; else in NumPy.
    """

    def __init__(self, factors: Factors, compiled: bool) -> None:
        self.factors = factors
        self._solver: Solver = Reference(factors)
        if compiled:
            from dss_marl.engines.batched.compiled.compiled_solver import Compiled

            self._solver = Compiled(factors, _AT_ONCE, single=False)

    def solve(self, demand: Demand, tolerance: float, iterations: int) -> Flow:
        """See Solver.solve; ``which`` is not asked, all copies are solved."""
        count = len(demand.kw)
        parts = []
        for start in range(0, count, _AT_ONCE):
            rows = np.minimum(np.arange(start, start + _AT_ONCE), count - 1)
            kw, kvar = (np.asarray(power, float)[rows] for power in (demand.kw, demand.kvar))
            flow = self._solver.solve(Demand(kw, kvar, demand.states[rows]), tolerance, iterations)
            parts.append((flow, flow.volts()))  # now, as the next part may take over what it is computed from
        return _joined(parts, self.factors.network, demand, count)


def _joined(parts: list[tuple[Flow, Any]], network: Any, demand: Demand, count: int) -> Flow:
    def rows(name: str) -> Any:
        return np.concatenate([getattr(flow, name) for flow, _ in parts])[:count].copy()

    volts = np.concatenate([found for _, found in parts])[:count]
    names = ("v_pu", "served_kw", "loss_kw", "source_kva", "residual", "iterations")
    return with_volts(network, volts, demand.states, **{name: rows(name) for name in names})

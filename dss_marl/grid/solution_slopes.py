"""SolutionSlopes: how a number changes with the results of a power flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.grid.state import Array, Solution


@dataclass
class SolutionSlopes:
    """Derivatives of one number of each of some states (...) with respect to the arrays of its Solution.

    They are partial ones: ``loss_kw``, say, counts what depends on the losses directly, and not again what the voltages
    in the same solution make of it.

    Attributes:
        v_pu: (..., N) [1/pu]; not read where de-energised.
        served_kw: (..., J) [1/kW].
        loading: (..., M) [1]; of a branch whose conductors are loaded alike, it is shared among them.
        loss_kw, source_kw: (...) [1/kW].
        source_kvar: (...) [1/kvar].
    """

    v_pu: Array
    served_kw: Array
    loading: Array
    loss_kw: Array
    source_kw: Array
    source_kvar: Array

    @classmethod
    def zeros(cls, solution: Solution, branches: int) -> SolutionSlopes:
        """Those of a number that does not depend on the solution (...), of a feeder with so many branches."""
        states = solution.v_pu.shape[:-1]
        wide = (solution.v_pu.shape[-1], solution.served_kw.shape[-1], branches)
        return cls(*(np.zeros((*states, n)) for n in wide), *(np.zeros(states) for _ in range(3)))

"""Large sparse quadratic programs, assembled incrementally."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from dss_marl.controllers.optimization.interval_qp import solver_module
from dss_marl.grid.state import Array, IntArray

_TOLERANCE = 1e-6  # relative; proposals are confirmed on the engine, so higher accuracy is not needed
_USABLE = ("Solved", "AlmostSolved", "InsufficientProgress", "MaxIterations")  # the engine verifies the result


class SparseQP:
    """Bounded variables, linear and quadratic cost, and bounded rows; solved by Clarabel."""

    def __init__(self) -> None:
        self._low: list[Array] = []
        self._high: list[Array] = []
        self._cost: list[Array] = []
        self._entries: list[tuple[IntArray, IntArray, Array]] = []
        self._row_low: list[Array] = []
        self._row_high: list[Array] = []
        self._squares: list[tuple[IntArray, IntArray, Array]] = []
        self._extra: list[tuple[IntArray, Array]] = []
        self._variables = self._rows = 0

    def add_variables(self, low: Array, high: Array | float, cost: Array | float = 0.0) -> IntArray:
        """Add variables; returns their indices, in the shape of ``low``. ``cost`` is per unit of each."""
        low, high = np.broadcast_arrays(np.asarray(low, float), np.asarray(high, float))
        self._low.append(low.ravel())
        self._high.append(high.ravel())
        self._cost.append(np.broadcast_to(cost, low.shape).ravel())
        first, self._variables = self._variables, self._variables + low.size
        return np.arange(first, self._variables).reshape(low.shape)

    def add_cost(self, variables: IntArray, cost: Array) -> None:
        """Add to the cost per unit of each variable."""
        self._extra.append((variables.ravel(), np.broadcast_to(cost, variables.shape).ravel()))

    def add_rows(self, row: Array, variable: Array, factor: Array, low: Array, high: Array) -> None:
        """New rows low <= A x <= high, with A given by its entries.

        Args:
            row, variable, factor: (E) of each entry, or broadcastable; rows are numbered from 0 within this call.
            low, high: (R) limits; infinite where there is none.
        """
        row, variable, factor = (np.ravel(x) for x in np.broadcast_arrays(row, variable, factor))
        low, high = np.ravel(low), np.ravel(high)
        self._entries.append((row.astype(np.int64) + self._rows, variable.astype(np.int64), factor.astype(float)))
        self._row_low.append(low)
        self._row_high.append(high)
        self._rows += low.size

    def add_quadratic(self, variables: IntArray, curvature: Array) -> None:
        """Add x H x / 2 for some variables; H (n, n) is positive semidefinite."""
        upper = np.triu(np.ones(curvature.shape, bool))
        first, second = np.nonzero(upper)
        a, b = variables[first], variables[second]
        self._squares.append((np.minimum(a, b), np.maximum(a, b), curvature[upper]))

    def add_squares(self, variables: IntArray, curvature: Array) -> None:
        """Add h x^2 / 2 for each variable, with h >= 0 of the same shape."""
        own = variables.ravel()
        self._squares.append((own, own, np.broadcast_to(curvature, variables.shape).ravel()))

    def solve(self) -> Array | None:
        """Optimal values of all variables; None if the solver fails."""
        n = self._variables
        low, high, cost = (np.concatenate(part) for part in (self._low, self._high, self._cost))
        for variables, extra in self._extra:
            np.add.at(cost, variables, extra)
        matrix = _sparse(self._entries, (self._rows, n))
        row_low = np.concatenate([np.zeros(0), *self._row_low])
        row_high = np.concatenate([np.zeros(0), *self._row_high])
        fixed, bound = row_low == row_high, sp.identity(n, format="csr")
        above, below = ~fixed & np.isfinite(row_high), ~fixed & np.isfinite(row_low)
        stuck = low == high
        top, bottom = np.isfinite(high) & ~stuck, np.isfinite(low) & ~stuck
        equal = sp.vstack([matrix[fixed], bound[stuck]])
        within = sp.vstack([matrix[above], -matrix[below], bound[top], -bound[bottom]])
        ends = np.concatenate([row_low[fixed], low[stuck], row_high[above], -row_low[below], high[top], -low[bottom]])
        clarabel = solver_module()
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.tol_gap_rel = settings.tol_gap_abs = settings.tol_feas = _TOLERANCE
        cones = [clarabel.ZeroConeT(equal.shape[0]), clarabel.NonnegativeConeT(within.shape[0])]
        everything = sp.csc_matrix(sp.vstack([equal, within]))
        quadratic = sp.csc_matrix(_sparse(self._squares, (n, n)))
        solution = clarabel.DefaultSolver(quadratic, cost, everything, ends, cones, settings).solve()
        x = np.array(solution.x)
        if str(solution.status) not in _USABLE or not np.isfinite(x).all():
            return None
        return np.clip(x, low, high)


def _sparse(entries: list[tuple[IntArray, IntArray, Array]], shape: tuple[int, int]) -> Any:
    if not entries:
        return sp.csr_matrix(shape)
    rows, columns, values = (np.concatenate([entry[k] for entry in entries]) for k in range(3))
    return sp.csr_matrix((values, (rows, columns)), shape=shape)

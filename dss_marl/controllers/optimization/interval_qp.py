"""Quadratic program of one interval: a smooth cost plus soft band constraints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from dss_marl.grid.state import Array, BoolArray, IntArray

_REACH = 0.01  # rows within this distance of a band limit are active from the start
_MANY = 300  # number of rows above which similar rows are merged
_ALIKE = 5e-5  # rows with values and slopes rounded to the same multiple are merged
_MOST = 600  # maximum number of rows on large feeders: coarser rounding merges more
_WHOLE = 1e-5  # integrality tolerance


@dataclass(frozen=True)
class LocalModel:
    """Local model of an interval's cost, as a function of the change d of n variables.

    cost(d) = g d + d H d / 2 + sum over rows of weight * (distance of value + slope d from its band).

    Attributes:
        value: (R) row values at the point, mostly node voltages [pu].
        slopes: (R, n) of the rows.
        weight: (R) cost of leaving the band by 1.
        band: (2, R) lower and upper limits.
        gradient: (n) of the smooth cost.
        curvature: (n, n) of the smooth cost, positive definite.
    """

    value: Array
    slopes: Array
    weight: Array
    band: Array
    gradient: Array
    curvature: Array

    def cost(self, change: Array) -> float:
        """Model cost of a change (n)."""
        value = self.value + self.slopes @ change
        out = np.maximum(np.maximum(value - self.band[1], self.band[0] - value), 0.0)
        return float(self.gradient @ change + change @ self.curvature @ change / 2 + self.weight @ out)


def solve_qp(local: LocalModel, low: Array, high: Array) -> Array | None:
    """(n) the change within these bounds with the lowest model cost; None if the solver fails."""
    return _best(_merge_rows(local), low, high)


def _best(local: LocalModel, low: Array, high: Array) -> Array | None:
    """See solve_qp; with the rows that join as they are broken."""
    beyond = np.stack([local.value - local.band[1], local.band[0] - local.value])
    active = beyond > -_REACH
    change = None
    for _ in range(6):
        change = _solve(local, low, high, beyond, active)
        if change is None:
            return None
        moved = local.slopes @ change
        missed = ~active & (beyond + np.stack([moved, -moved]) > 1e-6)
        if not missed.any():
            break
        active |= missed  # few rows are ever active, so the others are added only when violated
    return change


def _merge_rows(local: LocalModel) -> LocalModel:
    """Merge similar rows, such as phases of a balanced feeder or segments of a cable, with their total weight."""
    if len(local.value) <= _MANY:
        return local
    every, alike = np.column_stack([local.value, local.band.T, local.slopes]), _ALIKE
    _, first, group = _unique_rows(every, alike)
    while len(first) > _MOST:
        alike *= 2
        _, first, group = _unique_rows(every, alike)
    weight = np.bincount(group.ravel(), local.weight).astype(float)
    value, slopes, band = local.value[first], local.slopes[first], local.band[:, first]
    return replace(local, value=value, slopes=slopes, weight=weight, band=band)


def _unique_rows(rows: Array, multiple: float) -> tuple[Any, ...]:
    """Unique rows after rounding to a multiple, the first index of each, and the inverse index."""
    marks = np.rint(rows / multiple).astype(np.int64)
    odd = np.random.default_rng(0).integers(2**62, size=marks.shape[1]) * 2 + 1
    return np.unique(marks @ odd, return_index=True, return_inverse=True)  # sorting one number per row is much faster


def solve_miqp(local: LocalModel, low: Array, high: Array, whole: IntArray) -> Array | None:
    """As ``solve_qp`` with some integer variables: one at a time is rounded down or up, and the rest solved again.

    Args:
        local, low, high: as in ``solve_qp``.
        whole: indices of integer variables; those with the largest effect on the rows are fixed first.
    """
    low, high, local = low.copy(), high.copy(), _merge_rows(local)
    change = _best(local, low, high)
    for k in sorted(whole, key=lambda k: -float(np.abs(local.slopes[:, k]).sum())):
        if change is None:
            return None
        if abs(change[k] - round(change[k])) < _WHOLE:  # as for most variables at their bounds
            low[k] = high[k] = round(change[k])
            continue
        tried = []
        for value in {float(np.floor(change[k] + 0.1)), float(np.ceil(change[k] - 0.1))}:
            low[k] = high[k] = value
            tried.append(_best(local, low, high))
        found = [one for one in tried if one is not None]
        change = min(found, key=local.cost) if found else None
        low[k] = high[k] = 0.0 if change is None else round(change[k])
    return None if change is None else np.clip(change, low, high)


def _solve(local: LocalModel, low: Array, high: Array, beyond: Array, active: BoolArray) -> Array | None:
    """(n) solution with only the active rows: Clarabel's min x P x / 2 + c x with A x + s = b, s >= 0."""
    clarabel = solver_module()
    sign, row = np.nonzero(active)
    slopes = np.where(sign == 0, 1.0, -1.0)[:, None] * local.slopes[row]
    n, rows = len(low), len(row)
    cost = np.concatenate([local.gradient, local.weight[row]])
    ends = np.concatenate([-beyond[sign, row], np.zeros(rows), high, -low])
    quadratic, matrix = _upper(local.curvature, rows), _constraints(slopes)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    cone = [clarabel.NonnegativeConeT(len(ends))]
    solver = clarabel.DefaultSolver(quadratic, cost, matrix, ends, cone, settings)
    solution = solver.solve()
    x = np.array(solution.x)[:n]
    if str(solution.status) not in ("Solved", "AlmostSolved") or not np.isfinite(x).all():
        return None
    return np.clip(x, low, high)


def _upper(curvature: Array, more: int) -> Any:
    """Sparse upper triangle of (n, n), padded with ``more`` variables without curvature, built by columns."""
    n = len(curvature)
    column, row = np.tril_indices(n)
    start = np.concatenate([np.arange(n + 1) * np.arange(1, n + 2) // 2, np.full(more, len(row))])
    return sp.csc_matrix((curvature[row, column], row, start), shape=(n + more, n + more))


def _constraints(slopes: Array) -> Any:
    """(2 R + 2 n, n + R) slopes x - s, -s, x and -x, of (R, n); sparse, built by columns."""
    rows, n = slopes.shape
    data, row = np.empty((n, rows + 2)), np.empty((n, rows + 2), np.int64)
    data[:, :rows], data[:, rows], data[:, rows + 1] = slopes.T, 1.0, -1.0
    row[:, :rows] = np.arange(rows)
    row[:, rows] = 2 * rows + np.arange(n)
    row[:, rows + 1] = row[:, rows] + n
    slack = np.stack([np.arange(rows), rows + np.arange(rows)], axis=1)
    start = np.concatenate([(rows + 2) * np.arange(n), n * (rows + 2) + 2 * np.arange(rows + 1)])
    values, places = np.append(data, np.full(2 * rows, -1.0)), np.append(row, slack)
    return sp.csc_matrix((values, places, start), shape=(2 * (rows + n), n + rows))


def solver_module() -> Any:
    """The module clarabel; ImportError with installation instructions if it is missing."""
    try:
        import clarabel
    except ImportError as error:
        raise ImportError("solving a day needs Clarabel: pip install 'dss_marl[optimum]'") from error
    return clarabel

"""Quadratic programmes: a smooth cost, and rows that pay where they leave their bands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from dss_marl.grid.state import Array, BoolArray, IntArray

_REACH = 0.01  # rows this close to an end of their band take part from the beginning
_MANY = 300  # rows from which those that are alike count as one
_ALIKE = 5e-5  # values and slopes that are rounded to the same multiple are alike
_MOST = 600  # rows that a programme of a large feeder has: coarser multiples make fewer
_WHOLE = 1e-5  # a number so near to a whole one is whole


@dataclass(frozen=True)
class LocalModel:
    """An interval's cost around a point, as a function of the change d of n unknowns.

    cost(d) = g d + d H d / 2 + the sum over rows of weight times how far value + slope d lies outside its band.

    Attributes:
        value: (R) of the rows at the point, mostly node voltages [pu].
        slopes: (R, n) of the rows.
        weight: (R) price of leaving the band by 1.
        band: (2, R) its lower and upper ends.
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
        """What the model says of a change (n)."""
        value = self.value + self.slopes @ change
        out = np.maximum(np.maximum(value - self.band[1], self.band[0] - value), 0.0)
        return float(self.gradient @ change + change @ self.curvature @ change / 2 + self.weight @ out)


def solve_qp(local: LocalModel, low: Array, high: Array) -> Array | None:
    """(n) the change between these ends with the lowest cost in the model; None where the solver gives up."""
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
        active |= missed  # few rows ever matter, so the others join only when they do
    return change


def _merge_rows(local: LocalModel) -> LocalModel:
    """Of many rows, those that are alike, as phases of a balanced feeder or joints of a cable, as one of all weight."""
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
    """The different ones among rows rounded to a multiple, the first of each, and which each row is."""
    marks = np.rint(rows / multiple).astype(np.int64)
    odd = np.random.default_rng(0).integers(2**62, size=marks.shape[1]) * 2 + 1
    return np.unique(marks @ odd, return_index=True, return_inverse=True)  # sorting one number a row is much faster


def solve_miqp(local: LocalModel, low: Array, high: Array, whole: IntArray) -> Array | None:
    """The same with whole numbers in some places: one after the other is fixed below or above, the rest solved again.

    Args:
        local, low, high: as in ``best_change``.
        whole: which of the n; those that move the rows most are fixed first.
    """
    low, high, local = low.copy(), high.copy(), _merge_rows(local)
    change = _best(local, low, high)
    for k in sorted(whole, key=lambda k: -float(np.abs(local.slopes[:, k]).sum())):
        if change is None:
            return None
        if abs(change[k] - round(change[k])) < _WHOLE:  # as most are that want to go as far as they may
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
    """(n) the programme with only the active rows: Clarabel's min x P x / 2 + c x with A x + s = b, s >= 0."""
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
    """Upper triangle of (n, n), with so many more unknowns that have none; sparse, put together by columns."""
    n = len(curvature)
    column, row = np.tril_indices(n)
    start = np.concatenate([np.arange(n + 1) * np.arange(1, n + 2) // 2, np.full(more, len(row))])
    return sp.csc_matrix((curvature[row, column], row, start), shape=(n + more, n + more))


def _constraints(slopes: Array) -> Any:
    """(2 R + 2 n, n + R) slopes x - s, -s, x and -x, of (R, n); sparse, put together by columns."""
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
    """Clarabel; ImportError that says how to get it, if it is missing."""
    try:
        import clarabel
    except ImportError as error:
        raise ImportError("solving a day needs Clarabel: pip install 'dss_marl[optimum]'") from error
    return clarabel

"""Linear features: weighted sums over an array of the state, declared as which array, which rows, which weights.

From the same declaration follow the feature as a function, which may be called for any zone, and its part of one sparse
product that gives the linear features of all zones at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dss_marl.grid.sparse_product import SparseProduct
from dss_marl.grid.state import DEAD_V_PU, V_SCALE, Array, GridState, IntArray
from dss_marl.mdp.declarations import take_identity
from dss_marl.zones import Zone, zone_batched

Function = Callable[[Zone, GridState], Any]


class Rows(NamedTuple):
    """What the entries of a feature are sums of.

    Attributes:
        at: (..., n, m) positions in the array, for each of n entries; the leading axis of all zones as one.
        weight: broadcasts to (..., n, m); 0 where padded.
    """

    at: IntArray
    weight: Array


# (..., width) arrays that linear features are sums over.
ARRAYS: dict[str, Callable[[GridState], Any]] = {
    "v_scaled": lambda state: state.solution.v_scaled,
    "angle_rad": lambda state: state.solution.angle_rad,
    "available": lambda state: state.available,
    "forecast": lambda state: state.forecast.reshape(*state.forecast.shape[:-2], -1),
    "price": lambda state: state.price,
    "kw": lambda state: state.setpoints.kw,
    "kvar": lambda state: state.setpoints.kvar,
    "served_kw": lambda state: state.solution.served_kw,
    "loading": lambda state: state.solution.loading,
    "tap": lambda state: state.setpoints.tap,
    "closed": lambda state: state.setpoints.closed,
    "telemetry": lambda state: state.telemetry,
    "action": lambda state: state.action,
}


EXOGENOUS = ("available", "forecast", "price")  # which follow from the day and the step alone


class Scaled(NamedTuple):
    """An array that is (x - offset) * scale, where x is another in which ``blank`` stands for 0."""

    of: Callable[[GridState], Any]
    blank: float = 0.0
    offset: float = 0.0
    scale: float = 1.0


SCALED = {"v_scaled": Scaled(lambda state: state.solution.v_pu, DEAD_V_PU, 1.0, V_SCALE)}


def linear(of: str) -> Callable[[Callable[[Zone, GridState], Rows]], Function]:
    """Turn a function that returns the Rows of a feature into the feature.

    Args:
        of: the array, a key of ARRAYS.

    The rows must depend on the zone and on the shapes in the state alone.
    """

    def declare(rows: Callable[[Zone, GridState], Rows]) -> Function:
        def feature(zone: Zone, state: GridState) -> Array:
            x, (at, weight) = ARRAYS[of](state), rows(zone, state)
            if not x.shape[-1]:
                return np.zeros((*x.shape[:-1], *at.shape[:-1]))
            return np.add.reduce(x[..., at] * weight, axis=-1)

        take_identity(feature, rows)
        feature.linear = of, rows  # type: ignore[attr-defined]
        return zone_batched(feature)

    return declare


def each(index: IntArray, weight: Array) -> Rows:
    """One entry for each row (..., n)."""
    return Rows(index[..., None], np.broadcast_to(weight, index.shape)[..., None])


def total(index: IntArray, weight: Array) -> Rows:
    """One entry, the sum over the rows (..., n)."""
    return Rows(index[..., None, :], np.broadcast_to(weight, index.shape)[..., None, :])


def array_of(function: Function) -> str:
    """The key of the array that a feature is a sum over; "" if it is not linear."""
    return function.linear[0] if hasattr(function, "linear") else ""


class LinearColumns:
    """The columns of all zones that are linear or constant, as one sparse product.

    Args:
        functions: the features in order; others than linear and constant ones leave their columns at 0.
        constant: which of them do not depend on the state.
        widths: their columns.
        stacked: all zones as one.
        sample: a state of the right shapes.
    """

    def __init__(
        self,
        functions: Sequence[Function],
        constant: Sequence[bool],
        widths: Sequence[int],
        stacked: Zone,
        sample: GridState,
    ) -> None:
        count, width = len(stacked.index), sum(widths)
        self._base, self.others = np.zeros((count, width)), []
        names = [array_of(function) for function in functions]
        used = self._arrays = [name for name in ARRAYS if name in names]
        sizes = [np.shape(ARRAYS[name](sample))[-1] for name in used]
        first = dict(zip(used, np.cumsum([0, *sizes]).tolist(), strict=False))
        entries: list[tuple[IntArray, IntArray, Array]] = []
        start = 0
        for k, (function, own) in enumerate(zip(functions, widths, strict=True)):
            if names[k]:
                rows = function.linear[1](stacked, sample)  # type: ignore[attr-defined]
                if sizes[used.index(names[k])]:
                    entries.append(entries_of(rows, start, width, first[names[k]]))
            elif constant[k]:
                self._base[:, start : start + own] = function(stacked, sample)
            else:
                self.others.append(k)
            start += own
        none = np.zeros(0, np.int64)
        row, column, value = (np.concatenate(part) for part in zip((none, none, np.zeros(0)), *entries, strict=True))
        self._product = SparseProduct(row, column, value, (count * width, sum(sizes)))

    def __call__(self, state: GridState) -> Array:
        """(..., Z, n) a new array."""
        batch, shape = state.solution.v_pu.shape[:-1], self._base.shape
        if not self._arrays:
            return np.broadcast_to(self._base, (*batch, *shape)).copy()
        x = np.concatenate([ARRAYS[name](state) for name in self._arrays], axis=-1, dtype=float)
        return self._product(x, onto=self._base.reshape(-1)).reshape(*batch, *shape)


def entries_of(rows: Rows, start: int, width: int, first: int) -> tuple[IntArray, IntArray, Array]:
    """Row, column and value of each entry of a feature that begins at a column, of an array that begins at another."""
    zone, entry, _ = np.indices(rows.at.shape)
    row = np.asarray(zone * width + start + entry)
    weight = np.broadcast_to(rows.weight, rows.at.shape)
    kept = weight != 0
    return row[kept], (first + rows.at)[kept], weight[kept]

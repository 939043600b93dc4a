"""ColumnWriter: the linear features of many states, written into their columns of observations that are begun."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dss_marl.grid.compiled import kernels_for
from dss_marl.grid.sparse_product import SparseProduct
from dss_marl.grid.state import Array, GridState, IntArray
from dss_marl.mdp.linear_features import ARRAYS, SCALED, Function, Scaled, array_of, entries_of
from dss_marl.zones import Zone


class ColumnWriter:
    """Writes some linear features of all zones; as LinearColumns, but each array is read where it lies.

    Args:
        functions: the features with the column where each begins.
        low, high: (n) limits of the columns.
        stacked: all zones as one.
        sample: a state of the right shapes.
    """

    def __init__(
        self, functions: Sequence[tuple[Function, int]], low: Array, high: Array, stacked: Zone, sample: GridState
    ) -> None:
        zones, width = len(stacked.index), len(low)
        limits = np.tile(low, zones), np.tile(high, zones)
        self._parts: list[_Part] = []
        for name in ARRAYS:
            own = [(function, start) for function, start in functions if array_of(function) == name]
            size = np.shape(ARRAYS[name](sample))[-1]
            if not own or not size:
                continue
            found = [entries_of(f.linear[1](stacked, sample), start, width, 0) for f, start in own]  # type: ignore[attr-defined]
            row, index, weight = (np.concatenate(part) for part in zip(*found, strict=True))
            if len(row):
                self._parts.append(_Part(name, size, row, index, weight, limits))

    def write(self, state: GridState, rows: np.ndarray) -> None:
        """Write into (B, Z n) float32 rows; entries without any summand are left alone."""
        for part in self._parts:
            part.write(state, rows)


class _Part:
    """The features of one array.

    Args:
        name: its key in ARRAYS.
        size: its length.
        row, index, weight: (E) column of the flattened rows, position in the array and weight of each summand.
        limits: of the columns of the flattened rows.
    """

    def __init__(
        self, name: str, size: int, row: IntArray, index: IntArray, weight: Array, limits: tuple[Array, Array]
    ) -> None:
        self._name = name
        self._columns, at = np.unique(row, return_inverse=True)
        self._low, self._high = (own[self._columns] for own in limits)
        order = np.argsort(at, kind="stable")
        first = np.searchsorted(at[order], np.arange(len(self._columns) + 1))
        scaled = _scaled(name)
        weights, start = weight[order] * scaled.scale, np.zeros(len(self._columns))
        np.subtract.at(start, at[order], weights * scaled.offset)
        self._unsigned = self._columns.astype(np.uint64)
        self._sums = first, index[order].astype(np.uint64), weights, start
        self._product = SparseProduct(at, index, weight, (len(self._columns), size))

    def write(self, state: GridState, rows: np.ndarray) -> None:
        kernels = kernels_for(state.solution.v_pu)
        if kernels is None:
            values = self._product(np.asarray(ARRAYS[self._name](state), float))
            np.maximum(values, self._low, out=values)
            rows[..., self._columns] = np.minimum(values, self._high, out=values)
            return
        of, blank, *_ = _scaled(self._name)  # looked up, as its functions cannot be pickled
        x = np.ascontiguousarray(of(state))
        kernels.write_columns(x, self._sums, blank, self._unsigned, (self._low, self._high), rows)


def _scaled(name: str) -> Scaled:
    """The array that another is computed from, or itself."""
    return SCALED.get(name) or Scaled(ARRAYS[name])

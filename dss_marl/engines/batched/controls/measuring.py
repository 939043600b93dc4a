"""Currents of many copies at once, from their voltages, ratios and switch states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dss_marl.engines.opendss.measured import Conductors
from dss_marl.grid.sparse_product import SparseProduct
from dss_marl.grid.state import Array, BoolArray, IntArray

Complex = NDArray[np.complex128]


class Currents:
    """Currents of several elements' conductors; a row is a conductor.

    Args:
        parts: the conductors, element after element; None for one that needs none.
        taps: number of taps R.

    Attributes:
        rows: (C, W) the rows of each element, ``zero`` where padded: a row whose current is 0.
        at: (rows + 1) position of each row's voltage.
        size: number of rows.
    """

    def __init__(self, parts: Sequence[Conductors | None], taps: int) -> None:
        there = [part for part in parts if part is not None]
        self.size = sum(len(part.at) for part in there)
        self.zero = self.size
        width = max((len(part.at) for part in there), default=0)
        self.rows = np.full((len(parts), width), self.zero)
        first = 0
        for c, part in enumerate(parts):
            if part is not None:
                self.rows[c, : len(part.at)] = range(first, first + len(part.at))
                first += len(part.at)
        self.at = _joined([*(part.at for part in there), np.zeros(1, np.int64)])
        self._row_tap = _joined([part.row_tap for part in there])
        self._switch = np.repeat([part.switch for part in there], [len(part.at) for part in there]).astype(np.int64)
        self._build(there)

    def _build(self, parts: Sequence[Conductors]) -> None:
        row, column, by, y = [], [], [], []
        first = 0
        for part in parts:
            w, p = np.nonzero(part.y)
            row.append(first + w)
            column.append(part.columns[p])
            by.append(part.column_tap[p])
            y.append(part.y[w, p])
            first += len(part.at)
        rows, columns, divided = _joined(row), _joined(column), _joined(by)
        pairs, place = np.unique(np.stack([columns, divided]), axis=1, return_inverse=True)
        self._seen, self._divided = pairs
        values = np.concatenate([*y, np.zeros(0, complex)])
        self._product = SparseProduct(rows, place.reshape(-1), values, (self.size, pairs.shape[1]))

    def __call__(self, v: Complex, ratio: Array, closed: BoolArray) -> Complex:
        """(n, rows + 1) currents into the conductors [A].

        Args:
            v: (n, Z) voltages, in the order that ``columns`` and ``at`` count [V].
            ratio: (n, R) ratios of the taps [1].
            closed: (n, S) states of the switches.
        """
        none = np.ones((len(v), 1))
        divisors = np.concatenate([ratio, none, ratio**2], axis=-1)
        current = np.zeros((len(v), self.size + 1), complex)
        if self.size:
            current[:, :-1] = self._product(v[:, self._seen] / divisors[:, self._divided])
            current[:, :-1] /= divisors[:, self._row_tap]
            current[:, :-1] *= np.concatenate([closed, none.astype(bool)], axis=-1)[:, self._switch]
        return current

    def power(self, v: Complex, current: Complex) -> Complex:
        """(n, C) complex power into each element at its conductors [VA]."""
        power = v[:, self.at] * current.conj()
        found: Complex = power[:, self.rows].sum(axis=-1)
        return found


def _joined(parts: Sequence[IntArray]) -> IntArray:
    return np.concatenate([*parts, np.zeros(0, np.int64)]).astype(np.int64)


def padded(rows: Sequence[Sequence[int]]) -> IntArray:
    """(C, P) rows of unequal length, filled up with their first entry; 0 where a row is empty."""
    width = max((len(row) for row in rows), default=0)
    filled = [[*row, *([row[0] if len(row) else 0] * (width - len(row)))] for row in rows]
    return np.array(filled, np.int64).reshape(len(rows), width)

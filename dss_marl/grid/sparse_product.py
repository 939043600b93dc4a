"""SparseProduct: a constant sparse matrix times vectors, in one call into SciPy's kernels."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dss_marl.grid.state import IntArray


@cache
def _kernels() -> tuple[Any, Any] | None:
    """SciPy's products with one vector and with several, which add to their last argument; None in another SciPy.

    They are not its public interface, but ``csr_array @ x`` takes three times as long for small matrices. Imported at
    the first product, because importing the package would take twice as long.
    """
    try:
        from scipy.sparse._sparsetools import csr_matvec, csr_matvecs
    except ImportError:  # pragma: no cover
        return None
    return csr_matvec, csr_matvecs


class SparseProduct:
    """y = A x for vectors x (..., n), y (..., m).

    The entries of a row are added one after the other in the order given, so that each state of a batch gives the same
    bits as alone.

    Args:
        rows, columns, values: (E) the entries of A, those of a row in the order in which they are added.
        shape: (m, n).
    """

    def __init__(self, rows: IntArray, columns: IntArray, values: NDArray[Any], shape: tuple[int, int]) -> None:
        order = np.argsort(rows, kind="stable")
        self.shape = shape
        self._indptr = np.searchsorted(rows[order], np.arange(shape[0] + 1)).astype(np.int32)
        self._indices = columns[order].astype(np.int32)
        self._values = values[order]

    def adjoint(self) -> SparseProduct:
        """That of the conjugate transpose."""
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self._indptr))
        return SparseProduct(self._indices.astype(np.int64), rows, self._values.conj(), self.shape[::-1])

    def __call__(self, x: NDArray[Any], onto: NDArray[Any] | None = None) -> NDArray[Any]:
        """(..., m) the product.

        Args:
            x: (..., n), of the type of the values.
            onto: (m) added to it; not changed.
        """
        m, n = self.shape
        start = np.zeros(m, self._values.dtype) if onto is None else onto
        kernels = _kernels()
        if kernels is None:
            from scipy.sparse import csr_array

            matrix = csr_array((self._values, self._indices, self._indptr), shape=self.shape)
            return start + (matrix @ x.reshape(math.prod(x.shape[:-1]), n).T).T.reshape(*x.shape[:-1], m)
        if x.ndim == 1:
            y = start if onto is None else start.copy()
            kernels[0](m, n, self._indptr, self._indices, self._values, x, y)
            return y
        columns = np.ascontiguousarray(x.reshape(math.prod(x.shape[:-1]), n).T)
        sums = np.repeat(start[:, None], columns.shape[1], axis=1)
        kernels[1](m, n, columns.shape[1], self._indptr, self._indices, self._values, columns.ravel(), sums.ravel())
        return sums.T.reshape(*x.shape[:-1], m)

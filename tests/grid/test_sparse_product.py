"""A sparse product gives what a dense one gives, and each state of a batch the same bits as alone."""

import numpy as np
import pytest

from dss_marl.grid import sparse_product
from dss_marl.grid.indexing import contiguous
from dss_marl.grid.sparse_product import SparseProduct


@pytest.fixture(params=["kernels", "scipy's public interface"])
def kernels(request, monkeypatch):
    if request.param != "kernels":
        monkeypatch.setattr(sparse_product, "_kernels", lambda: None)
    elif sparse_product._kernels() is None:
        pytest.skip("this SciPy has none")


@pytest.mark.parametrize("kind", [float, complex])
def test_products(kernels, kind, rng):
    dense = rng.normal(size=(7, 5)) * (rng.random((7, 5)) < 0.4) * (1j if kind is complex else 1)
    rows, columns = np.nonzero(dense)
    order = rng.permutation(len(rows))
    product = SparseProduct(rows[order], columns[order], dense[rows, columns][order], dense.shape)
    x, constant = rng.normal(size=(2, 3, 5)).astype(kind), rng.normal(size=7).astype(kind)
    assert product(x) == pytest.approx(x @ dense.T)
    assert product(x, constant) == pytest.approx(x @ dense.T + constant)
    kept = constant.copy()
    for at in np.ndindex(2, 3):
        assert np.array_equal(product(x[at]), product(x)[at])
        assert np.array_equal(product(x[at], constant), product(x, constant)[at])
    assert np.array_equal(constant, kept)


def test_a_matrix_without_entries(kernels):
    none = np.zeros(0, np.int64)
    assert np.array_equal(SparseProduct(none, none, np.zeros(0), (3, 0))(np.zeros(0)), np.zeros(3))


def test_rows_that_follow_each_other_are_a_slice():
    assert contiguous(np.array([3, 4, 5])) == slice(3, 6)
    for rows in ([], [3, 5], [4, 3]):
        assert contiguous(np.array(rows, np.int64)).tolist() == rows

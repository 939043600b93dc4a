"""Sums over nodes and over sparse rows of many states, compiled by Numba; see ``compiled.kernels_for``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numba.extending import register_jitable

from dss_marl.grid import state
from dss_marl.grid.state import Array, IntArray

# Sums may be reordered, as needed for vector instructions; NaN and infinities keep their meaning.
_FAST = {"reassoc", "contract", "nsz"}
register_jitable(state.beyond_band)  # so that functions to be compiled may call it


@njit(nogil=True, cache=True, fastmath=_FAST)
def write_columns(
    x: Any,
    rows: tuple[Any, Any, Any],
    blank: float,
    offset: float,
    scale: float,
    columns: Any,
    limits: tuple[Any, Any],
    out: Any,
) -> None:  # pragma: no cover  # compiled
    """Write weighted sums of the entries of (B, n) x into some columns of (B, m) out, within limits.

    Args:
        x: numbers or flags.
        rows: first entry of each sum, with the end; positions in x; and weights.
        blank: stands for entries that are 0: voltages of nodes without.
        offset, scale: (x - offset) * scale is summed.
        columns: (k) to write.
        limits: (k) lowest and (k) highest values.
        out: written in place.
    """
    first, index, weight = rows
    low, high = limits
    for b in range(x.shape[0]):
        for k in range(len(columns)):
            total = 0.0
            for e in range(first[k], first[k + 1]):
                value = x[b, index[e]]
                total += weight[e] * (((value if value != 0 else blank) - offset) * scale)
            out[b, columns[k]] = min(max(total, low[k]), high[k])


@njit(nogil=True, cache=True, fastmath=_FAST)
def spread(x: Any, blank: float, nodes: Any, starts: Any, out: Any) -> None:  # pragma: no cover  # compiled
    """Write lowest, mean and highest of (B, N) x at the nodes of each zone into (B, Z, 3) out.

    Args:
        x: node values.
        blank: stands for those that are 0.
        nodes: (n) positions, zone after zone.
        starts: (Z + 1) where each zone's begin, with the end.
        out: written in place.
    """
    for b in range(x.shape[0]):
        for z in range(len(starts) - 1):
            low, high, total = np.inf, -np.inf, 0.0
            for k in range(starts[z], starts[z + 1]):
                value: Any = x[b, nodes[k]]
                value = value if value != 0 else np.float32(blank)
                low, high = min(low, value), max(high, value)
                total += value
            out[b, z, 0], out[b, z, 2] = low, high
            out[b, z, 1] = total / (starts[z + 1] - starts[z])


def sums_of(
    functions: tuple[Callable[[Any], Any], ...], x: Any, blank: float, nodes: IntArray, starts: IntArray, out: Array
) -> None:
    """Write the sums of functions of (B, N) x over the nodes of each zone into (B, F, Z) out.

    Args:
        functions: F of one value, in NumPy's terms; compiled at the first call.
        x: node values.
        blank, nodes, starts: as of ``spread``.
        out: written in place.
    """
    for first in range(0, len(functions), _TOGETHER):
        some = functions[first : first + _TOGETHER]
        _summing(some)(x, blank, nodes, starts, out[:, first : first + len(some)])


_TOGETHER = 3


def _nothing(x: float) -> float:  # pragma: no cover  # compiled
    return 0.0


@cache
def _summing(functions: tuple[Callable[[Any], Any], ...]) -> Callable[..., None]:
    """Of one to three functions; not kept on disk, where Numba would not notice that one has changed."""
    one, two, three = (njit(f) for f in (*functions, *(_nothing,) * (_TOGETHER - len(functions))))
    count = len(functions)

    @njit(nogil=True, fastmath=_FAST)
    def summed(x: Any, blank: float, nodes: Any, starts: Any, out: Any) -> None:  # pragma: no cover  # compiled
        for b in range(x.shape[0]):
            for z in range(len(starts) - 1):
                first = second = third = 0.0
                for k in range(starts[z], starts[z + 1]):
                    value = x[b, nodes[k]]
                    value = value if value != 0 else np.float32(blank)
                    first += one(value)
                    second += two(value)
                    third += three(value)
                out[b, 0, z] = first
                if count > 1:
                    out[b, 1, z] = second
                if count > 2:
                    out[b, 2, z] = third

    return summed

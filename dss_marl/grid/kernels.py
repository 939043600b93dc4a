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

# Sums may be reordered, as needed for vector instructions; engines give no NaN.
_FAST = {"reassoc", "contract", "nsz", "nnan"}
_NODES = 64  # nodes gathered at once, so that they stay in the first cache
register_jitable(state.beyond_band)  # so that functions to be compiled may call it


@njit(nogil=True, cache=True, fastmath=_FAST)
def write_columns(
    x: Any,
    rows: tuple[Any, Any, Any, Any],
    blank: float,
    columns: Any,
    limits: tuple[Any, Any],
    out: Any,
) -> None:  # pragma: no cover  # compiled
    """Write weighted sums of the entries of (B, n) x, from a start, into some columns of (B, m) out, within limits.

    Args:
        x: numbers or flags.
        rows: first entry of each sum, with the end; positions in x without sign; weights; and the start of each sum.
        blank: stands for entries that are 0: voltages of nodes without.
        columns: (k) to write, without sign: else each access would ask whether it counts from the end.
        limits: (k) lowest and (k) highest values.
        out: written in place.
    """
    first, index, weight, base = rows
    low, high = limits
    for b in range(x.shape[0]):
        for k in range(len(columns)):
            total = base[k]
            for e in range(first[k], first[k + 1]):
                value = x[b, index[e]]
                total += weight[e] * (value if value != 0 else blank)
            out[b, columns[k]] = min(max(total, low[k]), high[k])


@njit(nogil=True, cache=True, fastmath=_FAST)
def _gather(x: Any, nodes: Any, blank: float, values: Any) -> None:  # pragma: no cover  # compiled
    """Write the values (lanes, N) at some nodes into (n, lanes)."""
    for k in range(len(nodes)):
        node = nodes[k]
        for j in range(values.shape[1]):
            values[k, j] = x[j, node]
    stands_for_zero = np.float32(blank)
    for k in range(len(nodes)):
        for j in range(values.shape[1]):
            values[k, j] = values[k, j] if values[k, j] != 0 else stands_for_zero


@njit(nogil=True, cache=True, fastmath=_FAST)
def spread(
    x: Any,
    blank: float,
    nodes: Any,
    starts: Any,
    lanes: int,
    scaled: tuple[float, float],
    limits: tuple[Any, Any],
    out: Any,
) -> None:  # pragma: no cover  # compiled
    """Write lowest, mean and highest of (B, N) x at the nodes of each zone into (B, Z, 3) out, within limits.

    Args:
        x: node values.
        blank: stands for those that are 0.
        nodes: (n) positions without sign, zone after zone.
        starts: (Z + 1) where each zone's begin, with the end.
        lanes: how many copies to do at once, LANES.
        scaled: offset and scale: (x - offset) * scale is written.
        limits: (3) lowest and (3) highest values.
        out: written in place; may be a part of larger rows.
    """
    offset, scale = scaled
    least, most = limits
    width = min(lanes, x.shape[0])
    values = np.empty((_NODES, width), x.dtype)
    low, high, total = np.empty(width, x.dtype), np.empty(width, x.dtype), np.empty(width)
    for start in range(0, x.shape[0], width):
        first = min(start, x.shape[0] - width)  # the last ones may be done twice
        for z in range(len(starts) - 1):
            low[:], high[:], total[:] = np.inf, -np.inf, 0.0
            for begin in range(starts[z], starts[z + 1], _NODES):
                some = nodes[begin : min(begin + _NODES, starts[z + 1])]
                _gather(x[first : first + width], some, blank, values)
                for k in range(len(some)):
                    for j in range(width):
                        low[j], high[j] = min(low[j], values[k, j]), max(high[j], values[k, j])
                        total[j] += values[k, j]
            size = starts[z + 1] - starts[z]
            for j in range(width):
                out[first + j, z, 0] = min(max((low[j] - offset) * scale, least[0]), most[0])
                out[first + j, z, 1] = min(max((total[j] / size - offset) * scale, least[1]), most[1])
                out[first + j, z, 2] = min(max((high[j] - offset) * scale, least[2]), most[2])


def sums_of(
    functions: tuple[Callable[[Any, Any, Any], Any], ...],
    x: Any,
    blank: float,
    nodes: IntArray,
    starts: IntArray,
    band: tuple[Array, Array],
    out: Array,
) -> None:
    """Write the sums of functions of (B, N) x over the nodes of each zone into (B, F, Z) out.

    Args:
        functions: F of one value and its node's limits, in NumPy's terms; compiled at the first call.
        x: node values.
        blank, nodes, starts: as of ``spread``.
        band: (n) lowest and highest permitted value of each of the nodes.
        out: written in place.
    """
    for first in range(0, len(functions), _TOGETHER):
        some = functions[first : first + _TOGETHER]
        _summing(some)(x, blank, nodes, starts, LANES, band, out[:, first : first + len(some)])


# Copies whose sums run side by side in vector registers. An argument, because a loop of constant length is unrolled
# instead of made of vector instructions.
LANES = 32
_TOGETHER = 3


def _nothing(x: float, low: float, high: float) -> float:  # pragma: no cover  # compiled
    return 0.0


@cache
def _summing(functions: tuple[Callable[[Any, Any, Any], Any], ...]) -> Callable[..., None]:
    """Of one to three functions; not kept on disk, where Numba would not notice that one has changed."""
    one, two, three = (njit(f) for f in (*functions, *(_nothing,) * (_TOGETHER - len(functions))))
    count = len(functions)

    @njit(nogil=True, fastmath=_FAST)
    def summed(
        x: Any, blank: float, nodes: Any, starts: Any, lanes: int, band: Any, out: Any
    ) -> None:  # pragma: no cover
        lowest, highest = band
        width = min(lanes, x.shape[0])
        values = np.empty((_NODES, width), x.dtype)
        total = np.empty((3, width))
        for start in range(0, x.shape[0], width):
            first = min(start, x.shape[0] - width)
            for z in range(len(starts) - 1):
                total[:] = 0.0
                for begin in range(starts[z], starts[z + 1], _NODES):
                    some = nodes[begin : min(begin + _NODES, starts[z + 1])]
                    _gather(x[first : first + width], some, blank, values)
                    for k in range(len(some)):
                        low, high = lowest[begin + k], highest[begin + k]
                        for j in range(width):
                            total[0, j] += one(values[k, j], low, high)
                            if count > 1:
                                total[1, j] += two(values[k, j], low, high)
                            if count > 2:
                                total[2, j] += three(values[k, j], low, high)
                for f in range(count):
                    for j in range(width):
                        out[first + j, f, z] = total[f, j]

    return summed

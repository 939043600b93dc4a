"""Lowest and highest energised voltage of each copy, and 0 where there is none, in one pass over the voltages."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.grid.state import BoolArray

try:
    import numba as nb
except ImportError:  # the passes of NumPy then
    nb = None


def limits(v_pu: Any, alive: BoolArray | None) -> tuple[Any, Any]:
    """(B) lowest and (B) highest voltage where energised; 1 if nothing is. NaN anywhere may give anything.

    Args:
        v_pu: (B, N), set to 0 where de-energised.
        alive: (B, N) which nodes are energised; None if all are.
    """
    if nb is not None and v_pu.size:
        low, high = np.empty(len(v_pu), v_pu.dtype), np.empty(len(v_pu), v_pu.dtype)
        if alive is None:
            _extremes(v_pu, low, high)
        else:
            _extremes_of_alive(v_pu, np.ascontiguousarray(alive), low, high)
        return low, high
    if alive is None:
        return v_pu.min(axis=-1, initial=1.0), v_pu.max(axis=-1, initial=1.0)
    seen = np.where(alive, v_pu, 1)
    v_pu[~alive] = 0
    return seen.min(axis=-1, initial=1.0), seen.max(axis=-1, initial=1.0)


if nb is not None:
    _FAST = {"fastmath": True, "nogil": True, "cache": True, "error_model": "numpy"}

    @nb.njit(**_FAST)
    def _extremes(v_pu: Any, low: Any, high: Any) -> None:
        for b in range(v_pu.shape[0]):
            least, most = v_pu[b, 0], v_pu[b, 0]
            for i in range(v_pu.shape[1]):
                least, most = min(least, v_pu[b, i]), max(most, v_pu[b, i])
            low[b], high[b] = least, most

    @nb.njit(**_FAST)
    def _extremes_of_alive(v_pu: Any, alive: Any, low: Any, high: Any) -> None:
        one = v_pu.dtype.type(1)
        for b in range(v_pu.shape[0]):
            least, most = v_pu.dtype.type(1e9), v_pu.dtype.type(-1e9)
            for i in range(v_pu.shape[1]):
                here = alive[b, i]
                v = v_pu[b, i]
                least = min(least, v if here else one * 1000)
                most = max(most, v if here else -one)
                v_pu[b, i] = v if here else 0 * one
            low[b], high[b] = (one, one) if most < 0 else (least, most)

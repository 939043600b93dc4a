"""Compiled forms of a few functions of many states, for engines that solve in single precision.

They need the extra ``fast``. Without it, and for arrays in double precision, the NumPy forms do the same: what is
compiled are these functions themselves, or sums that are declared as data.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray


def kernels_for(x: NDArray[Any]) -> ModuleType | None:
    """The compiled forms, if they suit an array: (B, n) in single precision, and Numba is installed."""
    return _kernels() if x.ndim == 2 and x.dtype == np.float32 else None


@cache
def _kernels() -> ModuleType | None:
    """Imported at the first need, as Numba takes half a second."""
    try:
        from dss_marl.grid import kernels
    except ImportError:  # pragma: no cover
        return None
    return kernels

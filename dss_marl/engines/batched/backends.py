"""By what the batched engine computes."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

BACKENDS = ("numba", "numpy", "torch")


def backend_of(name: str | None) -> str:
    """The backend of that name, or the best that is installed."""
    if name not in (None, *BACKENDS):
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, or None; got {name!r}")
    if name == "torch" and find_spec("torch") is None:
        raise ValueError("backend 'torch' needs PyTorch: pip install 'dss_marl[train]'")
    if name in ("numpy", "torch"):
        return str(name)
    try:
        import numba  # noqa: F401
    except ImportError:
        if name == "numba":
            raise ValueError("backend 'numba' needs numba: pip install 'dss_marl[fast]'") from None
        warnings.warn(
            "numba is not installed, so the batched engine runs in NumPy, many times slower; pip install "
            "'dss_marl[fast]'",
            stacklevel=4,
        )
        return "numpy"
    return "numba"

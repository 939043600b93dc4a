"""Rows of arrays as slices where they are contiguous."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.grid.state import IntArray


def contiguous(rows: IntArray) -> Any:
    """The rows as a slice if they follow each other, which reads and writes several times faster; else unchanged."""
    if len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows

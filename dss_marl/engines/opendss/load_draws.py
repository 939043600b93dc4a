"""Power drawn by all loads, read in one call."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array


class Draws:
    """A handle to all loads of a compiled circuit.

    Raises:
        ValueError: load names are not unique.
    """

    def __init__(self, context: Any, feeder: Feeder) -> None:
        self._lib, self._ffi = context.dss_lib, context.dss_ffi
        self._pointer, size = self._ffi.new("void***"), self._ffi.new("int32_t[4]")
        self._lib.Batch_CreateByClassS(self._pointer, size, b"Load")
        self._size = int(size[0])
        rows = 2 * _enabled(context, feeder, self._size)  # kW and kvar alternate
        self.count = len(rows)
        contiguous = len(rows) > 0 and bool((np.diff(rows) == 2).all())
        self._keep: Any = slice(int(rows[0]), int(rows[-1]) + 1, 2) if contiguous else rows
        self._result, self._dims = self._ffi.new("double**"), self._ffi.new("int32_t[4]")
        self._address = None  # of the result, which OpenDSS may move

    def write(self, served: Array) -> None:
        """Injections of the loads, as delivered [kW], into the first entries of ``served`` (J)."""
        if not self.count:
            return
        self._lib.Alt_CEBatch_Get_TotalPowers(self._result, self._dims, self._pointer[0], self._size)
        address = self._result[0]
        if address != self._address:
            self._address, self._power = address, np.frombuffer(self._ffi.buffer(address, 16 * self._size), float)
        np.negative(self._power[self._keep], out=served[: self.count])  # OpenDSS counts power into the element


def _enabled(context: Any, feeder: Feeder, total: int) -> Any:
    wanted = {feeder.injections[j].name for j in feeder.loads}
    names = [f"load.{name.lower()}" for name in context.Loads.AllNames()]
    keep = np.array([i for i, name in enumerate(names) if name in wanted], dtype=np.int64)
    if len(names) != total or len(keep) != len(wanted):
        raise ValueError(f"feeder {feeder.name!r}: load names are not unique; rename the loads")
    return keep

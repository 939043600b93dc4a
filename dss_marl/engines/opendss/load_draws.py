"""Power drawn by all loads and delivered by units that follow the voltage, each class read in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array


class Draws:
    """A handle to all loads of a compiled circuit, and to the units whose power depends on their voltage.

    Raises:
        ValueError: load names are not unique.
    """

    def __init__(self, context: Any, feeder: Feeder) -> None:
        loads = [feeder.injections[j].name for j in feeder.loads]
        self.count = len(loads)
        self._loads = _ClassPowers(context, "load", context.Loads.AllNames(), loads, feeder.name)
        rows = [j for j, row in enumerate(feeder.injections) if row.v_pu is not None]
        self._units: _ClassPowers | None = None
        if rows:
            units = [feeder.injections[j].name for j in rows]
            self._units = _ClassPowers(context, "generator", context.Generators.AllNames(), units, feeder.name)
            self._rows = np.array(rows)[np.argsort(self._units.order)]  # in OpenDSS's order

    def write(self, served: Array) -> None:
        """Injections of the loads, as delivered [kW], into the first entries of ``served`` (J); of such units too."""
        if self.count:
            np.negative(self._loads.read(), out=served[: self.count])  # OpenDSS counts power into the element
        if self._units is not None:
            served[self._rows] = -self._units.read()


class _ClassPowers:
    """The active power of some elements of one class, read together.

    Attributes:
        order: for each wanted element, its position among all of the class.
    """

    def __init__(self, context: Any, kind: str, names: Sequence[str], wanted: Sequence[str], feeder: str) -> None:
        self._lib, self._ffi = context.dss_lib, context.dss_ffi
        self._pointer, size = self._ffi.new("void***"), self._ffi.new("int32_t[4]")
        self._lib.Batch_CreateByClassS(self._pointer, size, kind.capitalize().encode())
        self._size = int(size[0])
        self.order = _positions(kind, names, wanted, self._size, feeder)
        rows = 2 * np.sort(self.order)  # kW and kvar alternate
        contiguous = len(rows) > 0 and bool((np.diff(rows) == 2).all())
        self._keep: Any = slice(int(rows[0]), int(rows[-1]) + 1, 2) if contiguous else rows
        self._result, self._dims = self._ffi.new("double**"), self._ffi.new("int32_t[4]")
        self._address = None  # of the result, which OpenDSS may move

    def read(self) -> Array:
        """The power into each element, in OpenDSS's order [kW]; a view, valid until the next call."""
        self._lib.Alt_CEBatch_Get_TotalPowers(self._result, self._dims, self._pointer[0], self._size)
        address = self._result[0]
        if address != self._address:
            self._address, self._power = address, np.frombuffer(self._ffi.buffer(address, 16 * self._size), float)
        return self._power[self._keep]


def _positions(kind: str, names: Sequence[str], wanted: Sequence[str], total: int, feeder: str) -> Any:
    """(n) where the wanted elements stand among all names of the class."""
    known = set(wanted)
    found = [(f"{kind}.{name.lower()}", i) for i, name in enumerate(names) if f"{kind}.{name.lower()}" in known]
    if len(names) != total or len(found) != len(wanted):
        raise ValueError(f"feeder {feeder!r}: {kind} names are not unique; rename the {kind}s")
    place = dict(found)
    return np.array([place[name] for name in wanted], dtype=np.int64)

"""Supply: which nodes and injections are energised, remembered for each state of the switches."""

from __future__ import annotations

import numpy as np

from dss_marl.engines.base import PowerFlowError
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.indexing import contiguous
from dss_marl.grid.state import BoolArray, IntArray

_MOST_KEPT = 10_000


class Supply:
    """Connectivity of a feeder.

    Args:
        feeder: its switches decide what is energised; steps of capacitor banks do not.
    """

    def __init__(self, feeder: Feeder) -> None:
        self._feeder = feeder
        self._deciding = contiguous(
            np.array([s for s, row in enumerate(feeder.switches) if row.kind != "capacitor"], np.int64)
        )
        width = max((len(row.nodes) for row in feeder.injections), default=1)
        rows = [[*row.nodes, *[len(feeder.nodes)] * (width - len(row.nodes))] for row in feeder.injections]
        self._nodes = np.array(rows, np.int64).reshape(-1, width)  # padded with a node that is always energised
        self._known: dict[bytes, tuple[BoolArray | None, IntArray]] = {}

    def of(self, closed: BoolArray) -> tuple[BoolArray | None, IntArray]:
        """(N) which nodes are energised, or None if all are, and the indices of the de-energised injections.

        An injection with any de-energised phase counts as de-energised: units are grid-following, and a three-phase
        load drawing from floating phases would keep the power flow from converging.

        Raises:
            PowerFlowError: a grid-forming unit is on in parallel with another source.
        """
        key = closed[self._deciding].tobytes()
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            found = self._known[key] = self._find(closed)
        return found

    def _find(self, closed: BoolArray) -> tuple[BoolArray | None, IntArray]:
        try:
            alive = self._feeder.energised(closed)
        except ValueError as error:
            raise PowerFlowError(f"power flow of feeder {self._feeder.name!r} failed: {error}") from error
        if alive.all():
            return None, np.zeros(0, np.int64)
        alive.flags.writeable = False  # shared by the solutions
        return alive, np.flatnonzero(~np.append(alive, True)[self._nodes].all(axis=-1))

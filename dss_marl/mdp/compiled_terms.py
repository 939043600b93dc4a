"""CompiledTerms: quantities of many states that are declared as sums, evaluated by compiled functions."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from dss_marl.grid.indexing import contiguous
from dss_marl.grid.state import DEAD_V_PU, Array, GridState
from dss_marl.mdp.quantities import Quantity, RowSum
from dss_marl.zones import Zone


class CompiledTerms:
    """The quantities among some that ``sum_of`` and ``sum_over`` declare.

    Args:
        quantities: in order.
        stacked: all zones as one.

    Attributes:
        others: positions of the quantities that are no such sums.
    """

    def __init__(self, quantities: Sequence[Quantity], stacked: Zone) -> None:
        self._zones, self._count = stacked, len(stacked.index)
        self._functions = tuple(q.sum_of for q in quantities if hasattr(q, "sum_of"))
        of_voltages = [k for k, q in enumerate(quantities) if hasattr(q, "sum_of")]
        self._of_voltages = contiguous(np.array(of_voltages, np.int64))
        declared = [(k, q, q.sum_over) for k, q in enumerate(quantities) if hasattr(q, "sum_over")]
        # Quantities can be pickled, as their names lead to them; the functions from which they are made cannot.
        self._sums = [
            (k, q, self._rows(own), (k * self._count + np.arange(self._count)).astype(np.uint64))
            for k, q, own in declared
        ]
        self._band = tuple(stacked.scored_band.rows(len(stacked.scored_nodes)))
        self._boundless = np.full(self._count, -np.inf), np.full(self._count, np.inf)
        known = {*of_voltages, *(k for k, _, _ in declared)}
        self.others = [k for k in range(len(quantities)) if k not in known]

    def _rows(self, own: RowSum) -> tuple[Any, ...]:
        """First entry of each zone, with the end; positions; weights; and zeros; see ``kernels.write_columns``."""
        rows = self._zones.rows
        index, weight = rows[own.kind].index, rows[own.kind].weight
        if own.without:
            left_out = rows[own.without]
            index = np.concatenate([index, left_out.index], axis=-1)
            weight = np.concatenate([weight, -left_out.weight], axis=-1)
        kept = weight != 0
        return np.append(0, np.cumsum(kept.sum(-1))), index[kept].astype(np.uint64), weight[kept], np.zeros(self._count)

    def write(self, kernels: ModuleType, found: Array, before: GridState, after: GridState) -> None:
        """Write these quantities into (B, Q, Z) found."""
        if self._functions:
            together = isinstance(self._of_voltages, slice)
            sums = found[:, self._of_voltages]  # a view if they stand together, else a copy
            kernels.sums_of(self._functions, after.solution.v_pu, DEAD_V_PU, *self._zones.unsigned, self._band, sums)
            if not together:
                found[:, self._of_voltages] = sums
        flat = found.reshape(len(found), -1)
        for k, quantity, rows, columns in self._sums:
            own: RowSum = quantity.sum_over
            x = np.ascontiguousarray(own.entries(before, after))
            kernels.write_columns(x, rows, 0.0, columns, self._boundless, flat)
            if own.hourly:
                found[:, k] *= after.dt_h

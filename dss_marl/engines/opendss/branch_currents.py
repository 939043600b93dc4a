"""Branch currents from node voltages and the primitive admittances, which are read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, BoolArray, IntArray


@dataclass(frozen=True)
class Flows:
    """Currents I = Yprim V at the first terminal of every branch.

    A row is a conductor of that terminal. ``columns`` (rows, P) are positions in the engine's voltage vector, whose
    entry 0 is ground; ``y`` (rows, P) [S] is zero in padded entries. Yprim of a tapped winding is that at the neutral
    tap with its rows and columns divided by the tap ratio.
    """

    columns: IntArray
    y: NDArray[np.complex128]
    first_row: IntArray
    row_per_rating: Array
    row_tap: IntArray
    entry_tap: IntArray
    row_switch: IntArray

    def loading(self, v: NDArray[np.complex128], boost: Array, closed: BoolArray, by_conductor: bool = False) -> Array:
        """Branch loading.

        Args:
            v: (1 + N) node voltages, ground first [V].
            boost: (R) tap ratios minus one [1].
            closed: (S) states.
            by_conductor: return all conductors, branch after branch, which vary smoothly with the injections.

        Returns:
            (M) highest conductor current at the first terminal divided by the branch rating [1]; or (C) all of them.
        """
        if not self.first_row.size:
            return np.zeros(0)
        ratio = np.append(1.0 + boost, 1.0)  # the last entry is for windings without a tap
        current = np.einsum("rp,rp->r", self.y, v[self.columns] / ratio[self.entry_tap])
        current /= ratio[self.row_tap]
        current *= np.append(closed, True)[self.row_switch]
        loading = np.abs(current) * self.row_per_rating
        return loading if by_conductor else np.maximum.reduceat(loading, self.first_row)


def read_flows(context: Any, feeder: Feeder) -> Flows:
    """Read the primitive admittances of the feeder's branches from a compiled circuit, with its initial taps."""
    tap_index = {tap.name: i for i, tap in enumerate(feeder.taps)}
    columns: list[list[int]] = []
    blocks: list[Any] = []
    first, row_tap, entry_tap, row_switch, per_rating = [], [], [], [], []
    for branch in feeder.branches:
        element = branch.name.split(":")[0]
        first.append(len(columns))
        context.Circuit.SetActiveElement(element)
        conductors = context.CktElement.NodeRef()  # OpenDSS numbers its nodes from 1, ground is 0
        terminal = np.arange(len(conductors)) // context.CktElement.NumConductors()
        order = len(conductors)
        parts = np.asarray(context.CktElement.YPrim())  # real and imaginary, alternating
        y = (parts[::2] + 1j * parts[1::2]).reshape(order, order).T  # stored column by column
        tap = np.full(order, len(feeder.taps))
        if element in tap_index:
            row = feeder.taps[tap_index[element]]
            tap[terminal == row.winding - 1] = tap_index[element]
            as_compiled = 1 + row.initial * row.step_pu + row.offset_pu
            ratio = np.where(terminal == row.winding - 1, as_compiled, 1.0)
            y = y * ratio[:, None] * ratio[None, :]
        rows = int((terminal == 0).sum())
        columns += [conductors] * rows
        blocks += list(y[:rows])
        row_tap += list(tap[:rows])
        entry_tap += [tap] * rows
        per_rating += [1 / branch.normal_amps if branch.normal_amps > 0 else 0.0] * rows
        row_switch += [branch.switch if branch.switch >= 0 else len(feeder.switches)] * rows
    width = max((len(c) for c in columns), default=1)
    return Flows(
        columns=_padded(columns, width, 0),
        y=_padded(blocks, width, 0j),
        first_row=np.array(first, np.int64),
        row_per_rating=np.array(per_rating),
        row_tap=np.array(row_tap),
        entry_tap=_padded(entry_tap, width, len(feeder.taps)),
        row_switch=np.array(row_switch),
    )


def _padded(rows: list[Any], width: int, fill: complex) -> Any:
    result = np.full((len(rows), width), fill)  # (0, width) on a feeder without branches
    for i, row in enumerate(rows):
        result[i, : len(row)] = row
    return result

"""Branch currents from node voltages and the primitive admittances, which are read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dss_marl.engines.opendss.tap_changers import TapWriter
from dss_marl.engines.opendss.terminals import activate
from dss_marl.grid.feeder import Branch, Feeder
from dss_marl.grid.state import Array, BoolArray, IntArray

_SAMPLES = (0.9, 1.0, 1.1)


@dataclass(frozen=True)
class Flows:
    """Currents I = Yprim V at the first terminal of every branch.

    A row is a conductor of that terminal. ``columns`` (rows, P) are positions in the engine's voltage vector, whose
    entry 0 is ground; ``y`` (rows, P) [S] is zero where padded. Yprim of a tapped winding is that at neutral with its
    rows and columns divided by the tap ratio. That of an autotransformer is y0 + y1 / ratio + y2 / ratio**2, so each
    of its columns stands there three times. ``row_tap`` and ``entry_tap`` tell what divides: a ratio (R), nothing, or
    the square of a ratio (R), in this order.
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
        ratio = np.concatenate([1.0 + boost, [1.0], (1.0 + boost) ** 2])
        current = np.einsum("rp,rp->r", self.y, v[self.columns] / ratio[self.entry_tap])
        current /= ratio[self.row_tap]
        current *= np.append(closed, True)[self.row_switch]
        loading = np.abs(current) * self.row_per_rating
        return loading if by_conductor else np.maximum.reduceat(loading, self.first_row)


class _Block(NamedTuple):
    """Rows of one branch: one list of nodes, admittances (rows, P) and what divides, see Flows."""

    columns: list[int]
    y: NDArray[np.complex128]
    entry_tap: IntArray
    row_tap: IntArray


def read_flows(context: Any, feeder: Feeder) -> Flows:
    """Gather the primitive admittances of the feeder's branches from a compiled circuit, taps as in the Feeder.

    The circuit must be in snapshot mode: autotransformers that have taps are solved at a few ratios.
    """
    columns: list[list[int]] = []
    blocks: list[Any] = []
    first: list[int] = []
    row_tap: list[int] = []
    entry_tap: list[Any] = []
    row_switch, per_rating = [], []
    for branch in feeder.branches:
        block = _block(context, branch, feeder)
        rows = len(block.y)
        first.append(len(columns))
        columns += [block.columns] * rows
        blocks += list(block.y)
        row_tap += block.row_tap.tolist()
        entry_tap += [block.entry_tap] * rows
        per_rating += [1 / branch.normal_amps if branch.normal_amps > 0 else 0.0] * rows
        row_switch += [branch.switch if branch.switch >= 0 else len(feeder.switches)] * rows
    width = max((len(c) for c in columns), default=1)
    return Flows(
        columns=_padded(columns, width, 0),
        y=_padded(blocks, width, 0j),
        first_row=np.array(first, np.int64),
        row_per_rating=np.array(per_rating),
        row_tap=np.array(row_tap, np.int64),
        entry_tap=_padded(entry_tap, width, len(feeder.taps)),
        row_switch=np.array(row_switch),
    )


def _block(context: Any, branch: Branch, feeder: Feeder) -> _Block:
    element = activate(context, branch.element)
    conductors = list(element.NodeRef())  # OpenDSS numbers its nodes from 1, ground is 0
    terminal = np.arange(len(conductors)) // element.NumConductors()
    rows, none = int((terminal == 0).sum()), len(feeder.taps)
    taps = [(r, row) for r, row in enumerate(feeder.taps) if row.element == branch.element]
    if taps and branch.element.startswith("autotrans."):
        ((r, row),) = taps
        y = np.hstack([part[:rows] for part in _by_ratio(context, feeder, r)])
        entry = np.repeat([none, r, none + 1 + r], len(conductors))
        return _Block(conductors * 3, y, entry, np.full(rows, none))
    y, tap = _yprim(context), np.full(len(conductors), none)
    for r, row in taps:
        at = terminal == row.winding - 1
        tap[at] = r
        as_compiled = 1 + row.initial * row.step_pu + row.offset_pu
        ratio = np.where(at, as_compiled, 1.0)
        y = y * ratio[:, None] * ratio[None, :]
    return _Block(conductors, y[:rows], tap, tap[:rows])


def _yprim(context: Any) -> NDArray[np.complex128]:
    """Of the active element [S]."""
    flat = np.asarray(context.CktElement.YPrim())
    order = round((len(flat) // 2) ** 0.5)
    return (flat[::2] + 1j * flat[1::2]).reshape(order, order).T  # stored by columns


def _by_ratio(context: Any, feeder: Feeder, tap: int) -> NDArray[np.complex128]:
    """(3, P, P) coefficients of 1, 1 / ratio and 1 / ratio**2 in an autotransformer's admittances [S]."""
    row, writer = feeder.taps[tap], TapWriter(context, feeder.taps)
    as_compiled = 1 + row.initial * row.step_pu + row.offset_pu
    samples = []
    for ratio in (*_SAMPLES, as_compiled):  # the last leaves it as it was
        writer.write(tap, ratio)
        context.Solution.Solve()
        activate(context, row.element)
        samples.append(_yprim(context))
    powers = np.array([[1.0, 1 / ratio, 1 / ratio**2] for ratio in _SAMPLES])
    return np.einsum("ab,bij->aij", np.linalg.inv(powers), np.array(samples[:-1]))


def _padded(rows: list[Any], width: int, fill: complex) -> Any:
    result = np.full((len(rows), width), fill)  # (0, width) on a feeder without branches
    for i, row in enumerate(rows):
        result[i, : len(row)] = row
    return result

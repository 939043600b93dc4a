"""Branch currents from node voltages and the primitive admittances, which are read once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dss_marl.engines.opendss.tap_changers import TapWriter
from dss_marl.engines.opendss.terminals import activate
from dss_marl.grid.angles import NodePlaces
from dss_marl.grid.feeder import Branch, Feeder
from dss_marl.grid.sparse_product import SparseProduct
from dss_marl.grid.state import Array, BoolArray, IntArray, Number

_SAMPLES = (0.9, 1.0, 1.1)


class FlowRows(NamedTuple):
    """What Flows is made of, see its arguments."""

    columns: IntArray
    y: NDArray[np.complex128]
    first_row: IntArray
    per_rating: Array
    row_tap: IntArray
    entry_tap: IntArray
    row_switch: IntArray


class Flows:
    """Currents I = Yprim V at the first terminal of every branch, as one sparse product.

    A row is a conductor of that terminal. Yprim of a tapped winding is that at neutral with its rows and columns
    divided by the tap ratio. That of an autotransformer is y0 + y1 / ratio + y2 / ratio**2, so each of its columns
    stands there three times. Voltages seen through a tap are appended to the voltage vector.

    Attributes:
        rows: the arguments.

    Args:
        columns: (rows, P) positions in the engine's voltage vector, whose entry 0 is ground.
        y: (rows, P) admittances [S]; zero where padded.
        first_row: (M) first row of each branch.
        row_per_rating: (rows) 1 over the branch's rating [1/A]; 0 without one.
        row_tap, entry_tap: (rows), (rows, P) what divides: a ratio (R), nothing, or the square of a ratio (R), in this
            order.
        row_switch: (rows) the switch that the branch is; S if none.
        sizes: number of taps R, switches S, and entries of the voltage vector.
    """

    def __init__(
        self,
        columns: IntArray,
        y: NDArray[np.complex128],
        first_row: IntArray,
        row_per_rating: Array,
        row_tap: IntArray,
        entry_tap: IntArray,
        row_switch: IntArray,
        sizes: tuple[int, int, int],
    ) -> None:
        taps, switches, count = sizes
        self.rows = FlowRows(columns, y, first_row, row_per_rating, row_tap, entry_tap, row_switch)
        self._first_row, self._per_rating = first_row, row_per_rating
        self._squared = bool((entry_tap > taps).any())  # as for autotransformers alone
        seen = (entry_tap != taps) & (y != 0)
        pairs, place = np.unique(np.stack([columns[seen], entry_tap[seen]]), axis=1, return_inverse=True)
        self._seen_nodes, self._seen_taps = pairs
        columns = columns.copy()
        columns[seen] = count + place.reshape(-1)
        rows, entries = np.nonzero(y)
        shape = len(y), count + pairs.shape[1]
        self._product = SparseProduct(rows, columns[rows, entries], y[rows, entries], shape)
        self._tapped = np.flatnonzero(row_tap != taps)
        self._row_taps = row_tap[self._tapped]
        self._switched = np.flatnonzero(row_switch < switches)
        self._row_switches = row_switch[self._switched]

    def loading(self, v: NDArray[np.complex128], boost: Array, closed: BoolArray) -> Array:
        """(..., C) loading of every conductor at the first terminals, branch after branch [1].

        Args:
            v: (..., 1 + N) node voltages, ground first [V].
            boost: (..., R) tap ratios minus one [1].
            closed: (..., S) states.
        """
        loading = np.abs(self._currents(v, self._ratios(boost), closed))
        loading *= self._per_rating
        return loading

    def _ratios(self, boost: Array) -> Array:
        """What divides, by its number in ``row_tap`` and ``entry_tap``."""
        ratio = 1.0 + boost
        if self._squared:
            ratio = np.concatenate([ratio, np.ones((*boost.shape[:-1], 1)), ratio**2], axis=-1)
        return ratio

    def _currents(self, v: NDArray[np.complex128], ratio: Array, closed: BoolArray) -> NDArray[np.complex128]:
        """(..., C) [A]."""
        if ratio.size:
            seen = v.take(self._seen_nodes, axis=-1) / ratio.take(self._seen_taps, axis=-1)
            v = np.concatenate([v, seen], axis=-1)
        current = self._product(v)
        self._scale(current, ratio, closed)
        return current

    def _scale(self, current: NDArray[np.complex128], ratio: Array, closed: BoolArray) -> None:
        """Divide by the taps of rows and multiply by switches, in place."""
        if self._tapped.size:  # transposed, as a state alone is indexed twice as fast so as with an ellipsis
            current.T[self._tapped] /= ratio.T[self._row_taps]
        if self._switched.size:
            current.T[self._switched] *= closed.T[self._row_switches]

    def voltage_slopes(
        self, v: NDArray[np.complex128], boost: Array, closed: BoolArray, by_branch: Array
    ) -> NDArray[np.complex128]:
        """(B, 1 + N) slopes of a number with respect to the voltages: to real parts, plus j times to imaginary ones.

        Args:
            v, boost, closed: (B, ...), as in ``loading``.
            by_branch: (B, M) the number's slopes with respect to the loading of each branch, which is that of its
                highest conductors in equal shares.
        """
        if not self._first_row.size:
            return np.zeros(v.shape, complex)
        ratio = self._ratios(boost)
        current = self._currents(v, ratio, closed)
        size = np.abs(current)
        loading = size * self._per_rating
        branch = np.repeat(np.arange(len(self._first_row)), np.diff(self._first_row, append=len(self._per_rating)))
        highest = loading == self.by_branch(loading)[:, branch]
        share = highest / np.add.reduceat(highest, self._first_row, axis=-1)[:, branch]
        way = np.divide(current, size, out=np.zeros_like(current), where=size > 0)
        each = by_branch[:, branch] * share * self._per_rating * way
        self._scale(each, ratio, closed)
        entries = self._product.adjoint()(np.ascontiguousarray(each))
        found = np.ascontiguousarray(entries[:, : v.shape[-1]])
        if ratio.size:
            through = entries[:, v.shape[-1] :] / ratio.take(self._seen_taps, axis=-1)
            np.add.at(found.T, self._seen_nodes, through.T)
        return found

    def by_branch(self, loading: Array) -> Array:
        """(..., M) the highest of each branch's conductors (..., C)."""
        if not self._first_row.size:
            return np.zeros((*loading.shape[:-1], 0))
        return np.maximum.reduceat(loading, self._first_row, axis=-1)


class Currents(NamedTuple):
    """The branch loading of a solution, computed when it is asked for; see Solution.currents.

    Attributes:
        flows: of the circuit.
        v: (..., 1 + N) node voltages, ground first [V].
        boost: (..., R) tap ratios minus one [1].
        closed: (..., S) states of the switches.
        places: of the feeder's nodes in ``v``.
    """

    flows: Flows
    v: NDArray[np.complex128]
    boost: Array
    closed: BoolArray
    places: NodePlaces

    def angle_rad(self) -> Array:
        """(..., N) angles of the node voltages [rad]; see Solution.angle_rad."""
        return self.places.angle_rad(self.v)

    def __call__(self, by_conductor: bool = False) -> Array:
        """(..., M) highest loading of each branch [1]; or (..., C) of conductors, smooth functions of injections."""
        loading = self.flows.loading(self.v, self.boost, self.closed)
        return loading if by_conductor else self.flows.by_branch(loading)

    def highest(self) -> Number:
        """(...) highest loading of any branch [1]; 0 on a feeder without branches."""
        loading = self.flows.loading(self.v, self.boost, self.closed)
        return np.maximum.reduce(loading, axis=-1, initial=0.0)


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
        row_switch=np.array(row_switch, np.int64),
        sizes=(len(feeder.taps), len(feeder.switches), len(context.Circuit.YNodeOrder()) + 1),
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

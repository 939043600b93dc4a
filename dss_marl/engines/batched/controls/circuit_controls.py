"""The circuit's own controls for many copies of a feeder at once, over any solver of its power flows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dss_marl.engines.batched.controls.bank_control import BankControls, BankMemory
from dss_marl.engines.batched.controls.measuring import Complex
from dss_marl.engines.batched.controls.regulator_control import RegulatorControls
from dss_marl.engines.opendss.control_data import BankControl, ControlData, TapControl
from dss_marl.engines.opendss.measured import Conductors
from dss_marl.grid.state import Array, BoolArray, IntArray

# (B, Z) voltages [V] at CircuitControls.nodes, of the copies (B) that are True, with taps (B, R) and states (B, S); not
# a number where the power flow of a copy does not converge. Limits of voltage hold for the last solution alone. Rows of
# other copies may hold anything, but the solver keeps their solutions: a copy that is not solved any more is done. The
# arrays that it is given are changed afterwards; it copies what it keeps.
SolveCopies = Callable[[IntArray, BoolArray, BoolArray], Complex]
MOST_SOLVES = 100  # OpenDSS's, in one solve with controls


@dataclass(frozen=True)
class Settled:
    """Where the controls came to rest.

    Attributes:
        tap: (B, R) positions.
        closed: (B, S) states.
        failed: (B) True where a power flow has no solution, or the controls find no rest.
        unsettled: (B) True where it was the controls.
        solves: (B) power flows.
        margin: (B) how near any decision was to another one, as a share of what was compared; a solver whose voltages
            differ by more may lead the controls elsewhere.
    """

    tap: IntArray
    closed: BoolArray
    failed: BoolArray
    unsettled: BoolArray
    solves: IntArray
    margin: Array


class CircuitControls:
    """RegControls and CapControls as OpenDSS has them act in static control mode.

    Every control is asked after each power flow; then those act whose time comes first, and so on until none wants to.
    Voltages decide, so a copy ends where OpenDSS does as long as no decision was nearer than its ``margin``.

    Args:
        data: the controls.

    Attributes:
        nodes: (Z) positions in the voltage vector, ground first, that they look at; ground is among them.
    """

    def __init__(self, data: ControlData) -> None:
        self.data = data
        self.nodes = _looked_at(data)
        place = np.zeros(len(data.nodes) + 1, np.int64)
        place[self.nodes] = np.arange(len(self.nodes))
        taps = len(data.step)
        self.regulators = RegulatorControls([_placed_tap(row, place) for row in data.taps], taps)
        self.banks = BankControls([_placed_bank(row, place) for row in data.banks], data.moved, taps)

    def __len__(self) -> int:
        return self.regulators.count + self.banks.count

    # --- what OpenDSS keeps --------------------------------------------------------------------------------------

    def remember(self, closed: BoolArray) -> BankMemory:
        """What a new engine knows of the banks, with states (B, S)."""
        return self.banks.remember(closed)

    def observe(self, memory: BankMemory, closed: BoolArray, which: BoolArray | None = None) -> None:
        """Note the states (B, S) of a solve without controls, of all copies or of those (B) that are True."""
        rows = _rows(len(closed), which)
        memory.put(rows, self.banks.observe(memory.rows(rows), closed[rows]))

    def forget(self, memory: BankMemory, closed: BoolArray, which: BoolArray | None = None) -> None:
        """Make ``memory`` that of a new engine, for all copies or those (B) that are True."""
        rows = _rows(len(closed), which)
        memory.put(rows, self.banks.remember(closed[rows]))

    # --- solving -------------------------------------------------------------------------------------------------

    def settle(
        self,
        tap: IntArray,
        closed: BoolArray,
        solve: SolveCopies,
        memory: BankMemory | None = None,
        wanted: BoolArray | None = None,
    ) -> Settled:
        """Let the controls act until they are content.

        Args:
            tap, closed: (B, R) and (B, S) where they start; not changed.
            solve: the power flow, see SolveCopies.
            memory: what OpenDSS keeps from solve to solve, changed in place; None for that of a new engine, so that
                the answer depends on the set points alone.
            wanted: (B) the copies; None for all.
        """
        rows = _rows(len(tap), wanted)
        own = self.banks.remember(closed) if memory is None or self.data.begins_anew else memory
        known = self.banks.observe(own.rows(rows), closed[rows])
        run = _Run(self, tap, closed, known, rows)
        run.go(solve)
        again = run.unsettled[rows] & ~self.banks.is_new(known)
        if again.any():  # OpenDSS is started anew then
            run.repeat(tap, closed, self.banks.remember(closed[rows[again]]), again)
            run.go(solve)
        if memory is not None:
            memory.put(rows, run.memory)
        return run.settled()


def _looked_at(data: ControlData) -> IntArray:
    """Sorted positions of what the controls look at, of ground, and of one node to see whether there is a solution."""
    found = [np.array([0, 1])]
    for tap in data.taps:
        found += [np.array([*tap.plus, *tap.minus, *(tap.local[:2] if tap.local else ())])]
    found += [np.array([*row.plus, *row.minus], np.int64) for row in data.banks]
    parts = [part for tap in data.taps for part in (tap.current, tap.power)] + [row.conductors for row in data.banks]
    found += [nodes for part in parts if part is not None for nodes in (part.at, part.columns)]
    return np.unique(np.concatenate(found)).astype(np.int64)


def _placed(part: Conductors | None, place: IntArray) -> Conductors | None:
    return None if part is None else replace(part, at=place[part.at], columns=place[part.columns])


def _placed_tap(row: TapControl, place: IntArray) -> TapControl:
    """With positions among the nodes that are looked at."""
    plus, minus = (tuple(place[np.array(own, np.int64)].tolist()) for own in (row.plus, row.minus))
    local = row.local and (int(place[row.local[0]]), int(place[row.local[1]]), row.local[2])
    current, power = _placed(row.current, place), _placed(row.power, place)
    return replace(row, plus=plus, minus=minus, local=local, current=current, power=power)


def _placed_bank(row: BankControl, place: IntArray) -> BankControl:
    plus, minus = (tuple(place[np.array(own, np.int64)].tolist()) for own in (row.plus, row.minus))
    return replace(row, plus=plus, minus=minus, conductors=_placed(row.conductors, place))


def _rows(copies: int, which: BoolArray | None) -> IntArray:
    return np.arange(copies) if which is None else np.flatnonzero(which)


class _Run:
    """One solve with controls.

    Attributes:
        memory: of the copies that are solved.
        unsettled: (B) copies whose controls find no rest.
    """

    def __init__(
        self, controls: CircuitControls, tap: IntArray, closed: BoolArray, memory: BankMemory, rows: IntArray
    ) -> None:
        self._regulators, self._banks, data = controls.regulators, controls.banks, controls.data
        self._step, self._offset = data.step, data.offset
        self._solved, self.memory = rows, memory
        self._tap, self._closed = tap.astype(np.int64), closed.copy()
        copies = len(tap)
        self._failed, self.unsettled = np.zeros(copies, bool), np.zeros(copies, bool)
        self._solves, self._margin = np.zeros(copies, np.int64), np.full(copies, np.inf)
        self._start(np.arange(len(rows)))

    def _start(self, kept: IntArray) -> None:
        """Put these of the solved copies on their way. What is of moving copies alone has ``_rows`` as its axis."""
        self._kept, self._rows = kept, self._solved[kept]
        self._ratio = 1.0 + self._tap[self._rows] * self._step + self._offset
        self._taps, self._queue = self._regulators.start(len(kept)), self._banks.start(len(kept))
        self._live = self.memory.rows(kept)

    def repeat(self, tap: IntArray, closed: BoolArray, memory: BankMemory, again: BoolArray) -> None:
        """Put the copies ``again`` of those that are solved on their way once more, from the beginning."""
        rows = self._solved[again]
        self._tap[rows], self._closed[rows] = tap[rows], closed[rows]
        self._failed[rows] = self.unsettled[rows] = False
        self.memory.put(np.flatnonzero(again), memory)
        self._start(np.flatnonzero(again))

    def go(self, solve: SolveCopies) -> None:
        """Solve and let the controls act in turn, until no copy moves any more."""
        asked = np.zeros(len(self._tap), bool)
        for number in range(MOST_SOLVES):
            if not len(self._rows):
                return
            asked[:] = False
            asked[self._rows] = True
            v = self._solved_now(solve(self._tap, self._closed, asked))
            if number < MOST_SOLVES - 1:
                self._sample(v, number)
                self._act()
        self._failed[self._rows] = self.unsettled[self._rows] = True
        self._keep(np.zeros(len(self._rows), bool))

    def settled(self) -> Settled:
        """The answer."""
        return Settled(
            tap=self._tap,
            closed=self._closed,
            failed=self._failed,
            unsettled=self.unsettled,
            solves=self._solves,
            margin=self._margin,
        )

    def _solved_now(self, v: Complex) -> Complex:
        """The voltages of the copies that were solved and have a solution; the others are done."""
        v = v if len(self._rows) == len(v) else v[self._rows]
        solved: BoolArray = np.logical_and.reduce(np.isfinite(v), axis=-1)
        self._solves[self._rows] += 1
        if solved.all():
            return v
        self._failed[self._rows[~solved]] = True
        self._keep(solved)
        return v[solved]

    def _sample(self, v: Complex, number: int) -> None:
        """Ask every control; copies whose controls want nothing are done."""
        closed = self._closed[self._rows]
        near = self._regulators.sample(self._taps, v, self._ratio, closed, number)
        if self._banks.count:
            banks = self._banks.sample(self._queue, self._live, v, self._ratio, closed, number)
            near = np.minimum(near, banks)
        self._margin[self._rows] = np.minimum(self._margin[self._rows], near)
        self._now = np.minimum(self._taps.next_time(), self._queue.next_time())
        moving = self._now < np.inf
        self._keep(moving)
        self._now = self._now[moving]

    def _act(self) -> None:
        """Do what comes first."""
        if not len(self._rows):
            return
        near = self._regulators.act(self._taps, self._ratio, self._now)
        self._margin[self._rows] = np.minimum(self._margin[self._rows], near)
        self._tap[self._rows] = np.rint((self._ratio - 1.0 - self._offset) / self._step)
        if self._banks.count:
            self._banks.act(self._queue, self._live, self._now)
            self._closed[np.ix_(self._rows, self._banks.steps)] = self._live.closed

    def _keep(self, rows: BoolArray) -> None:
        if rows.all():
            return
        done = ~rows
        self.memory.put(self._kept[done], self._live.rows(np.flatnonzero(done)))
        self._live = self._live.rows(np.flatnonzero(rows))
        self._kept, self._rows, self._ratio = self._kept[rows], self._rows[rows], self._ratio[rows]
        self._taps.keep(rows)
        self._queue.keep(rows)

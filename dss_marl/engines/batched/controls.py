"""The circuit's own controls for many copies of a feeder at once, over any solver of its power flows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dss_marl.engines.batched.bank_control import BankControls, BankMemory
from dss_marl.engines.batched.measuring import Complex
from dss_marl.engines.batched.regulator_control import RegulatorControls
from dss_marl.engines.opendss.control_data import ControlData
from dss_marl.grid.state import Array, BoolArray, IntArray

# (B, 1 + Y) voltages [V], ground first, in the order of ControlData.nodes, of the copies (B) that are True, with taps
# (B, R) and states (B, S); not a number where a copy has no solution. Other rows may hold anything.
SolveCopies = Callable[[IntArray, BoolArray, BoolArray], Complex]
MOST_SOLVES = 100  # OpenDSS's, in one solve with controls


@dataclass(frozen=True)
class Settled:
    """Where the controls came to rest.

    Attributes:
        tap: (B, R) positions.
        closed: (B, S) states.
        v: (B, 1 + Y) voltages of the last power flow of each copy, ground first [V].
        failed: (B) True where a power flow has no solution, or the controls find no rest.
        unsettled: (B) True where it was the controls.
        solves: (B) power flows.
        margin: (B) how near any decision was to another one, as a share of what was compared; a solver whose voltages
            differ by more may lead the controls elsewhere.
    """

    tap: IntArray
    closed: BoolArray
    v: Complex
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
    """

    def __init__(self, data: ControlData) -> None:
        nodes = len(data.nodes) + 1
        self.data = data
        self.regulators = RegulatorControls(data.taps, len(data.step), nodes)
        self.banks = BankControls(data.banks, data.moved, len(data.step), nodes)

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
            memory: what is kept from solve to solve, changed in place; None for that of a new engine.
            wanted: (B) the copies; None for all.
        """
        run = _Run(self, tap, closed, memory, _rows(len(tap), wanted))
        asked = np.zeros(len(tap), bool)
        for number in range(MOST_SOLVES):
            if not len(run.rows):
                break
            asked[:] = False
            asked[run.rows] = True
            run.read(solve(run.tap, run.closed, asked))
            if number == MOST_SOLVES - 1:
                run.give_up()
            else:
                run.sample(number)
                run.act()
        if memory is not None:
            memory.put(run.solved, run.memory)
        return run.settled()


def _rows(copies: int, which: BoolArray | None) -> IntArray:
    return np.arange(copies) if which is None else np.flatnonzero(which)


class _Run:
    """One solve with controls. What is of copies that still move alone has their ``rows`` as its axis."""

    def __init__(
        self, controls: CircuitControls, tap: IntArray, closed: BoolArray, memory: BankMemory | None, rows: IntArray
    ) -> None:
        self._regulators, self._banks, data = controls.regulators, controls.banks, controls.data
        self._step, self._offset = data.step, data.offset
        self.rows = rows
        self.tap, self.closed = tap.astype(np.int64), closed.copy()
        self._ratio = 1.0 + tap[rows] * self._step + self._offset
        own = self._banks.remember(closed) if memory is None else memory
        self.memory = self._banks.observe(own.rows(rows), closed[rows])
        self.solved, self._kept = rows, np.arange(len(rows))
        self._taps, self._queue = self._regulators.start(len(rows)), self._banks.start(len(rows))
        copies = len(tap)
        self.v: Complex = np.zeros((copies, 0), complex)
        self._failed, self._unsettled = np.zeros(copies, bool), np.zeros(copies, bool)
        self._solves, self._margin = np.zeros(copies, np.int64), np.full(copies, np.inf)
        self._live = self.memory.rows(self._kept)

    def read(self, v: Complex) -> None:
        """Take the voltages of the copies that were solved; those without a solution are done."""
        if not self.v.size:
            self.v = np.array(v, complex)
        self.v[self.rows] = v[self.rows]
        self._solves[self.rows] += 1
        solved: BoolArray = np.logical_and.reduce(np.isfinite(v[self.rows]), axis=-1)
        self._failed[self.rows[~solved]] = True
        self._keep(solved)

    def sample(self, number: int) -> None:
        """Ask every control; copies whose controls want nothing are done."""
        v, closed = self.v[self.rows], self.closed[self.rows]
        near = self._regulators.sample(self._taps, v, self._ratio, closed, number)
        if self._banks.count:
            banks = self._banks.sample(self._queue, self._live, v, self._ratio, closed, number)
            near = np.minimum(near, banks)
        self._margin[self.rows] = np.minimum(self._margin[self.rows], near)
        self._now = np.minimum(self._taps.next_time(), self._queue.next_time())
        moving = self._now < np.inf
        self._keep(moving)
        self._now = self._now[moving]

    def act(self) -> None:
        """Do what comes first."""
        if not len(self.rows):
            return
        near = self._regulators.act(self._taps, self._ratio, self._now)
        self._margin[self.rows] = np.minimum(self._margin[self.rows], near)
        self.tap[self.rows] = np.rint((self._ratio - 1.0 - self._offset) / self._step)
        if self._banks.count:
            self._banks.act(self._queue, self._live, self._now)
            self.closed[np.ix_(self.rows, self._banks.steps)] = self._live.closed

    def give_up(self) -> None:
        """The controls that still move find no rest."""
        self._failed[self.rows] = self._unsettled[self.rows] = True
        self._keep(np.zeros(len(self.rows), bool))

    def settled(self) -> Settled:
        """The answer."""
        return Settled(self.tap, self.closed, self.v, self._failed, self._unsettled, self._solves, self._margin)

    def _keep(self, rows: BoolArray) -> None:
        if rows.all():
            return
        done = ~rows
        self.memory.put(self._kept[done], self._live.rows(np.flatnonzero(done)))
        self._live = self._live.rows(np.flatnonzero(rows))
        self._kept, self.rows, self._ratio = self._kept[rows], self.rows[rows], self._ratio[rows]
        self._taps.keep(rows)
        self._queue.keep(rows)

"""CapControls of many copies at once: what they measure, queue and do.

Their behaviour is OpenDSS's in static control mode, with its details: a control looks at whether the terminal of its
bank is open, and not at the steps; it opens the terminal with the last step, and a bank that has been opened waits for
its dead time before it closes, for as long as OpenDSS runs, whose clock stands still here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from dss_marl.engines.batched.controls.control_queue import NEVER, Turns
from dss_marl.engines.batched.controls.measuring import Complex, Currents, padded
from dss_marl.engines.opendss.control_data import AVERAGE, MAX_PHASE, MIN_PHASE, Bank, BankControl
from dss_marl.grid.state import Array, BoolArray, IntArray

NONE, OPEN, CLOSE = 0, 1, 2
_HOUR = 0.0  # of the engine's clock, which set points do not move


@dataclass
class BankMemory:
    """What the banks of n copies keep from one solve to the next, beside the states of their steps.

    Attributes:
        closed: (n, K) states of all steps, bank after bank, as they were left.
        last: (n, banks) the last step in service, from 1; 0 for none.
        terminal_open: (n, banks) whether a control has opened the bank's terminal.
        opened: (n, C) whether each control has ever opened its bank, which it then does not close so soon.
    """

    closed: BoolArray
    last: IntArray
    terminal_open: BoolArray
    opened: BoolArray

    def rows(self, rows: IntArray) -> BankMemory:
        """A copy for some of the copies."""
        return BankMemory(**{own.name: getattr(self, own.name)[rows] for own in fields(self)})

    def put(self, rows: IntArray, other: BankMemory) -> None:
        """Write ``other`` into these copies."""
        for own in fields(self):
            getattr(self, own.name)[rows] = getattr(other, own.name)


@dataclass
class BankQueue:
    """What the controls of n copies have queued, all (n, C).

    Attributes:
        pending: NONE, OPEN or CLOSE; what the control did not reset stays.
        armed: whether an action is queued; its time, NEVER for none [s].
        seen_open: whether the control takes its bank for open.
        serial: order of what is queued.
    """

    pending: IntArray
    armed: BoolArray
    time: Array
    seen_open: BoolArray
    serial: IntArray

    def keep(self, rows: BoolArray) -> None:
        """Only these copies."""
        for own in fields(self):
            setattr(self, own.name, getattr(self, own.name)[rows])

    def next_time(self) -> Array:
        """(n) when the next action is due; NEVER without any."""
        return np.minimum.reduce(self.time, axis=-1, initial=NEVER)


class BankControls:
    """The CapControls of a circuit.

    Args:
        rows: the controls, in the order in which OpenDSS asks them.
        banks: what they move.
        taps: number of taps R.
    """

    def __init__(self, rows: Sequence[BankControl], banks: Sequence[Bank], taps: int) -> None:
        self.count, self._banks = len(rows), len(banks)
        self._bank = np.array([row.bank for row in rows], np.int64)
        self._turns = Turns(self._bank.tolist())
        self.steps = np.array([s for bank in banks for s in bank.steps], np.int64)
        sizes = np.array([len(bank.steps) for bank in banks], np.int64)
        self._sizes, self._first = sizes, np.cumsum(sizes) - sizes
        self._position = np.concatenate([np.arange(1, n + 1) for n in sizes] + [np.zeros(0, np.int64)])
        kinds = np.array([row.kind for row in rows], str)
        self._is = {kind: kinds == kind for kind in ("current", "voltage", "kvar", "time", "powerfactor")}
        self._on, self._off = np.array([row.on for row in rows]), np.array([row.off for row in rows])
        self._minimum = np.array([row.minimum_kvar for row in rows]).reshape(-1, 2)
        self._overridden = np.array([row.override is not None for row in rows], bool)
        limits = np.array([row.override or (0.0, np.inf) for row in rows]).reshape(-1, 2)
        self._v_min, self._v_max = limits[:, 0], limits[:, 1]
        self._delay = np.array([row.delay_s for row in rows])
        self._delay_off = np.array([row.delay_off_s for row in rows])
        self._dead_time = np.array([row.dead_time_s for row in rows])
        self._measure(rows, taps)

    def _measure(self, rows: Sequence[BankControl], taps: int) -> None:
        self._plus, self._minus = padded([row.plus for row in rows]), padded([row.minus for row in rows])
        self._phases = np.array([[k < len(row.plus) for k in range(self._plus.shape[1])] for row in rows], bool)
        self._voltage = _Choice([row.voltage for row in rows], self._phases)
        self._pt = np.array([row.pt_ratio for row in rows])
        self._ct = np.array([row.ct_ratio for row in rows])
        self._lines = Currents([row.conductors for row in rows], taps)
        self._current = _Choice([row.current for row in rows], self._lines.rows != self._lines.zero)

    # --- memory --------------------------------------------------------------------------------------------------

    def remember(self, closed: BoolArray) -> BankMemory:
        """As in a new engine with these states (n, S)."""
        own = closed[:, self.steps]
        shape = len(closed), self._banks
        opened = np.zeros((len(closed), self.count), bool)
        return BankMemory(own.copy(), self._last(own), np.zeros(shape, bool), opened)

    def observe(self, memory: BankMemory, closed: BoolArray) -> BankMemory:
        """After set points (n, S), which close the terminal of a bank whose states they change."""
        own = closed[:, self.steps]
        if not own.size:
            return memory
        changed = np.logical_or.reduceat(own != memory.closed, self._first, axis=-1)
        last = np.where(changed, self._last(own), memory.last)
        return replace(memory, closed=own.copy(), last=last, terminal_open=memory.terminal_open & ~changed)

    def _last(self, own: BoolArray) -> IntArray:
        if not own.size:
            return np.zeros((len(own), self._banks), np.int64)
        found: IntArray = np.maximum.reduceat(own * self._position, self._first, axis=-1)
        return found

    def start(self, copies: int) -> BankQueue:
        """Nothing queued."""
        shape = copies, self.count
        no = np.zeros(shape, bool)
        return BankQueue(np.zeros(shape, np.int64), no, np.full(shape, NEVER), no.copy(), np.zeros(shape, np.int64))

    def is_new(self, memory: BankMemory) -> BoolArray:
        """(n) whether it is what a new engine would remember of these states."""
        stale = memory.terminal_open.any(axis=-1) | memory.opened.any(axis=-1)
        fresh: BoolArray = ~stale & (memory.last == self._last(memory.closed)).all(axis=-1)
        return fresh

    # --- sampling ------------------------------------------------------------------------------------------------

    def sample(
        self,
        queue: BankQueue,
        memory: BankMemory,
        v: Complex,
        ratio: Array,
        closed: BoolArray,
        asked: int,
    ) -> Array:
        """Measure, and queue what follows.

        Args:
            queue, memory: of n copies; the queue is changed in place.
            v, ratio, closed: of these copies, see Currents.
            asked: number of this sampling, from 0.

        Returns:
            (n) distance to where any control would decide otherwise, as a share of what it compares.
        """
        queue.seen_open = seen_open = memory.terminal_open[:, self._bank]
        on, off, more, margin = self._wishes(v, ratio, closed, len(v))
        volts = self._volts(v)
        low, high = self._overridden & seen_open & (volts < self._v_min), self._overridden & (volts > self._v_max)
        forced = low | (high & ~seen_open)
        room = memory.last[:, self._bank] < self._sizes[self._bank]
        pending = np.where(seen_open, np.where(on, CLOSE, NONE), NONE)
        pending = np.where(~seen_open & room & ~self._is["voltage"], queue.pending, pending)  # not reset
        pending = np.where(~seen_open & room & more, CLOSE, pending)
        pending = np.where(~seen_open & off, OPEN, pending)
        should = np.where(seen_open, on, off | (room & more)) | forced
        queue.pending = np.where(forced, np.where(seen_open, CLOSE, OPEN), pending)
        self._push(queue, memory, should, asked)
        limit = np.where(seen_open, self._v_min, self._v_max)
        near = np.abs(volts - limit) / np.maximum(volts, 1e-9)
        found: Array = np.minimum(margin, np.where(self._overridden, near, np.inf)).min(axis=-1, initial=np.inf)
        return found

    def _push(self, queue: BankQueue, memory: BankMemory, should: BoolArray, asked: int) -> None:
        pushed = should & ~queue.armed
        closing = np.where(memory.opened, self._delay + np.maximum(self._dead_time, 0.0), self._delay)
        queue.time = np.where(pushed, np.where(queue.pending == CLOSE, closing, self._delay_off), queue.time)
        queue.serial = np.where(pushed, asked * self.count + np.arange(self.count), queue.serial)
        queue.armed |= pushed
        content = queue.armed & (queue.pending == NONE)
        queue.time[content] = NEVER
        queue.armed[content] = False

    def _volts(self, v: Complex) -> Array:
        """(n, C) the voltage that counts [V]."""
        return self._voltage(np.abs(v[:, self._plus] - v[:, self._minus])) / self._pt

    def _wishes(
        self, v: Complex, ratio: Array, closed: BoolArray, copies: int
    ) -> tuple[BoolArray, BoolArray, BoolArray, Array]:
        """(n, C) whether to close an open bank, to open a closed one, to close one step more; and the margin."""
        on, off, more = (np.zeros((copies, self.count), bool) for _ in range(3))
        margin = np.full((copies, self.count), np.inf)
        which = self._is["voltage"]
        if which.any():
            volts = self._volts(v)
            _put(which, (on, volts < self._on), (off, volts > self._off), (more, volts < self._on))
            _put(which, (margin, _share(volts, self._on, self._off)))
        if self._lines.size:
            self._wishes_of_lines(v, ratio, closed, (on, off, more, margin))
        which = self._is["time"]
        within = np.where(self._off > self._on, (self._on <= _HOUR) & (self._off > _HOUR), self._on <= _HOUR)
        over = (self._off <= _HOUR) | (self._on > _HOUR)
        over = np.where(self._off > self._on, over, (self._off <= _HOUR) & (self._on > _HOUR))
        _put(which, (on, within), (off, over), (more, within))
        return on, off, more, margin

    def _wishes_of_lines(
        self, v: Complex, ratio: Array, closed: BoolArray, into: tuple[BoolArray, BoolArray, BoolArray, Array]
    ) -> None:
        on, off, more, margin = into
        current = self._lines(v, ratio, closed)
        amps = self._current(np.abs(current[:, self._lines.rows])) / self._ct
        _put(self._is["current"], (on, amps > self._on), (off, amps < self._off), (more, amps > self._on))
        _put(self._is["current"], (margin, _share(amps, self._on, self._off)))
        power = self._lines.power(v, current)
        kvar = power.imag * 0.001
        _put(self._is["kvar"], (on, kvar > self._on), (off, kvar < self._off), (more, kvar > self._on))
        _put(self._is["kvar"], (margin, _share(kvar, self._on, self._off)))
        size = np.abs(power)
        factor = np.divide(np.abs(power.real), size, out=np.ones_like(size), where=size != 0)
        factor = np.where(kvar < 0, 2 - factor, factor)
        lags = factor < self._on
        first, second = self._minimum.T
        which = self._is["powerfactor"]
        _put(which, (on, lags & (kvar > first)), (off, factor > self._off), (more, lags & (kvar > second)))
        near = np.minimum(_share(factor, self._on, self._off), _share(kvar, first, second))
        _put(which, (margin, np.minimum(near, np.abs(kvar) / np.maximum(size * 0.001, 1e-9))))

    # --- acting --------------------------------------------------------------------------------------------------

    def act(self, queue: BankQueue, memory: BankMemory, now: Array) -> None:
        """Do what is due at ``now`` (n) [s]; queue and memory are changed in place."""
        due = queue.time <= now[:, None]
        for acting in self._turns(due, queue.serial):
            opening = acting & (queue.pending == OPEN) & ~queue.seen_open
            self._subtract(queue, memory, *np.nonzero(opening))
            self._add(queue, memory, *np.nonzero(acting & (queue.pending == CLOSE)))
        queue.time[due] = NEVER
        queue.armed[due] = False

    def _subtract(self, queue: BankQueue, memory: BankMemory, rows: IntArray, controls: IntArray) -> None:
        banks = self._bank[controls]
        last = memory.last[rows, banks]
        some = last > 0
        memory.closed[rows[some], (self._first[banks] + last - 1)[some]] = False
        memory.last[rows, banks] = np.maximum(last - 1, 0)
        empty = last <= 1
        memory.terminal_open[rows[empty], banks[empty]] = True
        queue.seen_open[rows[empty], controls[empty]] = True
        whole = self._sizes[banks] == 1
        memory.opened[rows[whole], controls[whole]] = True

    def _add(self, queue: BankQueue, memory: BankMemory, rows: IntArray, controls: IntArray) -> None:
        banks = self._bank[controls]
        opened = queue.seen_open[rows, controls]
        memory.terminal_open[rows[opened], banks[opened]] = False
        queue.seen_open[rows, controls] = False
        last = memory.last[rows, banks]
        room = last < self._sizes[banks]
        memory.closed[rows[room], (self._first[banks] + last)[room]] = True
        memory.last[rows, banks] = last + room


class _Choice:
    """The one of several values that counts: one of them, or the highest, lowest or mean.

    Args:
        which: (C) place, or MAX_PHASE, MIN_PHASE or AVERAGE.
        there: (C, P) which are values at all.
    """

    def __init__(self, which: Sequence[int], there: BoolArray) -> None:
        choice = np.array(which, np.int64)
        self._there, self._place = there, np.maximum(choice, 0)
        self._highest, self._lowest, self._mean = choice == MAX_PHASE, choice == MIN_PHASE, choice == AVERAGE
        self._plain = bool((choice >= 0).all())
        self._number = np.maximum(there.sum(axis=-1), 1)

    def __call__(self, values: Array) -> Array:
        """(n, C) of values (n, C, P)."""
        if not values.shape[-1]:
            return np.zeros(values.shape[:-1])
        found: Array = values[:, np.arange(len(self._place)), self._place]
        if self._plain:
            return found
        found = np.where(self._highest, np.where(self._there, values, 0.0).max(axis=-1), found)
        found = np.where(self._lowest, np.where(self._there, values, np.inf).min(axis=-1), found)
        return np.where(self._mean, np.where(self._there, values, 0.0).sum(axis=-1) / self._number, found)


def _put(which: BoolArray, *pairs: tuple[np.ndarray, np.ndarray]) -> None:
    """Write the columns ``which`` of each second array into the first."""
    for into, values in pairs:
        into[:, which] = np.broadcast_to(values, into.shape)[:, which]


def _share(value: Array, *limits: Array) -> Array:
    """Distance to the nearest of some limits, relative to the value or the limit."""
    near = [np.abs(value - limit) / np.maximum(np.maximum(np.abs(value), np.abs(limit)), 1e-9) for limit in limits]
    return np.minimum.reduce(near)

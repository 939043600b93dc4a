"""RegControls of many copies at once: what they measure, queue and do.

Their behaviour is OpenDSS's in static control mode: a control that finds its voltage out of band queues a tap change
with its delay, asks again after every power flow, and moves seven tenths of the way, one step at least, when its time
has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from dss_marl.engines.batched.controls.control_queue import NEVER, Turns
from dss_marl.engines.batched.controls.measuring import Complex, Currents, padded
from dss_marl.engines.opendss.control_data import MAX_PHASE, MIN_PHASE, TapControl, Target
from dss_marl.grid.state import Array, BoolArray, IntArray

_FARTHEST = 10.0  # half bands, beyond which an inverse time does not fall any more
_SHARE = 0.7  # of the way that one action goes
_AT_NEUTRAL = 1e-12


@dataclass
class TapQueue:
    """What the controls of n copies have queued, all (n, C).

    Attributes:
        pending: change of ratio that will be made [1].
        armed: whether one is queued.
        change, neutral, turn: times of the actions, NEVER for none; the one to neutral cannot be taken back [s].
        turning: whether the power has been flowing the other way.
        turned: whether the control looks the other way.
        serial: order of what is queued.
        rounding: distance of the change from where it would be another one, [1] of the ratio.
    """

    pending: Array
    armed: BoolArray
    change: Array
    neutral: Array
    turn: Array
    turning: BoolArray
    turned: BoolArray
    serial: IntArray
    rounding: Array

    def keep(self, rows: BoolArray) -> None:
        """Only these copies."""
        for own in fields(self):
            setattr(self, own.name, getattr(self, own.name)[rows])

    def next_time(self) -> Array:
        """(n) when the next action is due; NEVER without any."""
        earliest = np.minimum(np.minimum(self.change, self.neutral), self.turn)
        return np.minimum.reduce(earliest, axis=-1, initial=NEVER)


class _Targets:
    """(C) of each quantity of several targets."""

    def __init__(self, rows: Sequence[Target]) -> None:
        self.volts = np.array([row.volts for row in rows])
        self.half_band = np.array([row.band / 2 for row in rows])
        self.z = np.array([row.z for row in rows], complex)
        self.magnitude = np.array([row.volts_per_current for row in rows])


class RegulatorControls:
    """The RegControls of a circuit.

    Args:
        rows: the controls, in the order in which OpenDSS asks them.
        taps: number of taps R.
    """

    def __init__(self, rows: Sequence[TapControl], taps: int) -> None:
        self.count = len(rows)
        self.tap = np.array([row.tap for row in rows], np.int64)
        self._turns = Turns(self.tap.tolist())
        self._increment = np.array([row.increment for row in rows])
        self._lowest = np.array([row.lowest for row in rows])
        self._highest = np.array([row.highest for row in rows])
        self._opposite = np.array([row.opposite for row in rows], bool)
        self._measure(rows, taps)
        self._forward = _Targets([row.forward for row in rows])
        self._backward = _Targets([row.backward for row in rows])
        self._turns_round = np.array([row.power is not None for row in rows], bool)
        self._may_turn = bool(self._turns_round.any())
        self._cogeneration = np.array([row.cogeneration for row in rows], bool)
        self._to_neutral = np.array([row.to_neutral for row in rows], bool) & self._turns_round
        self._threshold = np.array([row.threshold_w for row in rows])
        self._delay = np.array([row.delay_s for row in rows])
        self._tap_delay = np.array([row.tap_delay_s for row in rows])
        self._turn_delay = np.array([row.turn_delay_s for row in rows])
        self._inverse = np.array([row.inverse_time for row in rows], bool)
        self._most = np.array([row.most for row in rows])

    def _measure(self, rows: Sequence[TapControl], taps: int) -> None:
        self._plus, self._minus = padded([row.plus for row in rows]), padded([row.minus for row in rows])
        phase = np.array([row.phase for row in rows], np.int64)
        self._highest_phase, self._lowest_phase = phase == MAX_PHASE, phase == MIN_PHASE
        self._phase = np.maximum(phase, 0)
        self._chosen = bool((phase < 0).any())
        self._pt = np.array([row.pt_ratio for row in rows])
        self._per_ratio = np.array([row.volts_per_ratio for row in rows])
        self._compensated = np.array([row.compensated for row in rows], bool)
        self._ct = np.array([row.ct for row in rows])
        self._by_magnitude = np.array([row.forward.volts_per_current != 0 for row in rows], bool)
        self._lines = Currents([row.current for row in rows], taps)
        self._terminals = Currents([row.power for row in rows], taps)
        self._limit = np.array([row.limit for row in rows])
        self._limited = self._limit > 0
        local = [(0, 0, 1.0) if row.local is None else row.local for row in rows]
        self._is_local = np.array([row.local is not None for row in rows], bool)
        self._local_plus, self._local_minus = (np.array([row[k] for row in local], np.int64) for k in (0, 1))
        self._local_pt = np.array([row[2] for row in local])

    def start(self, copies: int) -> TapQueue:
        """Nothing queued, all looking forward."""
        shape = copies, self.count
        never = np.full(shape, NEVER)
        no, zero = np.zeros(shape, bool), np.zeros(shape)
        return TapQueue(
            pending=zero,
            armed=no,
            change=never,
            neutral=never.copy(),
            turn=never.copy(),
            turning=no.copy(),
            turned=no.copy(),
            serial=np.zeros(shape, np.int64),
            rounding=np.full(shape, np.inf),
        )

    # --- sampling ------------------------------------------------------------------------------------------------

    def sample(self, queue: TapQueue, v: Complex, ratio: Array, closed: BoolArray, asked: int) -> Array:
        """Measure, and queue what follows.

        Args:
            queue: of n copies; changed in place.
            v, ratio, closed: of these copies, see Currents.
            asked: number of this sampling, from 0.

        Returns:
            (n) distance to where any control would decide otherwise, as a share of what it compares.
        """
        present = ratio[:, self.tap]
        margin = np.full(len(v), np.inf)
        idle = np.zeros(queue.armed.shape, bool)
        serial = asked * self.count + np.arange(self.count)
        if self._may_turn:
            margin = self._look(queue, v, ratio, closed)
            idle = self._go_to_neutral(queue, present, serial)
        back = queue.turned
        seen, local = self._voltage(v)
        seen = self._compensate(seen, back, v, ratio, closed)
        reverse = back & ~self._cogeneration
        actual = np.abs(seen)
        if self._may_turn:
            actual = np.where(reverse, actual / present, actual)
        return np.minimum(margin, self._decide(queue, actual, local, present, idle, serial))

    def _look(self, queue: TapQueue, v: Complex, ratio: Array, closed: BoolArray) -> Array:
        """Queue a turn where power flows the other way, and take it back where it does not any more."""
        flows = -self._terminals.power(v, self._terminals(v, ratio, closed)).real
        away = np.where(queue.turned, flows - self._threshold, -flows - self._threshold)
        queue.turning, before = self._turns_round & (away > 0), queue.turning
        started, stopped = queue.turning & ~before, before & ~queue.turning
        queue.turn[started] = np.broadcast_to(self._turn_delay, started.shape)[started]
        queue.turn[stopped] = NEVER
        scale = np.maximum(np.abs(flows), self._threshold) + 1.0
        margin = np.where(self._turns_round, np.abs(away) / scale, np.inf)
        nearest: Array = margin.min(axis=-1)
        return nearest

    def _go_to_neutral(self, queue: TapQueue, present: Array, serial: IntArray) -> BoolArray:
        """(n, C) which are turned and only go to neutral; they do nothing else."""
        there = self._to_neutral & queue.turned
        free = there & ~queue.armed
        change = np.rint((1.0 - present) / self._increment) * self._increment
        change[np.abs(present - 1.0) <= _AT_NEUTRAL] = 0.0
        queue.pending = np.where(free, change, queue.pending)
        pushed = free & (change != 0)
        queue.neutral = np.where(pushed, self._tap_delay, queue.neutral)
        queue.serial = np.where(pushed, serial, queue.serial)
        queue.rounding[pushed] = np.inf
        queue.armed |= pushed
        return there

    def _voltage(self, v: Complex) -> tuple[Complex, Array]:
        """(n, C) voltage of the phase that counts, and the one that the limit holds for [V]."""
        across = v[:, self._plus] - v[:, self._minus]
        place = np.broadcast_to(self._phase, across.shape[:2])
        if self._chosen:
            size = np.abs(across)
            place = np.where(self._highest_phase, size.argmax(axis=-1), place)
            place = np.where(self._lowest_phase, size.argmin(axis=-1), place)
        self._place = place
        seen: Complex = np.take_along_axis(across, place[..., None], axis=-1)[..., 0] / self._pt
        if not self._limited.any():
            return seen, np.zeros(seen.shape)
        own = np.abs(v[:, self._local_plus] - v[:, self._local_minus]) / self._local_pt
        return seen, np.where(self._is_local, own, np.abs(seen))

    def _compensate(self, seen: Complex, back: BoolArray, v: Complex, ratio: Array, closed: BoolArray) -> Complex:
        """Voltages behind the line drop."""
        if not self._lines.size:
            return seen
        current = self._lines(v, ratio, closed)
        rows = np.broadcast_to(self._lines.rows, (len(v), *self._lines.rows.shape))
        row = np.take_along_axis(rows, np.minimum(self._place, rows.shape[-1] - 1)[..., None], axis=-1)[..., 0]
        own = np.take_along_axis(current, row, axis=-1) / self._ct
        z = np.where(back, self._backward.z, self._forward.z)
        drop = np.where(back, self._backward.magnitude, self._forward.magnitude)
        by_magnitude = np.abs(seen) - np.abs(own) * drop
        found: Complex = np.where(self._by_magnitude, by_magnitude, seen + z * own)  # the current flows in
        return np.where(self._compensated, found, seen)

    def _decide(
        self, queue: TapQueue, actual: Array, local: Array, present: Array, idle: BoolArray, serial: IntArray
    ) -> Array:
        """Queue tap changes, or take them back; returns (n) the margin."""
        back = queue.turned
        target = np.where(back, self._backward.volts, self._forward.volts)
        half = np.where(back, self._backward.half_band, self._forward.half_band)
        boost = target - actual
        beyond = np.abs(boost) - half
        over = self._limited & (local > self._limit)
        needed = (beyond > 0) | over
        boost = np.where(over, self._limit - local, boost)
        steps = boost / self._per_ratio / self._increment
        change = np.rint(steps) * self._increment
        mirrored = self._opposite | (back & ~self._cogeneration)
        change = np.where(mirrored, -change, change)
        asks = needed & ~idle
        queue.pending = np.where(idle, queue.pending, np.where(needed, change, 0.0))
        queue.rounding = np.where(asks, (0.5 - np.abs(steps - np.rint(steps))) * self._increment, queue.rounding)
        room = np.where(change > 0, present < self._highest, present > self._lowest)
        pushed = asks & (change != 0) & ~queue.armed & room
        self._push(queue, pushed, actual, serial)
        content = queue.armed & ~needed & ~idle
        queue.change[content] = NEVER
        queue.armed[content] = False
        near = np.abs(beyond) / np.maximum(target, half)
        near = np.where(
            self._limited, np.minimum(near, np.abs(local / np.where(self._limited, self._limit, 1) - 1)), near
        )
        margin: Array = np.where(idle, np.inf, near).min(axis=-1, initial=np.inf)
        return margin

    def _push(self, queue: TapQueue, pushed: BoolArray, actual: Array, serial: IntArray) -> None:
        delay = np.broadcast_to(self._delay, pushed.shape)
        if self._inverse.any():
            with np.errstate(divide="ignore", invalid="ignore"):
                bands = np.minimum(_FARTHEST, np.abs(self._forward.volts - actual) / self._forward.half_band)
                delay = np.where(self._inverse, self._delay / bands, self._delay)
        queue.change = np.where(pushed, delay, queue.change)
        queue.serial = np.where(pushed, serial, queue.serial)
        queue.armed |= pushed

    # --- acting --------------------------------------------------------------------------------------------------

    def act(self, queue: TapQueue, ratio: Array, now: Array) -> Array:
        """Do what is due.

        Args:
            queue, ratio: of n copies, (n, R); changed in place.
            now: (n) time of the queue [s].

        Returns:
            (n) distance to where an action would have been another one [1].
        """
        time = now[:, None]
        moving = (queue.change <= time) | (queue.neutral <= time)
        margin = np.where(moving & (queue.pending != 0), queue.rounding, np.inf).min(axis=-1, initial=np.inf)
        for acting in self._turns(moving, queue.serial):
            self._move(queue, ratio, acting)
        queue.change[queue.change <= time] = NEVER
        queue.neutral[queue.neutral <= time] = NEVER
        if self._may_turn:
            turning = queue.turn <= time
            queue.turned ^= turning & queue.turning
            queue.turning &= ~turning
            queue.turn[turning] = NEVER
        found: Array = margin
        return found

    def _move(self, queue: TapQueue, ratio: Array, acting: BoolArray) -> None:
        rows, controls = np.nonzero(acting)
        pending, increment = queue.pending[rows, controls], self._increment[controls]
        steps = np.clip(np.trunc(_SHARE * np.abs(pending) / increment), 1, self._most[controls])
        change = np.sign(pending) * steps * increment
        taps = self.tap[controls]
        moved = np.clip(ratio[rows, taps] + change, self._lowest[controls], self._highest[controls])
        ratio[rows, taps] = np.where(pending == 0, ratio[rows, taps], moved)
        queue.pending[rows, controls] = 0.0
        queue.armed[rows, controls] = False

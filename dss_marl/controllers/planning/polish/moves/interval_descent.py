"""IntervalDescent: the numbers of every interval improved at once, by what each interval itself earns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.controllers.planning.polish.plan_entries import PlanEntries, as_kept
from dss_marl.controllers.planning.polish.playing.day_player import Course
from dss_marl.controllers.planning.polish.playing.judge import Judge
from dss_marl.grid.state import Array, IntArray

_FIRST_STEP, _LEAST_STEP = 0.1, 0.004
_ROUNDS = 25
_LENGTHS = (0.25, 0.5, 1.0, 1.6)  # of the step that the slopes and curvatures propose
_RANDOM = 3  # directions tried besides
_NEARBY = (-2, -1, 1, 2)  # intervals whose entries are tried
_DIFFERENCES = (0.1, 0.3, 0.6, 1.0)  # lengths of the differences between two intervals nearby, as in evolution
_LITTLE = 1e-9
_ENTRIES = 60  # tried in a round at most, in turn


@dataclass
class _Front:
    """Where the descent is: (T, n) entries and steps, (T) rewards, (T, n) the last change."""

    x: Array
    step: Array
    reward: Array
    change: Array


class IntervalDescent:
    """A pattern search with curvatures, for all intervals side by side.

    It looks at each interval alone, from the state in which the plan enters it. That is exact for reactive power and
    curtailment where no control of the circuit answers; elsewhere it makes a proposal.

    Args:
        judge: of the day.
        entries: of the task.

    Attributes:
        places: (n) the entries.
    """

    def __init__(self, judge: Judge, entries: PlanEntries) -> None:
        self._judge = judge
        self.places: IntArray = np.flatnonzero(entries.instant & judge.free.any(axis=0))
        self._free = judge.free[:, self.places]
        self._rng = np.random.default_rng(1)
        self._turn = 0
        self._step = np.where(self._free, _FIRST_STEP, 0.0)

    def improved(self, plan: Array, last: int) -> Array:
        """(T, F) the plan with better entries, by their own intervals.

        Args:
            plan: (T, F).
            last: amount of the judge's work at which to end.
        """
        course = self._judge.course(plan)
        front = _Front(plan[:, self.places], self._step, course.rewards.copy(), np.zeros(self._step.shape))
        for _ in range(_ROUNDS):
            active = (front.step > _LEAST_STEP).any(axis=1)
            if not active.any() or self._judge.work >= last:
                break
            self._round(plan, course, front, np.flatnonzero(active))
        self._step = np.where(self._free, np.maximum(front.step, 4 * _LEAST_STEP), 0.0)  # of the next call
        result = plan.copy()
        result[:, self.places] = front.x
        return result

    def _round(self, plan: Array, course: Course, front: _Front, steps: IntArray) -> None:
        """Try each entry both ways, then what follows of it; take the best of each interval (s)."""
        n, x, h = len(self.places), front.x[steps], front.step[steps]
        some = (np.arange(min(n, _ENTRIES)) + self._turn) % n
        self._turn = (self._turn + len(some)) % n
        moved = np.repeat(x[:, None], 2 * len(some), 1)  # (s, 2 m, n)
        moved[:, np.arange(len(some)), some] += h[:, some]
        moved[:, len(some) + np.arange(len(some)), some] -= h[:, some]
        tried, rewards = self._tried(plan, course, steps, moved)
        up, down, here = rewards[:, : len(some)], rewards[:, len(some) :], front.reward[steps]
        direction = np.zeros(x.shape)
        direction[:, some] = _newton(up, down, here[:, None], h[:, some])
        better = (np.maximum(up, down) > here[:, None] + _LITTLE) & (h[:, some] > 0)
        greedy = np.zeros(x.shape)
        greedy[:, some] = np.where(better, np.where(up > down, 1, -1), 0) * h[:, some]
        proposals = [x + length * direction for length in _LENGTHS]
        proposals += [x + greedy, x + 0.5 * greedy, x + front.change[steps]]
        proposals += [x + h * self._rng.standard_normal(x.shape) for _ in range(_RANDOM)]
        proposals += self._neighbours(front, steps)
        more, earned = self._tried(plan, course, steps, np.stack(proposals, axis=1))
        tried, rewards = np.concatenate([tried, more], axis=1), np.concatenate([rewards, earned], axis=1)
        best = rewards.argmax(axis=1)
        rows = np.arange(len(steps))
        gained = rewards[rows, best] > here + _LITTLE
        taken = np.where(gained[:, None], tried[rows, best], x)
        front.x[steps], front.change[steps] = taken, taken - x
        front.reward[steps] = np.where(gained, rewards[rows, best], here)
        factor = np.ones(x.shape)
        factor[:, some] = np.where(better, 1.25, 0.4)
        front.step[steps] = np.minimum(h * factor, 0.5)

    def _neighbours(self, front: _Front, steps: IntArray) -> list[Array]:
        """(s, n) the entries of intervals nearby, wholly or half, and differences between two of these.

        Where limits of the voltage bind, better points lie along an edge that single entries do not follow; intervals
        nearby know its direction.
        """
        made, last, free = [], len(front.x) - 1, self._free[steps]
        here = front.x[steps]
        for far in _NEARBY:
            there = front.x[np.clip(steps + far, 0, last)]
            made += [here + part * (there - here) * free for part in (0.5, 1.0)]
        for size in _DIFFERENCES:
            one, two = (np.clip(steps + self._rng.integers(-6, 7, len(steps)), 0, last) for _ in range(2))
            made.append(here + size * (front.x[one] - front.x[two]) * free)
        return made

    def _tried(self, plan: Array, course: Course, steps: IntArray, x: Array) -> tuple[Array, Array]:
        """The entries (s, k, n) as kept, within bounds, and the rewards (s, k) of their intervals."""
        x = as_kept(x)
        requests = np.repeat(plan[steps][:, None], x.shape[1], 1)
        requests[:, :, self.places] = x
        rewards = self._judge.intervals(course, np.repeat(steps, x.shape[1]), requests.reshape(-1, requests.shape[-1]))
        return x, rewards.reshape(x.shape[:2])


def _newton(up: Array, down: Array, here: Array, h: Array) -> Array:
    """(s, m) step of each entry to the top of the parabola through three points, at most four steps."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slope, bend = (up - down) / 2, up - 2 * here + down  # per step, and per step squared
        steps = np.where(bend < 0, -slope / bend, 4 * np.sign(slope))
    return np.asarray(np.nan_to_num(np.clip(steps, -4, 4)) * h)

"""Improvement: a plan of a day made better move by move, each judged by the batched engine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dss_marl.controllers.planning.polish.moves.choice_moves import choice_moves
from dss_marl.controllers.planning.polish.moves.energy_moves import energy_moves
from dss_marl.controllers.planning.polish.moves.interval_descent import IntervalDescent
from dss_marl.controllers.planning.polish.plan_entries import PlanEntries, as_kept
from dss_marl.controllers.planning.polish.playing.judge import Judge
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array

_NODE_SOLVES_PER_S = 8e6  # on one core, with all that a step does besides
_SMALL = 100  # nodes of a feeder whose flows take as long as all the rest of a step
_WINDOWS = (1, 4, 16)  # intervals that are taken together when plans are merged
_TOGETHER = (2, 4, 8, 16, 32, 64, 10_000)  # moves that are merged, best first
_LITTLE = 2e-6  # share of the return below which a gain is noise of the engines
_IDLE_ROUNDS = 2  # rounds without a gain after which the search ends


class Improvement:
    """Rounds of moves: numbers of single intervals, energy shifted in time, choices shifted, added and taken back.

    Candidates that are better, as a whole or in some intervals, are merged, and the best merger is taken, so the plan
    never becomes worse.

    Args:
        judge: of the day.
        entries: of the task.
        plan: (T, F) at the start.
        seed: of the moves that are sampled.

    Attributes:
        plan: (T, F) the best so far, exact in half precision.
        total: its return on the batched engine; -inf if a power flow fails.
    """

    def __init__(self, judge: Judge, entries: PlanEntries, plan: Array, seed: int = 0) -> None:
        self._judge, self._entries = judge, entries
        self._rng = np.random.default_rng(seed)
        self.plan = as_kept(plan)
        self._rewards = judge.play(self.plan[None])[0]
        self._descent = IntervalDescent(judge, entries)

    @property
    def total(self) -> float:
        """See the class."""
        return float(self._rewards.sum())

    def run(self, work: int) -> float:
        """Improve with the work of about so many power flows, or until nothing helps; returns the gain."""
        start, idle, last = self.total, 0, self._judge.work + work
        if start == -np.inf:
            return 0.0
        while self._judge.work < last and idle < _IDLE_ROUNDS:
            before = self.total
            for plans in self._moves(last):
                self.offer(plans)
                if self._judge.work >= last:
                    break
            idle = 0 if self.total - before > 20 * self._least else idle + 1
        return self.total - start

    @property
    def _least(self) -> float:
        return _LITTLE * max(abs(self.total), 1.0)

    def _moves(self, last: int) -> Iterator[Array]:
        """One round: candidates (K, T, F) of each kind of move, around the plan as it is then."""
        yield self._neutral()
        if self._descent.places.size:
            yield self._descent.improved(self.plan, last)[None]
        storage = self._entries.continuous & ~self._entries.instant
        if storage.any():
            yield energy_moves(self._judge, np.flatnonzero(storage), self.plan, self._rng)
        if not self._entries.continuous.all():
            yield choice_moves(self._entries, self.plan, self._judge.many, self._rng)

    def _neutral(self) -> Array:
        """The plan with each group of entries neutral, and halfway there where these are numbers."""
        plans, entries = [], self._entries
        for places in entries.groups.values():
            for share in (1.0, 0.5):
                if share < 1 and not entries.continuous[places].all():
                    continue
                plan = self.plan.copy()
                plan[:, places] += share * (entries.neutral[places] - plan[:, places])
                plans.append(plan)
        return np.array(plans)

    def offer(self, plans: Array) -> float:
        """Take the best of these candidates (K, T, F) or of their mergers, if it is better; returns the gain."""
        plans = as_kept(plans)
        plans = plans[(plans != self.plan).any(axis=(1, 2))]
        if not len(plans):
            return 0.0
        rewards = self._judge.play(plans)
        merged = as_kept(np.array([*self._by_window(plans, rewards), *self._together(plans, rewards)]))
        both, found = plans, rewards
        if len(merged):
            both, found = np.concatenate([plans, merged]), np.concatenate([rewards, self._judge.play(merged)])
        totals = found.sum(axis=1)
        best = int(np.argmax(totals))
        gain = float(totals[best]) - self.total
        if not gain > self._least:
            return 0.0
        self.plan, self._rewards = both[best], found[best]
        return gain

    def _by_window(self, plans: Array, rewards: Array) -> Iterator[Array]:
        """Of each window, what earns most in it: exact where intervals do not depend on one another."""
        gains = np.where(np.isfinite(rewards), rewards, -1e9) - self._rewards
        steps = np.arange(len(self.plan))
        for width in _WINDOWS:
            starts = np.arange(0, len(steps), width)
            sums = np.add.reduceat(gains, starts, axis=1)
            best = sums.argmax(axis=0)
            chosen = np.where(sums.max(axis=0) > self._least / len(starts), best, -1)[steps // width]
            taken = chosen >= 0
            if taken.any() and not (chosen == chosen[0]).all():
                merged = self.plan.copy()
                merged[taken] = plans[chosen[taken], steps[taken]]
                yield merged

    def _together(self, plans: Array, rewards: Array) -> Iterator[Array]:
        """The best candidates together; where two change the same entry of the same interval, the better one does."""
        totals = rewards.sum(axis=1)
        order = np.argsort(-totals, kind="stable")
        order = order[totals[order] > self.total + self._least]
        merged, changed = self.plan.copy(), np.zeros(self.plan.shape, bool)
        for count, k in enumerate(order.tolist(), start=1):
            own = (plans[k] != self.plan) & ~changed
            merged[own] = plans[k][own]
            changed |= own
            if count > 1 and (count in _TOGETHER or count == len(order)):
                yield merged.copy()


def power_flows(task: Task, effort_s: float) -> int:
    """About how many a processor solves in a time, from the feeder's size alone."""
    return int(effort_s * _NODE_SOLVES_PER_S / (len(task.feeder.nodes) + _SMALL))

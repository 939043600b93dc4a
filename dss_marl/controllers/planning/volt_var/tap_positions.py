"""Positions of taps and capacitor banks as one vector, the state of a plan."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import numpy as np

from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import Capacitors, Regulators
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Setpoints

_FEW = 2  # banks of which all combinations are tried


class TapPositions:
    """All regulators and banks of a task as (P) integers: first tap of each regulator, then 1 for closed banks.

    Attributes:
        start: (P) at reset.
        lowest, highest: (P) bounds.
        moves: (P) maximum moves per step.
        act_every: (P) each moves at every n-th step.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        groups = [
            (k, group) for k, group in enumerate(task.device_groups) if isinstance(group, Regulators | Capacitors)
        ]
        ends = np.cumsum([0, *(group.size for _, group in groups)])
        self._kinds = [(k, group, slice(a, a + group.size)) for (k, group), a in zip(groups, ends[:-1], strict=True)]
        bounds = [np.zeros((5, 0), np.int64), *(_bounds(group, task.start) for _, group in groups)]
        self.start, self.lowest, self.highest, self.moves, self.act_every = np.concatenate(bounds, axis=1)

    @property
    def places(self) -> IntArray:
        """Places of their entries in the joint action."""
        everything = np.arange(self._task.agents.action_layout.size)
        own = [everything[self._task.agents.action_layout.parts[k]] for k, _, _ in self._kinds]
        return np.concatenate([np.zeros(0, np.int64), *own])

    @property
    def banks(self) -> BoolArray:
        """(P) True for banks."""
        own = [np.full(group.size, isinstance(group, Capacitors)) for _, group, _ in self._kinds]
        return np.concatenate([np.zeros(0, bool), *own])

    def other_banks(self) -> Iterator[IntArray]:
        """(P) the position at reset with other banks closed: all combinations of a few, else one bank at a time."""
        places = np.flatnonzero(self.banks).tolist()
        sizes = range(1, len(places) + 1) if len(places) <= _FEW else (1,)
        for some in (some for size in sizes for some in combinations(places, size)):
            yield from self._moved(self.start, list(some), [1 - 2 * int(self.start[one]) for one in some])

    def may_move(self, step: int) -> IntArray:
        """(P) maximum moves in this step; 0 if a device does not act."""
        return np.where(step % self.act_every == 0, self.moves, 0)

    def within(self, position: IntArray) -> bool:
        """Whether all (P) are within bounds."""
        return bool(((self.lowest <= position) & (position <= self.highest)).all())

    def at(self, now: GridState, position: IntArray) -> GridState:
        """The same state with taps and banks at (P) positions; its solution is not updated."""
        start, tap, closed = self._task.start, now.setpoints.tap.copy(), now.setpoints.closed.copy()
        for _, group, own in self._kinds:
            if isinstance(group, Capacitors):
                closed[group.switches] = position[own] > 0
            else:
                tap[group.taps] = start.tap[group.taps] + (position - self.start)[own][group.owner]
        return now.replace(setpoints=Setpoints(now.setpoints.kw, now.setpoints.kvar, tap, closed))

    def write(self, joint_action: Array, before: IntArray, after: IntArray) -> None:
        """Write the moves from one (P) position to another into a joint action (F), in place."""
        action_layout = self._task.agents.action_layout
        for k, group, own in self._kinds:
            joint_action[action_layout.parts[k]] = group.request(before[own], after[own]).ravel()

    def prices(self, trials: TrialSolver, after: GridState) -> Array:
        """(P) loss of team reward per move of each, determined from the reward function without power flows."""
        here = self.of(after.setpoints)
        still = trials.reward_model.team_reward(after, after)
        result = np.zeros(len(here))
        for p in range(len(here)):
            other = here.copy()
            other[p] += 1 if here[p] < self.highest[p] else -1
            result[p] = still - trials.reward_model.team_reward(self.at(after, other), after)
        return result

    def of(self, setpoints: Setpoints) -> IntArray:
        """(P) positions in these set points."""
        return np.concatenate([np.zeros(0, np.int64), *(_position(group, setpoints) for _, group, _ in self._kinds)])

    def near(self, position: IntArray, far: tuple[int, ...] = (1,), pairs: bool = False) -> Iterator[IntArray]:
        """Positions (P) a given number of moves of one device away; with ``pairs`` also one move of two devices."""
        count = len(position)
        for p, move, sign in product(range(count), far, (-1, 1)):
            yield from self._moved(position, [p], [sign * move])
        if pairs:
            for both in combinations(range(count), 2):
                for signs in product((-1, 1), repeat=2):
                    yield from self._moved(position, both, signs)

    def swaps(self, position: IntArray, far: tuple[int, ...] = (1, 2, 3)) -> Iterator[IntArray]:
        """Positions (P) with one or two banks switched, and one regulator moved to compensate."""
        banks, others = np.flatnonzero(self.banks).tolist(), np.flatnonzero(~self.banks).tolist()
        for some in (*combinations(banks, 1), *combinations(banks, 2)):
            flips = [1 - 2 * int(position[one]) for one in some]
            yield from self._moved(position, list(some), flips)
            for p, move, sign in product(others, far, (-1, 1)):
                yield from self._moved(position, [*some, p], [*flips, sign * move])

    def _moved(self, position: IntArray, devices: object, moves: object) -> Iterator[IntArray]:
        other = position.copy()
        other[np.asarray(devices)] += np.asarray(moves)
        if self.within(other):
            yield other


def _position(group: Regulators | Capacitors, setpoints: Setpoints) -> IntArray:
    if isinstance(group, Capacitors):
        return setpoints.closed[group.switches].astype(np.int64)
    return setpoints.tap[group.taps][group.leading]


def _bounds(group: Regulators | Capacitors, start: Setpoints) -> IntArray:
    """(5, D) start, lowest, highest, moves, act_every."""
    every = np.ones(group.size, np.int64) if group.act_every is None else group.act_every
    here = _position(group, start)
    if isinstance(group, Capacitors):
        ones = np.ones(group.size, np.int64)
        return np.stack([here, 0 * ones, ones, ones, every])
    tap = start.tap[group.taps]
    down = np.maximum.reduceat(group.lowest - tap, group.leading)
    up = np.minimum.reduceat(group.highest - tap, group.leading)
    return np.stack([here, here + down, here + up, group.moves, every])

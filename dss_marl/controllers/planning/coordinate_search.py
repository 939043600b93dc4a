"""Coordinate search over whole days: any devices with levels, by replaying many candidate days side by side."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

import numpy as np

from dss_marl.engines import open_batch_engine
from dss_marl.engines.base import BatchEngine
from dss_marl.envs.batch_simulator import BatchSimulator
from dss_marl.envs.episode_draw import draw
from dss_marl.envs.moving_rows import moving_rows
from dss_marl.envs.task import Task, build_task
from dss_marl.grid.state import Array, IntArray

COPIES = 64  # days replayed at once
_LEVELS = 33  # of a continuous entry
_SWEEPS = 4  # over constants, at most
_WIDTHS = (12, 6, 3, 2, 1)  # of windows [steps], at an episode of 24 steps
_MOVES = (-4, -2, -1, 1, 2, 4)  # levels
_GAIN = 1e-6  # that counts as one


def unsupported_reason(task: Task) -> str:
    """Reason why a task is not supported; "" if it is."""
    scenario = task.scenario
    if scenario.circuit_controls:
        return "the circuit's own controls"
    if scenario.attack is not None or scenario.faults:
        return "attacks or faults, which differ from one episode to another"
    if any(group.coupled for group in task.device_groups):
        return "devices that interact, so that a plan changed in one of them may be refused in another"
    if not _LEVELS * task.agents.action_layout.size <= 2000:
        return "more than 60 entries"
    return ""


def plan_day(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) the best joint actions found for a day.

    First every entry is constant over the day, and set to its best level while the others stay, until none improves.
    Then windows of it, from half a day to a single step, move by a few levels. Each candidate is replayed from the
    start of the day, so that costs of moves and stored energy count in full.

    Args:
        task: supported by the planner.
        day: of the year.
        thorough: go through the windows until none improves.
    """
    search = _Search(task, day)
    try:
        return search.plan(rounds=6 if thorough else 2)
    finally:
        search.replay.close()


class _Replay:
    """Team returns of plans for one day."""

    def __init__(self, task: Task, day: int) -> None:
        # Nobody observes these days, so that voltages with devices held need no power flow of their own.
        self.task = build_task(task.scenario.replace(observed_voltages="last"))
        self._engine = _engine(self.task)
        self._simulator = BatchSimulator(self.task, self._engine)
        drawn = [draw(self.task, np.array([day]), np.random.default_rng(0), {"day": day})] * COPIES
        self._days, self._faults = self._simulator.checked(drawn)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def returns(self, plans: Array) -> Array:
        """(K) team returns of plans (K, T, F); -inf where a power flow fails."""
        found = [self._some(plans[first : first + COPIES]) for first in range(0, len(plans), COPIES)]
        return np.concatenate(found)

    def _some(self, plans: Array) -> Array:
        simulator, model = self._simulator, self.task.reward_model
        filled = plans[np.minimum(np.arange(COPIES), len(plans) - 1)]
        now = simulator.enter_all(np.arange(COPIES), self._days, self._faults)
        total, alive = np.zeros(COPIES), np.ones(COPIES, bool)
        for joint_actions in np.moveaxis(filled, 1, 0):
            simulator.resume(alive)
            after, _ = simulator.operate(now, joint_actions)
            alive = simulator.running.copy()
            total += model.zone_terms(now, after)[:, : len(self.task.rewards)].sum(axis=(-2, -1))
            now = simulator.observe_next(after)
        return np.where(alive, total, -np.inf)[: len(plans)]


def _engine(task: Task) -> BatchEngine:
    """The batched engine where it can model the feeder, else OpenDSS."""
    if find_spec("numba") is not None:
        try:
            return open_batch_engine(task.feeder, COPIES, "batched", moving_rows(task))
        except ValueError:
            pass
    return open_batch_engine(task.feeder, COPIES, "opendss", moving_rows(task))


class _Search:
    """The search for the plan of one day."""

    def __init__(self, task: Task, day: int) -> None:
        self.replay = _Replay(task, day)
        self._steps = task.scenario.steps
        by_nature = np.concatenate([group.n_levels().ravel() for group in task.device_groups])
        counts = np.where(task.encoding.counts > 0, task.encoding.counts, by_nature)
        self._counts: IntArray = np.where(counts > 0, counts, _LEVELS).astype(np.int64)
        start = np.rint((task.default_action + 1) / 2 * (self._counts - 1)).astype(np.int64)
        self._level = np.tile(start, (self._steps, 1))  # (T, F)
        self._best = float(self.replay.returns(self._actions(self._level[None]))[0])

    def plan(self, rounds: int) -> Array:
        """(T, F) the plan."""
        for _ in range(_SWEEPS):
            if not self._constants():
                break
        for _ in range(rounds):
            before = self._best
            for width in self._widths():
                self._windows(width)
            if self._best <= before:
                break
        return np.asarray(self._actions(self._level))

    def _actions(self, level: IntArray) -> Array:
        return 2.0 * level / (self._counts - 1) - 1.0

    def _widths(self) -> list[int]:
        return list(dict.fromkeys(max(1, round(width * self._steps / 24)) for width in _WIDTHS))

    def _constants(self) -> bool:
        """Set each entry to its best level over the whole day; whether any improved."""
        improved = False
        for entry in range(len(self._counts)):
            improved |= self._take((slice(0, self._steps), entry, level) for level in range(self._counts[entry]))
        return improved

    def _windows(self, width: int) -> None:
        """Move windows of each entry."""
        starts = range(0, self._steps, max(1, width // 2))
        for entry in range(len(self._counts)):
            moved = (
                (slice(first, first + width), entry, self._level[first : first + width, entry] + move)
                for first in starts
                for move in _MOVES
            )
            self._take(moved)

    def _take(self, changes: Iterable[tuple[slice, int, IntArray | int]]) -> bool:
        """Take the best change, and all together that improve where that is better; whether there was any."""
        rows = []
        for steps, entry, level in changes:
            row = self._level.copy()
            row[steps, entry] = np.clip(level, 0, self._counts[entry] - 1)
            if not np.array_equal(row, self._level):
                rows.append(row)
        if not rows:
            return False
        found = self.replay.returns(self._actions(np.array(rows)))
        better = [int(k) for k in np.argsort(-found) if found[k] > self._best + _GAIN]
        if not better:
            return False
        options, earned = [rows[better[0]]], [float(found[better[0]])]
        if len(better) > 1:
            options.append(self._joined([rows[k] for k in better]))
            earned += self.replay.returns(self._actions(np.array(options[1:]))).tolist()
        pick = int(np.argmax(earned))
        self._level, self._best = options[pick], earned[pick]
        return True

    def _joined(self, rows: list[IntArray]) -> IntArray:
        """All changes in one plan; where they overlap the best one, which comes first."""
        joined = self._level.copy()
        for row in reversed(rows):
            joined = np.where(row != self._level, row, joined)
        return joined

"""Greedy search on the engine for the best next interval, without foresight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from dss_marl.controllers.search.trial_batch import COPIES, BatchOfTask
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import (
    Capacitors,
    FeederTies,
    Generators,
    Inverters,
    LoadShedders,
    OpenPoints,
    Regulators,
    SteppedInverters,
    Switches,
)
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array, BoolArray, IntArray

_MOVED = (
    Inverters,
    SteppedInverters,
    Regulators,
    Capacitors,
    Switches,
    OpenPoints,
    FeederTies,
    Generators,
    LoadShedders,
)
_STEPS = (0.5, 0.2, 0.08, 0.03)  # step sizes of continuous entries per sweep, in the range -1 to 1
_NOISE = 1e-5  # relative change of a reward due to earlier solves

_CONFIRMED = 3  # improvements found on the batched engine that are solved again

Near = Callable[[int, float, float], list[float]]  # candidates of an entry, given its value and the step size
Worth = Callable[[Array], Array]  # objectives (K) of candidates (K, F)


class Greedy:
    """One step ahead: maximises the team reward of the coming interval by coordinate ascent.

    The search starts from the present state of the devices: taps, banks and switches over their positions, continuous
    entries with decreasing steps. Batteries, and other kinds whose value lies in later intervals, stay uncontrolled. It
    knows the interval's true load and PV power only, so a tap move must pay off within one interval.

    Args:
        solves: maximum number of trial power flows per interval.
        batched: solve them on the batched engine, several times as fast, and the last few improvements on the
            environment's engine, which decides. Choices that differ by less than the power flow's tolerance may be
            others than without. It changes nothing where ``TrialBatch.opened`` cannot use the batched engine.
    """

    circuit_controls = False

    def __init__(self, solves: int = 200, batched: bool = False) -> None:
        if solves < 1:
            raise ValueError(f"greedy needs at least one trial power flow per interval; got {solves}")
        self.solves, self.batched = solves, batched
        self._batch = BatchOfTask()

    def reset(self, env: ZoneEnv) -> None:
        """Find the entries to optimise.

        Raises:
            ValueError: the scenario has none.
        """
        task, action_layout = env.task, env.task.agents.action_layout
        kinds = [isinstance(group, _MOVED) for group in task.device_groups]
        if not any(kinds):
            raise ValueError(
                f"scenario {task.scenario.name!r} has none of the devices that greedy controls: inverters, regulators, "
                "capacitors, switches, open points, feeder ties, generators, load shedders"
            )
        sizes = [part.stop - part.start for part in action_layout.parts]
        self._moved: BoolArray = np.repeat(kinds, sizes)
        self._by_nature = np.concatenate([group.n_levels().ravel() for group in task.device_groups])

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Actions at the end of the search; those of holding if none is better."""
        return env.task.encoding.encode(self.best(env))

    def best(self, env: ZoneEnv) -> Array:
        """(F) the best joint action found, never worse than holding."""
        assert env.now is not None
        trials, now = TrialSolver(env.simulator, env.attack), env.now
        choices, held = self._held(env)
        entries, near = np.flatnonzero(self._moved & env.simulator.fleet.can_act(now.step)), self._near(choices)
        exact, batch = one_by_one(partial(trials.reward, now)), self._batch.of(trials) if self.batched else None
        if batch is None:
            return coordinate_ascent(held, entries, near, exact, self.solves)[-1]
        points = coordinate_ascent(held, entries, near, partial(batch.rewards, trials, now), self.solves, COPIES)
        return confirmed(held, points, exact)

    def _held(self, env: ZoneEnv) -> tuple[_Choices, Array]:
        """The present choices, and the joint action (F) that holds."""
        assert env.now is not None
        present = np.where(self._moved, env.simulator.hold_action(env.now), env.task.default_action)
        choices = _Choices(env, present, self._by_nature)
        return choices, choices.nearest_allowed(present)

    def _near(self, choices: _Choices) -> Callable[[int, float, float], list[float]]:
        """Candidate values of an entry around a value; the whole range for entries with positions."""
        return lambda entry, value, step: choices.neighbours(entry, value, 2.0 if self._by_nature[entry] else step)


def confirmed(held: Array, points: Sequence[Array], exact: Worth) -> Array:
    """(F) the last of the improvements found on the batched engine that the environment's engine confirms.

    Args:
        held: (F) the joint action that holds.
        points: as from ``coordinate_ascent``.
        exact: objectives on the environment's engine.
    """
    last = np.array([held, *points[1:][-_CONFIRMED:]])
    earned = exact(last)
    return np.asarray(last[np.flatnonzero(earned >= earned.max() - _NOISE)[-1]])


def one_by_one(worth: Callable[[Array], float]) -> Worth:
    """An objective of one candidate (F) as one of several (K, F)."""
    return lambda rows: np.array([worth(row) for row in rows])


def coordinate_ascent(
    joint_action: Array, entries: IntArray, near: Near, worth: Worth, solves: int, together: int = 1
) -> list[Array]:
    """The joint action and each improvement of it found by coordinate ascent, the best one last.

    Args:
        joint_action: (F) start.
        entries: to optimise.
        near: candidate values of an entry, given its value and the step size.
        worth: objectives of candidates.
        solves: maximum number of candidates, the start included.
        together: number of candidates that the objective takes at once, if more than those of one entry. The result is
            the same: those that an earlier entry's move makes obsolete are discarded, and not counted.
    """
    best, points, left = float(worth(joint_action[None])[0]), [joint_action], solves - 1
    turns = [(int(entry), step) for step in _STEPS for entry in entries]
    while turns and left > 0:
        ahead = _ahead(points[-1], turns, near, left, together)
        rows = np.concatenate(ahead)
        earned = worth(rows)
        reached, done, before = 0, 0, best
        while done < len(ahead) and best == before:  # a move changes what the turns after it try
            for k in range(reached, reached + len(ahead[done])):
                if earned[k] > best + _NOISE:
                    best, improved = float(earned[k]), rows[k]
            if best > before:
                points.append(improved)
            reached, done = reached + len(ahead[done]), done + 1
        turns, left = turns[done:], left - reached
    return points


def _ahead(
    joint_action: Array, turns: Sequence[tuple[int, float]], near: Near, left: int, together: int
) -> list[Array]:
    """Candidates (K, F) of each of the coming turns, if none of them moves anything.

    Args:
        joint_action: (F) the present one.
        turns: entries and step sizes.
        near: as for ``coordinate_ascent``.
        left: maximum number of candidates.
        together: number beyond which there are those of the first turn only.
    """
    found: list[Array] = []
    count = 0
    for entry, step in turns:
        values = near(entry, float(joint_action[entry]), step)[: left - count]
        count += len(values)
        if found and (count > together or not values):
            break
        rows = np.tile(joint_action, (len(values), 1))
        rows[:, entry] = values
        found.append(rows)
    return found


class _Choices:
    """The values that entries may take at present.

    Args:
        env: with a running episode.
        present: (F) the joint action that holds.
        by_nature: (F) inherent positions of each entry, 0 if continuous.
    """

    def __init__(self, env: ZoneEnv, present: Array, by_nature: IntArray) -> None:
        assert env.now is not None
        self._encoding, self._present, self._by_nature = env.task.encoding, present, by_nature
        values = self._encoding.values
        self._possible = env.simulator.feasible(env.now, values) & ~np.isnan(values) if values.size else None

    def nearest_allowed(self, joint_action: Array) -> Array:
        """(F) nearest joint action that agents can express and its effect: an infeasible choice holds."""
        if self._possible is None:
            return joint_action
        rows, level = np.arange(len(joint_action)), self._encoding.nearest(joint_action)
        said = np.where(self._possible[rows, level], self._encoding.values[rows, level], self._present)
        return np.where(level >= 0, said, joint_action)

    def neighbours(self, entry: int, value: float, step: float) -> list[float]:
        """Other levels of an entry up to ``step`` away, or the adjacent ones; if continuous, both at that distance."""
        count = self._encoding.counts[entry]
        if count and self._possible is not None:
            tried = self._encoding.values[entry][self._possible[entry]]
            step = max(step, 2 / max(count - 1, 1))
        elif self._by_nature[entry]:
            tried = np.linspace(-1, 1, self._by_nature[entry])
        else:
            tried = np.clip([value - step, value + step], -1, 1)
        away = np.abs(tried - value)
        return [float(one) for one in tried[(away > 1e-9) & (away <= step + 1e-9)]]

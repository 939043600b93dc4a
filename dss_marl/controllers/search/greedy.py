"""Greedy: the best next interval that a search on the engine finds, whatever comes after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

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
_STEPS = (0.5, 0.2, 0.08, 0.03)  # of a number's range from -1 to 1, sweep after sweep
_NOISE = 1e-5  # of a reward, by what was solved before


class Greedy:
    """One step ahead: entry after entry the value that the team's reward of the coming interval likes best.

    A search by coordinates from what the devices do now: taps, banks and switches over their positions, numbers by ever
    smaller steps. Batteries, and other kinds whose worth lies in later intervals, do what they would uncontrolled.
    It sees the interval's true load and sun and no further, so it pays for a tap only what one interval gives back.

    Args:
        solves: most trial power flows an interval.
    """

    circuit_controls = False

    def __init__(self, solves: int = 200) -> None:
        if solves < 1:
            raise ValueError(f"greedy needs at least one trial power flow an interval; got {solves}")
        self.solves = solves

    def reset(self, env: ZoneEnv) -> None:
        """Find the entries that it moves.

        Raises:
            ValueError: there are none.
        """
        task, action_layout = env.task, env.task.agents.action_layout
        kinds = [isinstance(group, _MOVED) for group in task.device_groups]
        if not any(kinds):
            raise ValueError(
                f"scenario {task.scenario.name!r} has nothing that greedy moves: inverters, regulators, capacitors, "
                "switches, open points, supplies, generators, breakers"
            )
        sizes = [part.stop - part.start for part in action_layout.parts]
        self._moved: BoolArray = np.repeat(kinds, sizes)
        self._by_nature = np.concatenate([group.n_levels().ravel() for group in task.device_groups])

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Actions at the end of the search; those of holding still where nothing is better."""
        return env.task.encoding.encode(self.best(env))

    def best(self, env: ZoneEnv) -> Array:
        """(F) the requests that it found, never worse than holding what it moves."""
        assert env.now is not None
        trials, now = TrialSolver(env.simulator, env.attack), env.now
        choices, joint_action = self._held(env)
        entries = np.flatnonzero(self._moved & env.simulator.fleet.can_act(now.step))
        return coordinate_ascent(
            joint_action, entries, self._near(choices), lambda tried: trials.reward(now, tried), self.solves
        )

    def _held(self, env: ZoneEnv) -> tuple[_Choices, Array]:
        """What may be chosen now, and (F) what holds what it moves."""
        assert env.now is not None
        present = np.where(self._moved, env.simulator.hold_action(env.now), env.task.default_action)
        choices = _Choices(env, present, self._by_nature)
        return choices, choices.nearest_allowed(present)

    def _near(self, choices: _Choices) -> Callable[[int, float, float], list[float]]:
        """Other values of an entry around one, a positions' entry always over its whole range."""
        return lambda entry, value, step: choices.neighbours(entry, value, 2.0 if self._by_nature[entry] else step)


def coordinate_ascent(
    joint_action: Array,
    entries: IntArray,
    near: Callable[[int, float, float], list[float]],
    worth: Callable[[Array], float],
    solves: int,
) -> Array:
    """(F) the best requests that a search by coordinates finds.

    Args:
        flat: (F) where it begins.
        entries: that it moves.
        near: other values of an entry, given its value and how far to look.
        worth: of requests, for the price of one power flow.
        solves: most power flows.
    """
    best, spent = worth(joint_action), 1
    for step in _STEPS:
        for entry in entries:
            for value in near(int(entry), float(joint_action[entry]), step):
                if spent >= solves:
                    return joint_action
                tried = joint_action.copy()
                tried[entry] = value
                earned, spent = worth(tried), spent + 1
                if earned > best + _NOISE:
                    best, joint_action = earned, tried
    return joint_action


class _Choices:
    """Which values an entry may be asked for now.

    Args:
        env: with an episode that runs.
        present: (F) what holding is.
        by_nature: (F) positions that each entry has by nature, 0 where it is a number.
    """

    def __init__(self, env: ZoneEnv, present: Array, by_nature: IntArray) -> None:
        assert env.now is not None
        self._encoding, self._present, self._by_nature = env.task.encoding, present, by_nature
        values = self._encoding.values
        self._possible = env.simulator.feasible(env.now, values) & ~np.isnan(values) if values.size else None

    def nearest_allowed(self, joint_action: Array) -> Array:
        """(F) what the agents can say that is nearest, and what comes of it: a choice that is not possible holds."""
        if self._possible is None:
            return joint_action
        rows, level = np.arange(len(joint_action)), self._encoding.nearest(joint_action)
        said = np.where(self._possible[rows, level], self._encoding.values[rows, level], self._present)
        return np.where(level >= 0, said, joint_action)

    def neighbours(self, entry: int, value: float, step: float) -> list[float]:
        """Other values of an entry, up to ``step`` away or the next ones; of a number, the two at that distance."""
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

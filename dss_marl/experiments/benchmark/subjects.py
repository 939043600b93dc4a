"""What is measured: an environment alone, or copies as a batch, beside as many bare circuits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import numpy as np

from dss_marl.engines import Floor
from dss_marl.envs.batch_env import BatchZoneEnv
from dss_marl.envs.flattening import random_rows
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import BoolArray, Setpoints, Solution

Solve = Callable[[], object]


class Subject(Protocol):
    """An environment whose day is played once at random, and then repeated block by block.

    Attributes:
        env: the environment.
        days: of its split.
        copies: stepped together.
        steps: how many were played.
        solves: power flows in them.
    """

    env: Any
    copies: int
    steps: int
    solves: int

    def play(self, day: int, steps: int) -> None:
        """Reset to a day and play steps at random; what was done and solved is kept."""

    def floor(self) -> list[Solve]:
        """The bare solves of these steps, ready to run."""

    def engine(self) -> list[Solve]:
        """The engine's solves of these steps, ready to run."""

    def reset(self) -> None:
        """Reset to the same day."""

    def replay(self) -> None:
        """The same steps, after ``reset``."""

    def close(self) -> None:
        """Close the environment and the circuits."""


class OneCopy:
    """``ZoneEnv``; see Subject."""

    copies = 1

    def __init__(self, scenario: Scenario) -> None:
        self.env = ZoneEnv(scenario)
        self._floor = Floor(self.env.task.feeder)
        self.day, self.steps, self.solves = -1, 0, 0
        self._actions: list[dict[str, Any]] = []
        self._solved: list[Setpoints] = []

    def play(self, day: int, steps: int) -> None:
        """See Subject."""
        env, self.day, self._actions = self.env, day, []
        for a, agent in enumerate(env.possible_agents):
            env.action_space(agent).seed(1000 * day + a)
        with _watched(env.engine) as solved:
            self.reset()
            first = len(solved) - 1  # a reset may need several: the last one is what the steps start from
            while env.agents and len(self._actions) < steps:
                self._actions.append({agent: env.action_space(agent).sample() for agent in env.agents})
                env.step(self._actions[-1])
        self._solved = [setpoints for setpoints, _ in solved[first:]]
        self.steps, self.solves = len(self._actions), len(self._solved) - 1

    def floor(self) -> list[Solve]:
        """See Subject."""
        return [*self._floor.prepare(self._solved)]

    def engine(self) -> list[Solve]:
        """See Subject."""
        engine = self.env.engine
        engine.restart()
        engine.solve(self._solved[0])
        return [partial(engine.solve, setpoints) for setpoints in self._solved[1:]]

    def reset(self) -> None:
        """See Subject."""
        self.env.reset(options={"day": self.day})

    def replay(self) -> None:
        """See Subject."""
        for actions in self._actions:
            self.env.step(actions)

    def close(self) -> None:
        """See Subject."""
        self._floor.close()
        self.env.close()


class Batch:
    """``BatchZoneEnv``, whose copies are all on the same day with actions of their own; see Subject."""

    def __init__(self, scenario: Scenario, copies: int) -> None:
        self.env, self.copies = BatchZoneEnv(scenario, copies), copies
        self._floors = [Floor(self.env.task.feeder) for _ in range(copies)]
        self.day, self.steps, self.solves = -1, 0, 0
        self._actions: list[np.ndarray] = []
        self._solved: list[tuple[Setpoints, BoolArray | None]] = []

    def play(self, day: int, steps: int) -> None:
        """See Subject. Stops a step before the end of the day, where all copies would be reset."""
        env, self.day = self.env, day
        for a, space in enumerate(env.action_spaces.values()):
            space.seed(1000 * day + a)
        last = min(steps, env.task.scenario.steps - 1)
        self._actions = [random_rows(list(env.action_spaces.values()), env.action_rows.shape) for _ in range(last)]
        with _watched(env.engine) as solved:
            self.reset()
            first = len(solved) - 1
            self.replay()
        self._solved = solved[first:]
        self.steps = len(self._actions)
        self.solves = sum(self.copies if wanted is None else int(wanted.sum()) for _, wanted in self._solved[1:])

    def floor(self) -> list[Solve]:
        """See Subject. Copy after copy, as the batch solves them."""
        rows: list[list[tuple[int, Setpoints]]] = [[] for _ in range(self.copies)]
        for k, (setpoints, wanted) in enumerate(self._solved):
            for b in range(self.copies):
                if k == 0 or wanted is None or wanted[b]:
                    rows[b].append((k, _row(setpoints, b)))
        order: list[tuple[int, int, Solve]] = []
        for b, own in enumerate(rows):
            solves = self._floors[b].prepare([setpoints for _, setpoints in own])
            order += [(k, b, solve) for (k, _), solve in zip(own[1:], solves, strict=True)]
        return [solve for _, _, solve in sorted(order, key=lambda row: row[:2])]

    def engine(self) -> list[Solve]:
        """See Subject."""
        engine = self.env.engine
        engine.restart()
        engine.solve(self._solved[0][0])
        return [partial(engine.solve, setpoints, False, wanted) for setpoints, wanted in self._solved[1:]]

    def reset(self) -> None:
        """See Subject."""
        self.env.reset(seed=self.day, options={"day": self.day})

    def replay(self) -> None:
        """See Subject."""
        for actions in self._actions:
            self.env.step(actions)

    def close(self) -> None:
        """See Subject."""
        for floor in self._floors:
            floor.close()
        self.env.close()


@contextmanager
def _watched(engine: Any) -> Iterator[list[tuple[Setpoints, BoolArray | None]]]:
    """All set points that an engine solves, with taps and switches as they were after, and which copies were wanted."""
    solved: list[tuple[Setpoints, BoolArray | None]] = []
    solve = engine.solve

    def watched(setpoints: Setpoints, controls: bool = False, *wanted: BoolArray | None) -> Any:
        found = solve(setpoints, controls, *wanted)
        solution: Solution = found[0] if isinstance(found, tuple) else found
        kept = Setpoints(setpoints.kw.copy(), setpoints.kvar.copy(), solution.tap.copy(), solution.closed.copy())
        solved.append((kept, wanted[0] if wanted else None))
        return found

    engine.solve = watched
    try:
        yield solved
    finally:
        del engine.solve


def _row(setpoints: Setpoints, b: int) -> Setpoints:
    return Setpoints(setpoints.kw[b], setpoints.kvar[b], setpoints.tap[b], setpoints.closed[b])

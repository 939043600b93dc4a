"""RadialConfigurations: a task's open points moved at will, and what each configuration earns in an interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import permutations

import numpy as np

from dss_marl.controllers.search.trial_batch import TrialBatch
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import OpenPoints
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Setpoints


def open_points(task: Task) -> OpenPoints:
    """The open points of a task.

    Raises:
        ValueError: the task has none.
    """
    for group in task.device_groups:
        if isinstance(group, OpenPoints):
            return group
    raise ValueError(f"scenario {task.scenario.name!r} has no open points")


class RadialConfigurations:
    """Radial configurations by the places that are open, ascending.

    Args:
        trials: on a simulator with a started day.

    Attributes:
        group: the open points.
        entries: slice of their entries in the joint action.
    """

    def __init__(self, trials: TrialSolver) -> None:
        self._trials, self._task = trials, trials.task
        self.group = open_points(trials.task)
        self.entries = trials.task.agents.action_layout.parts[list(trials.task.device_groups).index(self.group)]

    def closed(self, places: IntArray) -> BoolArray:
        """(S) states with these (D) switches open and all others closed."""
        closed = self._task.start.closed.copy()
        closed[self.group.places] = True
        closed[self.group.places[places]] = False
        return closed

    def with_open(self, now: GridState, places: IntArray) -> GridState:
        """The same state with these (D) switches open; its solution is not updated."""
        points = now.setpoints
        return now.replace(setpoints=Setpoints(points.kw, points.kvar, points.tap, self.closed(places)))

    def reward(self, now: GridState, places: IntArray) -> float:
        """Team reward with these (D) switches open, without switching; -inf if the power flow fails."""
        there = self.with_open(now, places)
        return self._trials.reward(there, self._trials.simulator.hold_action(there))

    def bounds(self, batch: TrialBatch, now: GridState, some: Iterable[Sequence[int]]) -> Array:
        """(K) upper bounds of ``reward`` for sets of (D) open switches."""
        closed = np.array([self.closed(np.array(places)) for places in some])
        return batch.bounds_of_switching(self._trials, now, closed)

    def prices(self, now: GridState) -> Array:
        """(W) loss of team reward per operation of each switch, determined from the reward function."""
        still = self._trials.reward_model.team_reward(now, now)
        result = np.zeros(len(self.group.places))
        for k, s in enumerate(self.group.places):
            other = now.setpoints.copy()
            other.closed[s] = not other.closed[s]
            result[k] = still - self._trials.reward_model.team_reward(
                now.replace(setpoints=other), now
            )  # the state after is the same
        return result

    def open_places(self, now: GridState) -> IntArray:
        """(D) open switch of each device."""
        return self.group.here(self.device_state(now), now.setpoints.closed)

    def device_state(self, now: GridState) -> Array:
        """(D, 1) device state of the open points."""
        return self._trials.simulator.fleet.states(now.device_state)[list(self._task.device_groups).index(self.group)]

    def requests(self, joint_action: Array, goals: IntArray) -> Array:
        """(F) joint action in which each device requests its (D) switch."""
        result = joint_action.copy()
        result[self.entries] = self.group.request(goals).ravel()
        return result

    def move_targets(self, here: IntArray, places: IntArray) -> IntArray:
        """(D) target of each device so that (D) switches are open, each by a move that is feasible on its own.

        Such an assignment always exists: it is a perfect matching between closing and opening switches.
        """
        closing = [d for d, place in enumerate(here) if place not in places]
        opening = [int(place) for place in places if place not in here]
        rings = self.group.exchanges.of_open_switches(self.closed(np.sort(here)))
        fits = [{k for k in opening if int(self.group.places[k]) in rings[int(self.group.places[here[d]])]}
                for d in closing]  # fmt: skip
        goals = here.copy()
        for order in permutations(opening):
            if all(k in fit for k, fit in zip(order, fits, strict=True)):
                goals[closing] = order
                return goals
        raise ValueError(f"no exchanges lead from open switches {here.tolist()} to {places.tolist()}")

    def neighbours(self, places: IntArray) -> list[IntArray]:
        """All configurations one exchange away."""
        rings, own = self.group.exchanges.of_open_switches(self.closed(places)), self.group.places.tolist()
        result = []
        for d, place in enumerate(places):
            ring = rings[own[place]]
            for k, s in enumerate(own):
                if s in ring:
                    other = places.copy()
                    other[d] = k
                    result.append(np.sort(other))
        return result

"""Teachers: what plans, or a controller, would do in the states that a policy comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from dss_marl.controllers import Controller, load_plans, reference
from dss_marl.controllers.planning.plan_files import Plans
from dss_marl.devices import DeviceGroup, Goal
from dss_marl.engines.base import PowerFlowError
from dss_marl.envs.batch_env import BatchZoneEnv
from dss_marl.envs.task import Task
from dss_marl.envs.training_settings import PLANS, TeacherSettings
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.evaluation import environment_for
from dss_marl.grid.copies import rows_of
from dss_marl.grid.state import Array, BoolArray, GridState, Setpoints
from dss_marl.profiles.splits import seed_of

SPLIT = "train"


class Teacher(Protocol):
    """Says what it would do in the states of copies of the environment, each on a training day.

    Attributes:
        days: on which it can be asked.
    """

    days: tuple[int, ...]

    def begin(self, batch: BatchZoneEnv, days: Sequence[int]) -> None:
        """Called when the copies have been reset to these days, one of each."""

    def labels(self, batch: BatchZoneEnv) -> tuple[Array, BoolArray]:
        """(B, F) the joint action for the coming interval of each copy, and (B) where it has none."""

    def close(self) -> None:
        """Close what it holds open."""


def new_teacher(task: Task, settings: TeacherSettings) -> Teacher:
    """The teacher of a task.

    Raises:
        ValueError: there are no plans of training days, the controller is unknown or does not suit the scenario, or
            what it leaves to the circuit's own controls cannot be imitated.
    """
    if settings.name == PLANS:
        return PlanTeacher(task, load_plans(task.scenario, SPLIT))
    if settings.name == "best_known":
        raise ValueError(
            f"scenario {task.scenario.name!r}: teacher 'best_known' has plans of test days; 'teacher: plans' imitates "
            f"those of training days, which 'dss-marl solve {task.scenario.name} --split train' finds"
        )
    return ControllerTeacher(task, settings.name)


class PlanTeacher:
    """Follows plans: its label leads from the present state of taps and other devices to that in the plan.

    Args:
        task: that the copies play.
        plans: of training days.

    Raises:
        ValueError: a plan is of another scenario, or of other profiles.
    """

    def __init__(self, task: Task, plans: Plans) -> None:
        self.days = tuple(sorted(plans.requests))
        self._requests = {day: plans.of_day(task, day) for day in self.days}
        self._goals: dict[int, list[Goal]] = {}
        self._now: list[list[Goal]] = []

    def begin(self, batch: BatchZoneEnv, days: Sequence[int]) -> None:
        """See Teacher; plays the plans that are new, to see where they lead."""
        if any(day not in self._goals for day in days):
            self._play(batch, days)
            reset_to(batch, days)
        self._now = [self._goals[day] for day in days]

    def _play(self, batch: BatchZoneEnv, days: Sequence[int]) -> None:
        requests = np.stack([self._requests[day] for day in days])
        found: list[list[Goal]] = [[] for _ in days]
        for step in range(batch.task.scenario.steps):
            encoding, asked = batch.task.encoding, requests[:, step]
            done = batch.step([encoding.encode(row) for row in asked])
            if done.terminated.any():
                day = days[int(np.flatnonzero(done.terminated)[0])]
                raise ValueError(f"day {day} of scenario {batch.task.scenario.name!r}: a power flow of the plan fails")
            assert batch.after is not None
            after = batch.after
            for b, own in enumerate(found):
                tap, closed = after.setpoints.tap[b].copy(), after.setpoints.closed[b].copy()
                points = Setpoints(np.zeros(0), np.zeros(0), tap, closed)  # of a goal, taps and switches count
                own.append(Goal(asked[b], after.device_state[b].copy(), points))
        self._goals |= dict(zip(days, found, strict=True))

    def labels(self, batch: BatchZoneEnv) -> tuple[Array, BoolArray]:
        """See Teacher."""
        now = batch.now
        assert now is not None
        goals = [own[int(step)] for own, step in zip(self._now, now.step, strict=True)]
        points = replace(
            now.setpoints,
            tap=np.stack([goal.setpoints.tap for goal in goals]),
            closed=np.stack([goal.setpoints.closed for goal in goals]),
        )
        action, state = (np.stack([getattr(goal, part) for goal in goals]) for part in ("action", "state"))
        return batch.simulator.action_towards(now, Goal(action, state, points)), np.zeros(batch.copies, bool)

    def close(self) -> None:
        """Nothing is open."""


class ControllerTeacher:
    """A controller, asked in an environment of its own that is put into the state of each copy.

    If it relies on the circuit's own controls, these settle there, and the label of their taps and banks is what
    happened to them.

    Args:
        task: that the copies play.
        name: of the controller; see ``controllers.reference``.

    Raises:
        ValueError: unknown, it does not suit the scenario, or the circuit's own controls would operate devices whose
            kind does not say how to follow them.
    """

    def __init__(self, task: Task, name: str) -> None:
        self._task, self._name = task, name
        self._first = environment_for(self._new(), task.scenario, SPLIT)
        self.days = self._first.days
        self._settles = self._first.task.scenario.circuit_controls and not task.scenario.circuit_controls
        self._places = _places(task.device_groups, self._first.task.device_groups)
        if self._settles:
            _check_followed(task, self._places)
        self._envs: list[ZoneEnv] = [self._first]
        self._controllers: list[Controller] = []
        self._begin([self.days[0]])  # raises what the controller lacks

    def _new(self) -> Controller:
        return reference(self._name, self._task.scenario)

    def begin(self, batch: BatchZoneEnv, days: Sequence[int]) -> None:
        """See Teacher."""
        self._begin(days)

    def _begin(self, days: Sequence[int]) -> None:
        while len(self._envs) < len(days):
            self._envs.append(ZoneEnv(self._first.task, SPLIT))
        self._controllers = [self._new() for _ in days]
        for env, controller, day in zip(self._envs, self._controllers, days, strict=False):
            env.reset(seed=seed_of(day), options={"day": day})
            controller.reset(env)

    def labels(self, batch: BatchZoneEnv) -> tuple[Array, BoolArray]:
        """See Teacher; it has none where its power flow fails."""
        now = batch.now
        assert now is not None
        labels, without = np.tile(batch.task.default_action, (batch.copies, 1)), np.zeros(batch.copies, bool)
        states, points = now.device_state.copy(), now.setpoints.copy()
        for b in range(batch.copies):
            try:
                after, labels[b] = self._asked(b, rows_of(now, b), labels[b])
            except PowerFlowError:
                without[b] = True
                continue
            if self._settles:
                states[b] = self._mapped_state(after.device_state, states[b])
                points.tap[b], points.closed[b] = after.setpoints.tap, after.setpoints.closed
        if self._settles:
            labels = batch.simulator.action_towards(now, Goal(labels, states, points))
        return labels, without

    def _asked(self, b: int, now: GridState, label: Array) -> tuple[GridState, Array]:
        """The interval as the controller would have it, and the label (F) with its entries."""
        env, controller = self._envs[b], self._controllers[b]
        self._put(env, now)
        observations = env.masks.observations(env.episode.observations.copy(), env.episode.levels)
        chosen = env.task.encoding.decode(controller.act(env, observations)).joint_action
        assert env.now is not None
        after = env.simulator.operate(env.now, chosen)[0] if self._settles else env.now
        layout, own = self._task.agents.action_layout, env.task.agents.action_layout
        for group, entries in zip(self._places, own.by_group(chosen), strict=True):
            layout.by_group(label)[group][...] = entries
        return after, label

    def _put(self, env: ZoneEnv, now: GridState) -> None:
        """Put an environment into the state before an interval."""
        simulator, layout = env.simulator, env.task.agents.action_layout
        groups = self._task.agents.action_layout.by_group(now.action)
        action = np.concatenate([groups[k].ravel() for k in self._places])
        assert len(action) == layout.size
        states = self._parts(now.device_state)
        more = now.device_state[sum(len(part) for part in states) :]  # of cold-load pickup
        state = np.concatenate([*(states[k] for k in self._places), more])
        coming = simulator.hold(int(now.step), now.setpoints, state, action, None, now.pv_kwh)
        env.episode.now, env.episode.agents = coming, env.possible_agents[:]
        env.episode.observations = env.observation_model.observe(coming)
        env.episode.levels = env.masks.levels(coming)

    def _parts(self, device_state: Array) -> list[Array]:
        """Per group of the task, its part of a device state (K); views."""
        sizes = [group.size * group.state_size for group in self._task.device_groups]
        return np.split(device_state[: sum(sizes)], np.cumsum(sizes)[:-1])

    def _mapped_state(self, reached: Array, present: Array) -> Array:
        """(K) the device state of the copy, with what the controller's own devices come to."""
        result, first = present.copy(), 0
        parts = self._parts(result)
        for k in self._places:
            parts[k][...] = reached[first : first + len(parts[k])]
            first += len(parts[k])
        return result

    def close(self) -> None:
        """Close its environments."""
        for env in self._envs:
            env.close()


def reset_to(batch: BatchZoneEnv, days: Sequence[int]) -> None:
    """Start a day in each copy, as evaluations do."""
    batch.reset([seed_of(day) for day in days], [{"day": day} for day in days])


def _places(groups: Sequence[DeviceGroup], others: Sequence[DeviceGroup]) -> list[int]:
    """The number of each of the other groups among the groups."""
    known = {(type(group), group.names): k for k, group in enumerate(groups)}
    return [known[type(group), group.names] for group in others]


def _check_followed(task: Task, places: Sequence[int]) -> None:
    left = [group for k, group in enumerate(task.device_groups) if k not in places or group.circuit_controls]
    for group in left:
        if type(group).action_towards is DeviceGroup.action_towards:
            raise ValueError(
                f"scenario {task.scenario.name!r}: the teacher leaves {', '.join(group.names)} to the circuit's own "
                f"controls, and {type(group).__name__} has no action_towards that follows them; choose another teacher"
            )

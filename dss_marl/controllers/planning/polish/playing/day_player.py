"""DayPlayer: many plans of one day played at once, and many requests of single intervals of one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from dss_marl.devices import Estimators
from dss_marl.engines import open_batch_engine
from dss_marl.engines.base import BatchEngine
from dss_marl.envs.action_masks import ActionMasks
from dss_marl.envs.batch_observation_model import BatchAttack
from dss_marl.envs.batch_simulator import BatchSimulator
from dss_marl.envs.by_copy import for_batches
from dss_marl.envs.episode_draw import draw
from dss_marl.envs.moving_rows import moving_rows
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Setpoints, Solution
from dss_marl.mdp.actions import DecodedActions
from dss_marl.profiles.splits import seed_of

_MOST_COPIES, _FEWEST_COPIES = 512, 32
_NODES = 400_000  # of all copies together: beyond, the arrays of a solve leave the processor's caches
_TOLERANCE = 1e-5  # of the power flow [pu]
# power flows that take as long as a call besides its flows, as one with controls, and as one on a switched topology
_CALL, _CONTROLS, _SWITCHED = 100, 3, 4


@dataclass(frozen=True)
class Course:
    """What a plan makes of a day: the state in which each interval begins.

    Attributes:
        rewards: (T) of the team.
        tap, closed: (T, R) and (T, S) before each interval.
        device_state, action: (T, K) and (T, F) likewise.
    """

    rewards: Array
    tap: IntArray
    closed: BoolArray
    device_state: Array
    action: Array


class DayPlayer:
    """Plays plans of a day on the batched engine, as ``play_plan`` does on OpenDSS one by one.

    Rewards differ from OpenDSS's by the engines' tolerance, so what is found here is to be confirmed there.

    Args:
        task: any; on a feeder that the batched engine refuses, OpenDSS solves, one plan after the other.
        day: of the year.
        copies: plans played at once; 0: as many as suit the feeder.

    Attributes:
        shape: (T, F) of a plan.
        free: (T, F) False where a compromised agent decides.

    Raises:
        ValueError: no such day.
        PowerFlowError: its first interval cannot be solved.
    """

    def __init__(self, task: Task, day: int, copies: int = 0) -> None:
        self.task = task = for_batches(task)
        nodes = len(task.feeder.nodes)
        self.copies = copies or 16 * int(np.clip(_NODES // nodes, _FEWEST_COPIES, _MOST_COPIES) // 16)
        try:
            engine = open_batch_engine(
                task.feeder, self.copies, "batched", moving_rows(task), tolerance=_TOLERANCE, precision="double"
            )
        except ValueError:
            self.copies = _FEWEST_COPIES // 2
            engine = open_batch_engine(task.feeder, self.copies, "opendss")
        self.simulator = _CountingSimulator(task, engine)
        self._masks = ActionMasks(self.simulator)
        self._model = replace(task.reward_model, costs={})
        self.shape = (task.scenario.steps, task.agents.action_layout.size)
        self._observed = _looks_at_observed(task)
        self._enter(day)
        self.free = self._free()

    def _enter(self, day: int) -> None:
        task, everyone = self.task, np.arange(self.copies)
        one = draw(task, np.asarray(task.profiles.days("test")), np.random.default_rng(seed_of(day)), {"day": day})
        numbers, faults = self.simulator.checked([one] * self.copies)
        self._first = self.simulator.enter_all(everyone, numbers, faults)
        attacks = [] if task.scenario.attack is None else [task.attack() for _ in everyone]
        layout = task.agents.action_layout
        self._attack = BatchAttack(
            [own for own in attacks if own is not None], layout.entry_agent, len(layout.agents), self.copies
        )
        self._attack.reset(everyone, np.repeat(one.streams[2], self.copies))

    def _free(self) -> BoolArray:
        free = np.ones(self.shape, bool)
        if self._attack.attacks:
            attack, entry_agent = self._attack.attacks[0], self.task.agents.action_layout.entry_agent
            for step in range(len(free)):
                free[step] = ~attack.entries(entry_agent, step)
        return free

    @property
    def work(self) -> int:
        """What has been done so far, in power flows; see ``_CountingSimulator``."""
        return self.simulator.work

    def play(self, plans: Array) -> Array:
        """(K, T) rewards of the team by interval; -inf from a failed power flow on.

        Args:
            plans: (K, T, F), any number.
        """
        parts = [self._play(plans[start : start + self.copies]) for start in range(0, len(plans), self.copies)]
        return np.concatenate([np.zeros((0, self.shape[0])), *parts])

    def _play(self, plans: Array) -> Array:
        count = len(plans)
        rewards = np.full((self.copies, self.shape[0]), -np.inf)
        for step, _, after_rewards in self._steps(plans):
            rewards[:, step] = after_rewards
        return rewards[:count]

    def course(self, plan: Array) -> Course:
        """The states before each interval of one plan (T, F)."""
        rows: list[GridState] = []
        rewards = np.full(self.shape[0], -np.inf)
        for step, now, earned in self._steps(plan[None]):
            rewards[step] = earned[0]
            rows.append(now)
        return Course(
            rewards,
            np.array([now.setpoints.tap[0] for now in rows]),
            np.array([now.setpoints.closed[0] for now in rows]),
            np.array([now.device_state[0] for now in rows]),
            np.array([now.action[0] for now in rows]),
        )

    def _steps(self, plans: Array) -> Iterator[tuple[int, GridState, Array]]:
        """Interval after interval: its number, the state before it, and (B) the rewards; -inf where one has failed."""
        running = np.arange(self.copies) < len(plans)
        padded = np.concatenate([plans, np.repeat(plans[-1:], self.copies - len(plans), 0)])
        now = self._first
        for step in range(self.shape[0]):
            after, earned = self._operate(now, padded[:, step], running)
            yield step, now, earned
            running = self.simulator.running.copy()
            if step + 1 == self.shape[0] or not running.any():
                break
            solution = None if self._observed else after.solution
            steps = np.full(self.copies, step + 1)
            now = self._held(steps, after.setpoints, after.device_state, after.action, solution)

    def intervals(self, course: Course, steps: IntArray, requests: Array) -> Array:
        """(n) rewards of single intervals, each begun as in a course; -inf where the power flow fails.

        Args:
            course: of a plan.
            steps: (n) numbers of the intervals.
            requests: (n, F) in them.
        """
        size = self.copies
        return np.concatenate(
            [
                self._intervals(course, steps[start : start + size], requests[start : start + size])
                for start in range(0, len(steps), size)
            ]
        )

    def _intervals(self, course: Course, steps: IntArray, requests: Array) -> Array:
        count = len(steps)
        which = np.minimum(np.arange(self.copies), count - 1)
        rows, running = steps[which], np.arange(self.copies) < count
        self.simulator.resume(running)
        points = Setpoints(self._first.setpoints.kw, self._first.setpoints.kvar, course.tap[rows], course.closed[rows])
        solution = None if self._observed else self._first.solution
        now = self._held(rows, points, course.device_state[rows], course.action[rows], solution)
        return self._operate(now, requests[which], running)[1][:count]

    def _held(
        self, steps: IntArray, points: Setpoints, device_state: Array, action: Array, solution: Solution | None
    ) -> GridState:
        """Intervals (B) before they are operated; only what looks at their voltages needs the power flow."""
        return self.simulator.hold(steps, points, device_state, action, solution)

    def _operate(self, now: GridState, requests: Array, running: BoolArray) -> tuple[GridState, Array]:
        """Operate the copies that run; the states after it, and (B) the rewards."""
        encoding, simulator = self.task.encoding, self.simulator
        level, joint_action = np.full(requests.shape, -1), requests
        if encoding.discrete:
            level = encoding.nearest(requests)
            chosen = encoding.values[np.arange(requests.shape[-1]), np.maximum(level, 0)]
            joint_action = np.where(level >= 0, chosen, requests)
        decoded = DecodedActions(joint_action, level, np.zeros(0, np.int64))
        joint_action, _ = self._masks.enforce(decoded, self._masks.levels(now), now)
        joint_action = self._attack.act(joint_action, self._attack.compromised(now.step), now)
        simulator.resume(running)
        after, _ = simulator.operate(now, joint_action)
        terms = self._model.zone_terms(now, after)
        return after, np.where(simulator.running, np.add.reduce(terms, axis=(-2, -1)), -np.inf)

    def close(self) -> None:
        """Release the engine."""
        self.simulator.batch_engine.close()


class _CountingSimulator(BatchSimulator):
    """Counts what it does, in power flows without controls.

    Attributes:
        work: so far. Calls take time besides, controls settle in several flows, and topologies
            have tables of their own.
    """

    def __init__(self, task: Task, engine: BatchEngine) -> None:
        super().__init__(task, engine)
        is_bank = np.array([row.kind == "capacitor" for row in task.feeder.switches], bool)
        self._each = _SWITCHED if moving_rows(task)[1][~is_bank].any() else 1
        self.work = 0

    def _flow(self, setpoints: Setpoints, controls: bool, wanted: BoolArray | None = None) -> Solution:
        which = self.running if wanted is None else wanted & self.running
        self.work += _CALL + int(which.sum()) * (_CONTROLS if controls else self._each)
        return super()._flow(setpoints, controls, wanted)


def _looks_at_observed(task: Task) -> bool:
    """Whether rewards, devices or attacks may depend on the voltages before an interval."""
    own = {term.__module__.split(".")[0] for _, term in task.rewards.values()}
    estimates = any(isinstance(group, Estimators) for group in task.device_groups)
    return estimates or task.scenario.attack is not None or own != {__name__.split(".")[0]}

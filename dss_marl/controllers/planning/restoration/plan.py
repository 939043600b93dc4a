"""Restoration plan of a day with faults, with perfect foresight: switches, ties, generators and load shedders."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from dss_marl.controllers.planning.restoration.action_entries import KINDS, ActionEntries
from dss_marl.controllers.planning.restoration.cold_start import advance_unsolved
from dss_marl.controllers.planning.restoration.configuration_screening import ConfigurationScreening
from dss_marl.controllers.planning.restoration.section_pickup import SectionPickup
from dss_marl.controllers.planning.restoration.sections import FeederSections
from dss_marl.controllers.rules.nearest_tie import NearestTie
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import FeederTies, Switches
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array, BoolArray, GridState
from dss_marl.profiles.splits import seed_of

_SOLVES = 16_000  # power flows per day, half a minute on ieee123 with 286 nodes
_FEWEST = 1000  # minimum on large feeders, a minute on ieee8500
_EARLY = 4  # first intervals, which matter most
_THOROUGH = 4  # factor of power flows for a thorough search
_GAIN = 1e-6  # minimum relative gain of a return
_MOST_AT_ONCE = 3  # maximum number of entries changed by a random move
_STARTS = ((1.0, 0.0), (1.0, 0.5), (0.0, 0.5))  # initial active and reactive power shares of all generators
_SCREENED, _PLANNED = 0.4, 0.4  # shares of the power flows for screening, and for days with the best configurations
_CONFIGURATIONS = 18  # maximum number of planned configurations, ...
_EACH = 200  # ... each with at least this many power flows
_CHANGES = 6  # days tried with a change between two of them


def unsupported_reason(task: Task) -> str:
    """Reason why a task is not supported; "" if it is."""
    kinds = {type(group).__name__ for group in task.device_groups if not isinstance(group, KINDS)}
    if kinds:
        return f"{', '.join(sorted(kinds))} in addition to switches, feeder ties, generators and load shedders"
    if not any(isinstance(group, Switches | FeederTies) for group in task.device_groups):
        return "no switch to restore with"
    if not task.scenario.faults:
        return "no faults to restore from"
    return ""


def plan_day(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) joint actions of the best plan found for a day and its fault.

    A plan sets, for each interval, the target switch states, generator output and load shedding. All radial
    configurations are screened by power flow; days are planned with the best of them, choosing the served load interval
    by interval, and with changes from one to another. The nearest-tie rule and separate islands for all de-energised
    sections are tried too. Then entries of the best plan are changed from some interval on, one at a time and a few
    together, and changes that improve the whole day are kept.

    Args:
        task: supported, see ``unsupported_reason``.
        day: of the year; its fault is the one drawn at the day's reset.
        thorough: search longer.
    """
    env = ZoneEnv(task)
    try:
        env.reset(seed=seed_of(day), options={"day": day})
        solves = max(_FEWEST, _SOLVES * 286 // max(286, len(task.feeder.nodes))) * (_THOROUGH if thorough else 1)
        search = PlanSearch(env, solves, np.random.default_rng(day))
        search.run()
        return search.plan_day()
    finally:
        env.close()


class PlanSearch:
    """Improves a plan of a day, (T, F) target values of all entries: 1 or -1 for a closed or open switch.

    Args:
        env: just reset.
        solves: maximum number of power flows.
        rng: for the order of changes.
    """

    def __init__(self, env: ZoneEnv, solves: int, rng: np.random.Generator) -> None:
        assert env.now is not None
        self._env, self._simulator, self._trials = env, env.simulator, TrialSolver(env.simulator)
        self._task, self._solves, self._rng = env.task, solves, rng
        self.steps = env.task.scenario.steps
        sections = FeederSections.build(env.task)
        self._entries = ActionEntries.build(env.task, sections)
        self._pickup = SectionPickup(self._trials, sections, self._entries, rng)
        self.plan = np.tile(env.simulator.hold_action(env.now), (self.steps, 1))
        self._configure(self.plan, env.now.setpoints.closed)
        self.total = -np.inf
        self._states: list[GridState] = [env.now]
        self._earned: list[float] = [0.0]
        self._asked: list[Array] = []
        self._take(0, self.plan)

    def plan_day(self) -> Array:
        """(T, F) joint actions of the plan."""
        rest = [np.zeros(self._task.agents.action_layout.size)] * (self.steps - len(self._asked))
        return np.array([*self._asked, *rest])

    def _configure(self, wanted: Array, closed: BoolArray) -> None:
        """Set the switch targets in (..., F) to the states (S) ``closed``."""
        wanted[..., self._entries.switching] = np.where(closed[self._entries.switches], 1.0, -1.0)

    def _take(self, first: int, plan: Array) -> bool:
        """Simulate a plan from an interval on; accept it if it improves the return."""
        earned, states, requests = self._earned[: first + 1], self._states[: first + 1], self._asked[:first]
        for step in range(first, self.steps):
            now = states[step]
            joint_action = self._entries.request(self._simulator, now, plan[step])
            after = self._trials.operate(now, joint_action)
            if after is None:
                return False
            total = earned[-1] + self._trials.reward_model.team_reward(now, after)
            if total < self.total + _GAIN:  # no later interval earns more than nothing
                return False
            earned.append(total)
            requests.append(joint_action)
            states.append(advance_unsolved(self._simulator, after))
        self.plan, self.total = plan, earned[-1]
        self._earned, self._states, self._asked = earned, states, requests
        return True

    # --- searching -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Search until the power flows are used up, or no changes are left."""
        self._begin()
        self._plan_configurations()
        for steps in (1, _EARLY):
            while self._left and self._sweep(self._singles(steps)):
                pass
        self._sweep(self._mixed())

    @property
    def _left(self) -> bool:
        return self._trials.solves < self._solves

    def _sweep(self, changes: Iterator[Callable[[Array], int]]) -> bool:
        """Try changes, each on the current plan; returns whether any improved it."""
        better = False
        for change in changes:
            if not self._left:
                break
            plan = self.plan.copy()
            first = change(plan)
            if first < self.steps and not np.array_equal(plan, self.plan):
                better |= self._take(first, plan)
        return better

    # --- first plans -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Initial plans: nearest ties or none, whole or in sections, with several generator and shedder settings."""
        parts = self._entries
        for base in (self.plan.copy(), self._nearest_ties(), self._apart()):
            self._take(0, base)
            for shed in self._shedding():
                for power, share in _STARTS if parts.power.size else ():
                    plan = base.copy()
                    plan[:, parts.power], plan[:, parts.share], plan[:, parts.load_shedders] = power, share, shed
                    self._take(0, plan)

    def _apart(self) -> Array:
        """(T, F) every de-energised section as a separate island, feeder ties closed onto their own."""
        plan, now = self.plan.copy(), self._states[0]
        ends = {branch.switch: list(branch.nodes1) for branch in self._task.feeder.branches if branch.switch >= 0}
        for entry, row in zip(self._entries.switching.tolist(), self._entries.switches.tolist(), strict=True):
            if row not in ends:
                plan[:, entry] = 1.0
            elif not now.solution.energised[ends[row]].any():
                plan[:, entry] = -1.0
        return plan

    def _shedding(self) -> Array:
        """Initial positions of all load shedders."""
        return np.array([-1.0, 0.0, 1.0]) if self._entries.load_shedders.size else np.zeros(1)

    def _nearest_ties(self) -> Array:
        """(T, F) closings by the nearest-tie rule in each interval."""
        rule, plan, env = NearestTie(), self.plan.copy(), self._env
        saved = env.save_state()
        rule.reset(env)
        for step in range(self.steps):
            if not env.agents or env.now is None:
                break
            env.step(self._task.encoding.encode(rule.requests(env)))
            if env.after is not None:
                plan[step:] = env.after.action
                self._configure(plan[step:], env.after.setpoints.closed)
        env.load_state(saved)
        return plan

    def _plan_configurations(self) -> None:
        """Plan days with the best radial configurations, and with changes from one of them to another."""
        screening = ConfigurationScreening(self._pickup, self._states[0], int(_SCREENED * self._solves))
        flows = int(_PLANNED * self._solves)
        states = screening.best_configurations(min(_CONFIGURATIONS, max(flows // _EACH, 1)))
        most = flows // max(len(states), 1)
        plans, earned = [], []
        for closed in states:
            plan, rewards = self._with_configuration(closed, most)
            self._take(0, plan)
            plans.append(plan)
            earned.append(rewards)
        for first, second, step in _pairs(np.array(earned).reshape(-1, self.steps))[:_CHANGES]:
            plan = plans[first].copy()
            plan[step:] = plans[second][step:]
            self._take(0, plan)

    def _with_configuration(self, closed: BoolArray, most: int) -> tuple[Array, Array]:
        """(T, F) a plan that switches to a configuration and optimises the served load per interval; (T) rewards.

        The first interval, with the highest cold-load pickup, gets half of the power flows.
        """
        now, wanted = self._states[0], self.plan[0].copy()
        self._configure(wanted, closed)
        plan, rewards = [], np.full(self.steps, -np.inf)
        for step in range(self.steps):
            share = most // 2 if step == 0 else most // (2 * self.steps)
            wanted = self._pickup.best(now, wanted, step < _EARLY, share)
            after = self._trials.operate(now, self._entries.request(self._simulator, now, wanted))
            plan.append(wanted)
            if after is None:
                break
            rewards[step] = self._trials.reward_model.team_reward(now, after)
            now = advance_unsolved(self._simulator, after)
        return np.array(plan + [wanted] * (self.steps - len(plan))), rewards

    # --- changes of a plan -----------------------------------------------------------------------------------------

    def _singles(self, steps: int) -> Iterator[Callable[[Array], int]]:
        """Changes of one entry from one of the first intervals on, each once."""
        entries = self._rng.permutation(self._task.agents.action_layout.size)
        for first in range(min(steps, self.steps)):
            for entry in entries:
                for value in self._entries.values[int(entry)]:
                    yield _from(first, [(int(entry), float(value))])

    def _mixed(self) -> Iterator[Callable[[Array], int]]:
        """Endless random changes of several entries, mostly of switches, from an interval on or for a while."""
        size, rng, entries = self._task.agents.action_layout.size, self._rng, self._entries
        while True:
            first = int(self.steps * rng.random() ** 3)  # early intervals more often
            last = self.steps if rng.random() < 0.6 else int(rng.integers(first + 1, self.steps + 1))
            pairs = []
            for _ in range(int(rng.integers(2, _MOST_AT_ONCE + 1))):
                entry = int(rng.choice(entries.switching) if rng.random() < 0.5 else rng.integers(size))
                pairs.append((entry, float(rng.choice(entries.values[entry]))))
            yield _from(first, pairs, last)


def _pairs(earned: Array) -> list[tuple[int, int, int]]:
    """Pairs of first and second of the (K, T) plans, and the interval of the change; best first."""
    done = np.concatenate([np.zeros((len(earned), 1)), earned.cumsum(axis=1)], axis=1)
    steps = earned.shape[1]
    found = [
        (done[first, step] + done[second, steps] - done[second, step], first, second, step)
        for first in range(len(earned))
        for second in range(len(earned))
        for step in range(1, steps)
        if first != second and np.isfinite(done[[first, second], steps]).all()
    ]
    return [(first, second, step) for _, first, second, step in sorted(found, reverse=True)]


def _from(first: int, pairs: list[tuple[int, float]], last: int | None = None) -> Callable[[Array], int]:
    """A change that sets entries to values between two intervals; it returns its first interval."""

    def change(plan: Array) -> int:
        for entry, value in pairs:
            plan[first:last, entry] = value
        return first

    return change

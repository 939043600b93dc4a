"""Restoration: a day with faults, planned with full foresight; switches, supplies, generators and breakers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from dss_marl.devices import Breakers, Generators, Supplies, Switches
from dss_marl.env import ZoneEnv
from dss_marl.policies.ties import NearestTie
from dss_marl.policies.trials import Trials
from dss_marl.state import Array, GridState
from dss_marl.task import Task

_KINDS = (Switches, Supplies, Generators, Breakers)
_SOLVES = 16_000  # power flows of a day, half a minute's worth on ieee123's 286 nodes
_FEWEST = 600  # where each costs much: the first plans, and some changes
_EARLY = 4  # intervals in which most is decided
_THOROUGH = 4  # times as many
_GAIN = 1e-6  # of a return
_MOST_AT_ONCE = 3  # entries that a random move changes together
_STARTS = ((1.0, 0.0), (1.0, 0.5), (0.0, 0.5))  # power and reactive share of all generators


def refuses(task: Task) -> str:
    """What a task has that a restoration plan does not move; "" where it fits."""
    kinds = {type(group).__name__ for group in task.groups if not isinstance(group, _KINDS)}
    if kinds:
        return f"{', '.join(sorted(kinds))} beside switches, supplies, generators and breakers"
    if not any(isinstance(group, Switches | Supplies) for group in task.groups):
        return "no switch to restore with"
    if not task.scenario.faults:
        return "no faults to restore from"
    return ""


def requests(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) requests of the best plan found for a day and its fault.

    Plans say, for each interval, which switches are wanted closed, how much each generator gives and what is shed. They
    begin as doing nothing, as the nearest tie and as every dark section by itself, with generators and breakers in
    several positions; then entries are changed from some interval on, one by one and a few together, and what earns
    more over the whole day stays.

    Args:
        task: that ``refuses`` nothing of.
        day: of the year; its fault is the one that the day's reset draws.
        thorough: search longer.
    """
    env = ZoneEnv(task)
    try:
        env.reset(seed=day, options={"day": day})
        solves = max(_FEWEST, _SOLVES * 286 // max(286, len(task.feeder.nodes))) * (_THOROUGH if thorough else 1)
        search = PlanSearch(env, solves, np.random.default_rng(day))
        search.run()
        return search.requests()
    finally:
        env.close()


class PlanSearch:
    """Improves a plan of a day, (T, F) wanted values of all entries: 1 or -1 of a switch closed or open.

    Args:
        env: just reset.
        solves: most power flows.
        rng: of the order in which changes are tried.
    """

    def __init__(self, env: ZoneEnv, solves: int, rng: np.random.Generator) -> None:
        assert env.now is not None
        self._env, self._plant, self._trials = env, env.plant, Trials(env.plant)
        self._task, self._solves, self._rng = env.task, solves, rng
        self.steps = env.task.scenario.steps
        parts = env.task.agents.slots.by_group(np.arange(env.task.agents.slots.size, dtype=float))
        of_kind: dict[type, list[int]] = {kind: [] for kind in _KINDS}
        self._rows: list[tuple[int, int]] = []  # (entry, row of Feeder.switches)
        for group, part in zip(env.task.groups, parts, strict=True):
            of_kind[type(group)] += part.ravel().astype(int).tolist()
            if isinstance(group, Switches | Supplies):
                rows = group.switches if isinstance(group, Switches) else group.formers
                self._rows += list(zip(part[:, 0].astype(int).tolist(), rows.tolist(), strict=True))
        self._switching = np.array([entry for entry, _ in self._rows], dtype=np.int64)
        self._switches = np.array([row for _, row in self._rows], dtype=np.int64)
        self._power = np.array(of_kind[Generators][::2], dtype=np.int64)
        self._share = np.array(of_kind[Generators][1::2], dtype=np.int64)
        self._breakers = np.array(of_kind[Breakers], dtype=np.int64)
        self._values = self._levels()
        self.plan = np.tile(env.plant.present(env.now), (self.steps, 1))
        self.plan[:, self._switching] = np.where(env.now.setpoints.closed[self._switches], 1.0, -1.0)
        self.total = -np.inf
        self._states: list[GridState] = [env.now]
        self._earned: list[float] = [0.0]
        self._asked: list[Array] = []
        self._take(0, self.plan)

    def _levels(self) -> list[Array]:
        """Per entry, the values that it may be given."""
        encoding, slots = self._task.encoding, self._task.agents.slots
        by_nature = np.concatenate([group.levels().ravel() for group in self._task.groups])
        result = []
        for entry in range(slots.size):
            count = int(encoding.counts[entry]) or int(by_nature[entry]) or 5
            result.append(np.linspace(-1, 1, count))
        for entry in self._switching:
            result[int(entry)] = np.array([-1.0, 1.0])
        return result

    def requests(self) -> Array:
        """(T, F) what the plan asks, interval by interval."""
        rest = [np.zeros(self._task.agents.slots.size)] * (self.steps - len(self._asked))
        return np.array([*self._asked, *rest])

    # --- playing ---------------------------------------------------------------------------------------------------

    def _request(self, now: GridState, wanted: Array) -> Array:
        """(F) what is asked so that entries come to what is wanted; where that is not possible now, they hold."""
        flat = wanted.copy()
        closed = now.setpoints.closed[self._switches]
        goal = wanted[self._switching] > 0
        flat[self._switching] = np.where(goal == closed, 0.0, np.where(goal, 1.0, -1.0))
        # Alone among requests a closing may be done, after an opening, where the mask forbids it.
        if self._task.encoding.discrete and (flat[self._switching] > 0).any():
            possible = self._plant.legal(now, flat[:, None])[:, 0]
            if not possible.all():
                flat = np.where(possible, flat, self._plant.present(now))
        return flat

    def _take(self, first: int, plan: Array) -> bool:
        """Play a plan from an interval on; take it over where it earns more."""
        earned, states, asked = self._earned[: first + 1], self._states[: first + 1], self._asked[:first]
        for step in range(first, self.steps):
            now = states[step]
            flat = self._request(now, plan[step])
            after = self._trials.after(now, flat)
            if after is None:
                return False
            total = earned[-1] + self._trials.judged(now, after)
            if total < self.total + _GAIN:  # no later interval earns more than nothing
                return False
            earned.append(total)
            asked.append(flat)
            states.append(self._plant.onward(after))
        self.plan, self.total = plan, earned[-1]
        self._earned, self._states, self._asked = earned, states, asked
        return True

    # --- searching -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Search until the power flows are spent, or nothing is left to try."""
        self._begin()
        for steps in (1, _EARLY):
            while self._left and self._sweep(self._singles(steps)):
                pass
        self._sweep(self._mixed())

    @property
    def _left(self) -> bool:
        return self._trials.spent < self._solves

    def _sweep(self, changes: Iterator[Callable[[Array], int]]) -> bool:
        """Try changes, each to the plan of now; whether any earned more."""
        better = False
        for change in changes:
            if not self._left:
                break
            plan = self.plan.copy()
            first = change(plan)
            if first < self.steps and not np.array_equal(plan, self.plan):
                better |= self._take(first, plan)
        return better

    def _begin(self) -> None:
        """First plans: the nearest ties or none, whole or in sections, with generators and breakers in some positions.

        An island lives only where section, generator and breaker fit each other, which no single change achieves.
        """
        ties = self._nearest_ties()
        for base in (self.plan.copy(), ties, self._apart()):
            self._take(0, base)
            for shed in self._shedding():
                for power, share in _STARTS if self._power.size else ():
                    plan = base.copy()
                    plan[:, self._power], plan[:, self._share], plan[:, self._breakers] = power, share, shed
                    self._take(0, plan)

    def _apart(self) -> Array:
        """(T, F) every dark section by itself, supplies closed onto their own."""
        plan, now = self.plan.copy(), self._states[0]
        ends = {branch.switch: list(branch.nodes1) for branch in self._task.feeder.branches if branch.switch >= 0}
        for entry, row in self._rows:
            if row not in ends:
                plan[:, entry] = 1.0
            elif not now.solution.energised[ends[row]].any():
                plan[:, entry] = -1.0
        return plan

    def _shedding(self) -> Array:
        """Positions of all breakers to begin with."""
        return np.array([-1.0, 0.0, 1.0]) if self._breakers.size else np.zeros(1)

    def _nearest_ties(self) -> Array:
        """(T, F) what the rule would have closed in each interval."""
        rule, plan, env = NearestTie(), self.plan.copy(), self._env
        saved = env.save_state()
        rule.start(env)
        for step in range(self.steps):
            if not env.agents or env.now is None:
                break
            env.step(self._task.encoding.encode(rule.asked(env)))
            if env.after is not None:
                closed = env.after.setpoints.closed[self._switches]
                plan[step:, self._switching] = np.where(closed, 1.0, -1.0)
                others = np.setdiff1d(np.arange(plan.shape[1]), self._switching)
                plan[step:, others] = env.after.action[others]
        env.load_state(saved)
        return plan

    def _singles(self, steps: int) -> Iterator[Callable[[Array], int]]:
        """One entry from one of the first intervals on, all of them once."""
        entries = self._rng.permutation(self._task.agents.slots.size)
        for first in range(min(steps, self.steps)):
            for entry in entries:
                for value in self._values[int(entry)]:
                    yield _from(first, [(int(entry), float(value))])

    def _mixed(self) -> Iterator[Callable[[Array], int]]:
        """Several entries, of switches mostly, from an interval on or for some; without end."""
        size, rng = self._task.agents.slots.size, self._rng
        while True:
            first = int(self.steps * rng.random() ** 3)  # early ones more often
            last = self.steps if rng.random() < 0.6 else int(rng.integers(first + 1, self.steps + 1))
            pairs = []
            for _ in range(int(rng.integers(2, _MOST_AT_ONCE + 1))):
                entry = int(rng.choice(self._switching) if rng.random() < 0.5 else rng.integers(size))
                pairs.append((entry, float(rng.choice(self._values[entry]))))
            yield _from(first, pairs, last)


def _from(first: int, pairs: list[tuple[int, float]], last: int | None = None) -> Callable[[Array], int]:
    """A change of a plan: entries to values from one interval until another; tells where it begins."""

    def change(plan: Array) -> int:
        for entry, value in pairs:
            plan[first:last, entry] = value
        return first

    return change

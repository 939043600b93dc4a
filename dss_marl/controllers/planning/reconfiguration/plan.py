"""Reconfiguration plan of a day: the best sequence of radial configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dss_marl.controllers.optimization.shortest_path import best_path
from dss_marl.controllers.planning.reconfiguration.lindistflow_screening import LinDistFlowScreening
from dss_marl.controllers.search.radial_configurations import RadialConfigurations
from dss_marl.controllers.search.spanning_trees import all_trees, conductor_counts, ring_table
from dss_marl.controllers.search.trial_batch import WORTHWHILE, TrialBatch
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import OpenPoints
from dss_marl.engines import open_engine
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray

_TOLERANCE = 1e-7  # of the power flow, see planning.volt_var
_SOLVES = 20_000  # power flows up to which all configurations are evaluated in all intervals, without screening
_BEST = 12  # candidate configurations per window of the day
_THOROUGH = 40
_WINDOWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 48, 96)  # intervals
_ROUNDS = 4  # of trying neighbours of the path


def plan_day(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) the best joint actions found for a day.

    With few configurations the engine evaluates all of them in every interval, and the path is optimal. Otherwise a
    linear model ranks them; the best ones of each window of the day are evaluated on the engine in every interval, and
    configurations one exchange away from the path in neighbouring intervals. Where it can, the batched engine
    evaluates them, and OpenDSS what a path through its upper bounds uses, until the best path uses nothing else: it is
    then the best one by OpenDSS's values too.

    Args:
        task: with open points as the only controlled devices.
        day: of the year.
        thorough: evaluate more candidates of the model.
    """
    trials = TrialSolver(Simulator(task, open_engine(task.feeder, tolerance=_TOLERANCE)))
    configurations = RadialConfigurations(trials)
    group, steps = configurations.group, range(task.scenario.steps)
    first = trials.simulator.begin(day, task.start)
    states = [
        trials.simulator.observe(t, task.start, first.device_state, task.default_action.copy(), None) for t in steps
    ]
    trees = all_trees(ring_table(group, task.start.closed))
    batch = TrialBatch.opened(trials)
    search = _Search(configurations, states, batch)
    if len(trees) * len(states) <= _SOLVES:
        search.try_everywhere(trees)
    else:
        scores = _WindowScores(LinDistFlowScreening(task, group, trees), states)
        search.try_everywhere(trees[scores.best_configurations(_THOROUGH if thorough else _BEST)])
        for _ in range(_ROUNDS):
            before = search.total
            search.try_neighbours()
            if search.total <= before:
                break
    result = _requests_along(task, configurations, states, search.path)
    trials.simulator.engine.close()
    if batch is not None:
        batch.close()
    return result


def unsupported_reason(task: Task) -> str:
    """Reason why a task is not supported; "" if it is."""
    scenario, problem = task.scenario, ""
    others = [group for group in task.device_groups if not isinstance(group, OpenPoints)]
    if len(others) == len(task.device_groups):
        return "no open points"
    if others:
        problem = f"{type(others[0]).__name__} in addition to open points"
    for group in task.device_groups:
        if isinstance(group, OpenPoints) and len(conductor_counts(group)) > 1:
            problem = "open points over lines of different phases"
        elif isinstance(group, OpenPoints) and len(set(task.feeder.source_nodes.tolist())) > len(_phases(task)):
            problem = "several sources"
    if scenario.circuit_controls:
        problem = "the circuit's own controls"
    if scenario.attack is not None or scenario.faults:
        problem = "attacks or faults, which differ from one episode to another"
    if scenario.reward_sharing != "team":
        problem = f"reward_sharing {scenario.reward_sharing!r}; take team"
    return problem


def _phases(task: Task) -> tuple[int, ...]:
    return task.feeder.bus(task.feeder.source_bus).phases


class _WindowScores:
    """Model scores of all configurations, summed over windows of the day."""

    def __init__(self, screening: LinDistFlowScreening, states: list[GridState]) -> None:
        scores = np.array([screening.scores(state) for state in states])
        self._sums = np.concatenate([np.zeros((1, scores.shape[1])), scores.cumsum(axis=0)])

    def best_configurations(self, count: int) -> IntArray:
        """The best ones of each window, without duplicates."""
        found: set[int] = set()
        steps = len(self._sums) - 1
        for window in (w for w in _WINDOWS if w <= steps):
            for start in range(0, steps - window + 1, max(window // 4, 1)):
                total = self._sums[start + window] - self._sums[start]
                found.update(np.argpartition(-total, min(count, len(total) - 1))[:count].tolist())
        return np.array(sorted(found))


class _Search:
    """Radial configurations on offer, and the best path through them.

    Args:
        configurations: of the task.
        states: of all intervals, as observed.
        batch: for upper bounds; None: OpenDSS solves everything.

    Attributes:
        path: per interval, (D) open switches.
        total: its return.
    """

    def __init__(
        self, configurations: RadialConfigurations, states: list[GridState], batch: TrialBatch | None = None
    ) -> None:
        self._configurations, self._states, self._batch = configurations, states, batch
        self._prices = configurations.prices(states[0])
        group = configurations.group
        self._home = np.sort(group.home)
        self._earned: dict[tuple[int, ...], Array] = {}  # (T) per interval, or a bound; NaN where not evaluated
        self._exact: dict[tuple[int, ...], BoolArray] = {}  # (T) False where it is a bound
        every = 1 if group.act_every is None else int(group.act_every[0])
        self._limits = [np.full(len(group.places), int(t % every == 0)) for t in range(len(states))]
        self.path: list[IntArray] = []
        self.total = -np.inf
        self.try_everywhere([self._home])

    def try_everywhere(self, trees: Iterable[IntArray]) -> None:
        """Evaluate more configurations in every interval, and update the best path."""
        everywhere = np.ones(len(self._states), bool)
        self._try({tuple(one.tolist()): everywhere for one in trees})
        self._choose()

    def try_neighbours(self) -> None:
        """Evaluate neighbours of the path in its intervals and the adjacent ones, and update the path."""
        where: dict[tuple[int, ...], BoolArray] = {}
        count = len(self._states)
        for t, places in enumerate(self.path):
            for one in (places, *self._configurations.neighbours(places)):
                where.setdefault(tuple(one.tolist()), np.zeros(count, bool))[max(t - 1, 0) : t + 2] = True
        self._try(where)
        self._choose()

    def _try(self, where: Mapping[tuple[int, ...], BoolArray]) -> None:
        """Evaluate in these (T) intervals, unless done before."""
        for one in where:
            self._earned.setdefault(one, np.full(len(self._states), np.nan))
            self._exact.setdefault(one, np.zeros(len(self._states), bool))
        for t, state in enumerate(self._states):  # interval by interval, so that only switches differ between solves
            new = [one for one, wanted in where.items() if wanted[t] and np.isnan(self._earned[one][t])]
            if self._batch is not None and len(new) >= WORTHWHILE:
                for one, bound in zip(new, self._configurations.bounds(self._batch, state, new), strict=True):
                    self._earned[one][t] = bound
            else:
                self._solve({one: [t] for one in new})

    def _solve(self, where: Mapping[tuple[int, ...], Sequence[int]]) -> None:
        """Evaluate on OpenDSS in these intervals."""
        for t, state in enumerate(self._states):
            for one, intervals in where.items():
                if t in intervals and not self._exact[one][t]:
                    self._earned[one][t] = self._configurations.reward(state, np.array(one))
                    self._exact[one][t] = True

    def _choose(self) -> None:
        """The best path, through values from OpenDSS alone."""
        while True:
            self._choose_by_bounds()
            used = [tuple(places.tolist()) for places in self.path]
            if all(self._exact[one][t] for t, one in enumerate(used)):
                return
            self._solve({one: range(len(self._states)) for one in dict.fromkeys(used)})

    def _choose_by_bounds(self) -> None:
        sets, table = np.array(list(self._earned), np.int64), np.array(list(self._earned.values()))
        table = np.where(np.isnan(table), -np.inf, table)
        shut = np.ones((len(sets), len(self._prices)), np.int64)
        np.put_along_axis(shut, sets, 0, axis=1)
        start = np.ones(len(self._prices), np.int64)
        start[self._home] = 0
        # If moves are allowed at any time, a candidate that is worse than the best of an interval by more than the cost
        # of all moves there and back is never worthwhile.
        free = all(limit.all() for limit in self._limits)
        worse = 4 * len(self._home) * float(self._prices.max(initial=0.0)) if free else np.inf
        offers = [np.union1d(np.flatnonzero(column >= column.max() - worse), 0) for column in table.T]  # 0: initial
        rewards = [column[own] for column, own in zip(table.T, offers, strict=True)]
        places = [shut[own] for own in offers]
        self.total, path = best_path(rewards, places, start, self._limits, self._prices)
        self.path = [sets[own][k] for own, k in zip(offers, path, strict=True)]


def _requests_along(
    task: Task, configurations: RadialConfigurations, states: list[GridState], path: list[IntArray]
) -> Array:
    """(T, F) joint actions along the path."""
    here, result = configurations.group.home.copy(), []
    for places in path:
        here = configurations.move_targets(here, places)
        result.append(configurations.requests(task.default_action, here))
    return np.array(result)

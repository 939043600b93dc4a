"""Energy plan of a day: batteries, EVs and flexible loads, with inverters, taps and banks."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from dss_marl.controllers.base import Controller, record_requests
from dss_marl.controllers.planning.energy.commitment import schedule, shifted, switched
from dss_marl.controllers.planning.energy.day_qp import solve_day_qp
from dss_marl.controllers.planning.energy.grid_sensitivities import GridSensitivities, LinearisedInterval, billed_peak
from dss_marl.controllers.planning.energy.island_limits import MARGINS, feed_islands
from dss_marl.controllers.planning.energy.storage_fleet import PARTS, StorageFleet, places
from dss_marl.controllers.planning.volt_var import plan as volt_var
from dss_marl.controllers.planning.volt_var.day_search import DaySearch
from dss_marl.controllers.planning.volt_var.interval_model import IntervalModel
from dss_marl.controllers.planning.volt_var.tap_positions import TapPositions
from dss_marl.controllers.rules.load_following import LoadFollowing
from dss_marl.controllers.rules.load_rationing import LoadRationing
from dss_marl.controllers.rules.time_of_use import TimeOfUse
from dss_marl.controllers.search.greedy import Greedy
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import (
    Capacitors,
    DemandMeters,
    EVChargers,
    FlexibilityRequests,
    Generators,
    Inverters,
    Regulators,
    Switches,
)
from dss_marl.engines import open_engine
from dss_marl.engines.base import PowerFlowError
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, GridState

_TOLERANCE = 1e-7  # of the power flow: sensitivities are differences of solutions
_ITERATIONS = 12
_ENOUGH = 1e-4  # relative gain of an iteration that justifies another
_LEAST = 0.02  # minimum trust region of an entry
_LOSSES = 0.01  # of the load, for which the commitment of an island's generator is planned
_TURNS = 2  # alternations of storage, then taps and banks
_LARGE = 150_000  # nodes times steps: above, later iterations keep the present taps, faster but less accurate


def plan_day(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) the best joint actions found for a day.

    A quadratic program of the whole day makes proposals, with sensitivities from the engine and exact storage models;
    proposals confirmed by simulation are accepted. Taps and banks, if any, are optimised alternately with it. Switches
    are not operated.

    Args:
        task: with storage or flexible devices, with or without inverters, regulators and capacitors.
        day: of the year.
        thorough: more iterations.

    Raises:
        ValueError: the day cannot be operated.
    """
    search = EnergyDay(task, day)
    try:
        search.begin()
        for turn in range(_TURNS * (1 + thorough) if len(search.positions.start) else 0):
            if not search.move_taps(first=not turn) or not search.improve():
                break
    except PowerFlowError as error:
        raise ValueError(f"day {day} of scenario {task.scenario.name!r} cannot be planned: {error}") from error
    finally:
        search.trials.simulator.engine.close()
    return search.plan


def unsupported_reason(task: Task) -> str:
    """Reason why a task is not supported; "" if it is."""
    problem = ""
    for group in task.device_groups:
        if type(group) not in (*PARTS, Regulators, Capacitors, Generators, Switches, DemandMeters, FlexibilityRequests):
            problem = f"{type(group).__name__} among the devices"
        elif isinstance(group, Switches) and not places(task).size:
            problem = "Switches among the devices, and no storage"
        elif isinstance(group, Generators) and not feed_islands(task, group):
            problem = "generators that do not each form an island of their own by default"
        elif isinstance(group, Inverters) and (group.mode != "share" or np.any(group.var_first)):
            problem = "inverters in power_factor or volt_var mode or with var priority"
        elif isinstance(group, EVChargers) and group.act_every is not None:
            problem = "chargers that do not act at every step"
        elif isinstance(group, Regulators | Capacitors) and task.scenario.circuit_controls:
            problem = f"{type(group).__name__} together with the circuit's own controls"
    return problem or volt_var.unsupported_moves(task, places(task))


class EnergyDay:
    """A day's plan, improved by programs and confirmed by simulation.

    Args:
        task: the task.
        day: of the year.

    Attributes:
        trials: on the simulator.
        positions: of taps and banks.
        plan: (T, F) the best joint actions so far.
        total: their return.
    """

    def __init__(self, task: Task, day: int) -> None:
        self.task, self.day = task, day
        self.trials = TrialSolver(Simulator(task, open_engine(task.feeder, tolerance=_TOLERANCE)))
        self.positions = TapPositions(task)
        first = self.trials.simulator.begin(day, task.start)
        self._stores = StorageFleet(task, day, self.trials.simulator.fleet.states(first.device_state))
        self._peak = billed_peak(task)
        self._network = GridSensitivities(self.trials, self._stores.columns)
        self._switched = switched(task)
        self.plan = np.tile(task.default_action, (task.scenario.steps, 1))
        for joint_action in self.plan:
            self.positions.write(joint_action, self.positions.start, self.positions.start)
        self.total, self._befores, self._afters = self.play(self.plan)
        self._take_if_better(self._with_entries(self._stores.start(self._entries)))
        if not np.isfinite(self.total):  # an island that collapses unless load is shed
            self._take_if_better(self._with_entries(self._stores.idle()))
        for rule in self._rules():
            plan = record_requests(task, day, rule)
            if plan is not None:
                plan[:, self._stores.places[self._stores.held]] = 0.0
                self._take_if_better(plan)
        if self._switched.size:
            plan = schedule(task, day, _LOSSES)
            if plan is not None:
                self._take_if_better(plan)
        if not np.isfinite(self.total):
            raise ValueError(f"day {day} of scenario {task.scenario.name!r}: its power flow fails without control")
        heaviest = int(np.argmax([abs(self._network.drawn_kw(after)) for after in self._afters]))
        self._network.measure_curvature(self._afters[heaviest])

    def _rules(self) -> list[Controller]:
        """Controllers for initial plans: load rationing for islands, and rules where linearisation fails.

        The circuit's own controls move when a voltage leaves their band, which no linearisation predicts: from idle
        batteries, every step that pays may be refused for the taps that it moves.
        """
        rules: list[Controller] = [LoadRationing(), LoadFollowing()] if self._network.islands.size else []
        return [*rules, Greedy(), TimeOfUse()] if self.task.scenario.circuit_controls else rules

    @property
    def _entries(self) -> Array:
        """(T, n) entries of the storage fleet; of a battery that forms an island the power that this draws.

        They lie within their bounds: a rule may ask for less curtailment than none.
        """
        entries, islands = self.plan[:, self._stores.places], self._network.islands
        entries = np.clip(entries, self._stores.low, self._stores.high)
        if islands.size == islands.generators or len(self._afters) < len(entries):
            return entries
        on = np.array([islands.on(after) for after in self._afters])
        given = np.array([islands.given_kw(after) for after in self._afters])
        return self._stores.form(on, given, entries)

    def _with_entries(self, entries: Array) -> Array:
        """(T, F) the plan with other entries of the storage fleet."""
        plan = self.plan.copy()
        plan[:, self._stores.places] = entries
        return plan

    def play(self, plan: Array) -> tuple[float, list[GridState], list[GridState]]:
        """Return of (T, F) joint actions, and the states around each step; -inf if a power flow or an island fails."""
        simulator, total = self.trials.simulator, 0.0
        befores: list[GridState] = []
        afters: list[GridState] = []
        now = simulator.begin(self.day, self.task.start)
        for joint_action in plan:
            after = self.trials.operate(now, joint_action)
            if after is None or self._network.islands.dark(after):
                return -np.inf, befores, afters
            total += self.trials.reward_model.team_reward(now, after)
            befores.append(now)
            afters.append(after)
            now = simulator.observe_next(after)
        return total, befores, afters

    def begin(self) -> None:
        """Improve the entries at the initial taps and banks, at first with a margin to the limits of islands."""
        islands = self._network.islands
        for margin in MARGINS if islands.size else MARGINS[-1:]:
            islands.margin = margin
            self.improve()
        if self._switched.size and self.move_starts():
            self.improve()

    def move_starts(self) -> float:
        """Shift starts and stops of the island's generator, with all else as planned; returns the gain."""
        start = self.total
        for on in shifted(self.plan[:, self._switched[0]] > -1):
            plan = self.plan.copy()
            plan[:, self._switched[0]] = np.where(on, 1.0, -1.0)
            self._take_if_better(plan)
        return self.total - start

    def improve(self) -> float:
        """Improve the entries at the present taps and banks; returns the gain."""
        start, radius = self.total, 2.0
        answers: list[LinearisedInterval] = []
        slopes: list[Any] = []
        for _ in range(_ITERATIONS):
            if not answers:
                answers, slopes = self._linearise(radius)
            wanted = solve_day_qp(
                self._stores, self._entries, answers, slopes, radius, self._network.islands, self._peak
            )
            if wanted is None:
                break
            gained, part = self._accept(wanted)
            if gained > 0:
                answers = []
                radius = min(2 * radius, 2.0) if part == 1 else max(part * radius, _LEAST)
                if gained < _ENOUGH * abs(self.total):
                    break
            else:
                radius *= 0.3
                if radius < _LEAST:
                    break
        return self.total - start

    def _accept(self, wanted: Array) -> tuple[float, float]:
        """Simulate the proposed entries, or a partial step; returns the gain, or 0, and the step length."""
        now = self._entries
        for part in (1.0, 0.4):
            gained = self._take_if_better(self._with_entries(now + part * (wanted - now)))
            if gained > 0:
                return gained, part
        return 0.0, 0.0

    def _take_if_better(self, plan: Array) -> float:
        """Accept a plan, rounded as stored, if simulation confirms a better return; returns the gain, or 0."""
        plan = self._round(plan)
        total, befores, afters = self.play(plan)
        gained = total - self.total
        if not gained > 0:  # also false if both fail
            return 0.0
        self.plan, self.total, self._befores, self._afters = plan, total, befores, afters
        return gained

    def _linearise(self, radius: float) -> tuple[list[LinearisedInterval], list[Any]]:
        """Linearised intervals around the plan, and per device model (T m, T n) Jacobians of its columns."""
        slopes = self._stores.slopes(self._entries)  # which also sets what batteries form an island
        reach = np.hstack([np.asarray(abs(slope).sum(1)).reshape(len(self.plan), -1) for slope in slopes])
        free, reach = reach > 0, np.minimum(reach * min(radius, 1.0), 2.0)
        rows = zip(self._befores, self._afters, free, reach, strict=True)
        return [self._network.linearise(*row) for row in rows], slopes

    def move_taps(self, first: bool) -> float:
        """Optimise taps, banks and inverters over the day with fixed storage; returns the gain."""
        positions, task = self.positions, self.task
        intervals = IntervalModel(self.trials, self._befores, positions, self.plan)
        prices = positions.prices(self.trials, self._befores[0])
        rows = zip(self._afters, self.plan[:, intervals.places], strict=True)
        remeasure = first or len(task.feeder.nodes) * task.scenario.steps < _LARGE
        known = None if remeasure else [(positions.of(after.setpoints), entries) for after, entries in rows]
        search = DaySearch(intervals, positions, prices, known)
        volt_var.run_rounds(search, partial(positions.near, pairs=False))
        return self._take_if_better(search.requests())

    def _round(self, plan: Array) -> Array:
        """(T, F) a plan in half precision; charging of EVs is never rounded down."""
        rounded, places = plan.astype(np.float16), self._stores.not_to_lower()
        less = rounded[:, places] < plan[:, places]
        rounded[:, places] = np.where(less, np.nextafter(rounded[:, places], np.float16(1)), rounded[:, places])
        return rounded.astype(float)

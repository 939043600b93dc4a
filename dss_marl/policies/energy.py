"""Energy days: batteries, cars and flexible loads planned over the whole day, with inverters, taps and banks."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from dss_marl.devices import Batteries, Capacitors, EVChargers, FlexibleLoads, Inverters, Regulators
from dss_marl.engines.base import PowerFlowError
from dss_marl.engines.opendss import OpenDSSEngine
from dss_marl.plant import Plant
from dss_marl.policies import volt_var
from dss_marl.policies.days import DaySearch
from dss_marl.policies.moments import Moments
from dss_marl.policies.network import Answer, Network
from dss_marl.policies.parts import BatteryPart, Columns, EVPart, InverterPart, Outlook, Part
from dss_marl.policies.positions import Positions
from dss_marl.policies.programme import Programme
from dss_marl.policies.shifting import FlexiblePart
from dss_marl.policies.trials import Trials
from dss_marl.rewards import battery_use, stored, unmet, unserved
from dss_marl.state import Array, BoolArray, GridState, IntArray, Setpoints
from dss_marl.task import Task

_TOLERANCE = 1e-7  # of the power flow: slopes are differences of solutions
_ITERATIONS = 12
_ENOUGH = 1e-4  # relative gain of an iteration that is worth another
_LEAST = 0.02  # of an entry, how far a programme may reach at least
_ROUNDS = 4  # of a programme, in which rows that it broke join it; few rows ever matter
_WORST = 6  # of them at a time
_MISSED = 1e-4  # beyond the limit
_TURNS = 2  # of stores, then taps and banks
_PARTS: dict[type, Any] = {
    Inverters: InverterPart,
    Batteries: BatteryPart,
    EVChargers: EVPart,
    FlexibleLoads: FlexiblePart,
}


def requests(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) the best requests found for a day.

    A quadratic programme of the whole day proposes, with slopes from the engine and exact models of the stores; what
    the played day confirms is taken. Taps and banks, where there are any, are sought in turns with it.

    Args:
        task: stores, with or without inverters, regulators and capacitors.
        day: of the year.
        thorough: more turns.

    Raises:
        ValueError: the day cannot be operated.
    """
    search = EnergyDay(task, day)
    try:
        search.improve()
        for _ in range(_TURNS * (1 + thorough) if len(search.positions.start) else 0):
            if not search.move_taps() or not search.improve():
                break
    except PowerFlowError as error:
        raise ValueError(f"day {day} of scenario {task.scenario.name!r} cannot be planned: {error}") from error
    finally:
        search.trials.plant.engine.close()
    return search.rounded()


def refuses(task: Task) -> str:
    """What of a task this does not plan; "" where it plans all."""
    problem = ""
    for group in task.groups:
        if type(group) not in (*_PARTS, Regulators, Capacitors):
            problem = f"{type(group).__name__} among the devices"
        elif isinstance(group, Inverters) and (group.mode != "share" or np.any(group.var_first)):
            problem = "inverters with power factors, curves or var priority"
        elif isinstance(group, EVChargers) and group.every is not None:
            problem = "chargers that do not act at every step"
    return problem or volt_var.refuses_moves(task, Moved.places(task))


class Moved:
    """The entries that a programme decides: all but those of regulators and capacitors."""

    @staticmethod
    def places(task: Task) -> IntArray:
        """(n) their places in the flat vector."""
        parts, everything = task.agents.slots.parts, np.arange(task.agents.slots.size)
        own = [everything[part] for part, g in zip(parts, task.groups, strict=True) if type(g) in _PARTS]
        return np.concatenate([np.zeros(0, np.int64), *own])


class EnergyDay:
    """A day's plan, made better by programmes that the played day confirms.

    Args:
        task: what there is.
        day: of the year.

    Attributes:
        trials: on the plant.
        positions: of taps and banks.
        plan: (T, F) the best requests so far.
        total: what they earn.
    """

    def __init__(self, task: Task, day: int) -> None:
        self.task, self.day = task, day
        self.trials = Trials(Plant(task, OpenDSSEngine(task.feeder, tolerance=_TOLERANCE)))
        self.positions = Positions(task)
        plant, steps = self.trials.plant, task.scenario.steps
        first = plant.begin(day, task.start)
        self._outlook = _outlook(task, day)
        memories = plant.memories(first.memory)
        self._parts: list[Part] = [
            _PARTS[type(group)](group, memory.copy(), self._outlook)
            for group, memory in zip(task.groups, memories, strict=True)
            if type(group) in _PARTS
        ]
        self._places = Moved.places(task)  # the parts' entries, one after the other
        ends = np.cumsum([part.low.shape[1] for part in self._parts])
        self._slices = [slice(end - part.low.shape[1], end) for part, end in zip(self._parts, ends, strict=True)]
        self._network = Network(self.trials, _joined([part.columns for part in self._parts]))
        self.plan = np.tile(task.neutral, (steps, 1))
        for flat in self.plan:
            self.positions.write(flat, self.positions.start, self.positions.start)
        self.total, self._befores, self._afters = self.played(self.plan)
        start = self.plan.copy()
        start[:, self._places] = np.hstack(
            [part.start(start[:, self._places[own]]) for part, own in zip(self._parts, self._slices, strict=True)]
        )
        self._better(start)
        heaviest = int(np.argmax([abs(float(after.solution.source_kw)) for after in self._afters]))
        self._network.bend(self._afters[heaviest])

    def played(self, plan: Array) -> tuple[float, list[GridState], list[GridState]]:
        """What (T, F) requests earn, and the states around every step; -inf where a power flow fails."""
        plant, total = self.trials.plant, 0.0
        befores: list[GridState] = []
        afters: list[GridState] = []
        now = plant.begin(self.day, self.task.start)
        for flat in plan:
            after = self.trials.after(now, flat)
            if after is None:
                return -np.inf, befores, afters
            total += self.trials.judged(now, after)
            befores.append(now)
            afters.append(after)
            now = plant.coming(now.step + 1, after.setpoints, after.memory, after.action, after)
        return total, befores, afters

    def improve(self) -> float:
        """Better entries at the taps and banks of now; what was gained."""
        start, radius, answers = self.total, 2.0, None
        for _ in range(_ITERATIONS):
            if answers is None:
                answers, slopes = self._answers(radius)
            proposed = self._proposed(answers, slopes, radius)
            if proposed is None:
                break
            gained, part = self._accept(proposed)
            if gained > 0:
                answers = None
                radius = min(2 * radius, 2.0) if part == 1 else max(part * radius, _LEAST)
                if gained < _ENOUGH * abs(self.total):
                    break
            else:
                radius *= 0.3
                if radius < _LEAST:
                    break
        return self.total - start

    def _accept(self, proposed: Array) -> tuple[float, float]:
        """Play it, or a part of the way to it; what was gained, 0 where neither is better, and the part."""
        now = self.plan[:, self._places]
        for part in (1.0, 0.4):
            plan = self.plan.copy()
            plan[:, self._places] = now + part * (proposed - now)
            if self._better(plan) > 0:
                return self._gain, part
        return 0.0, 0.0

    def _better(self, plan: Array) -> float:
        """Take a plan if it earns more when it is played; what was gained, or 0."""
        total, befores, afters = self.played(plan)
        self._gain = max(total - self.total, 0.0)
        if self._gain > 0:
            self.plan, self.total, self._befores, self._afters = plan, total, befores, afters
        return self._gain

    def _answers(self, radius: float) -> tuple[list[Answer], list[Any]]:
        """How each interval answers around the plan, and (T m, T n) how each part's entries move its columns."""
        entries = self.plan[:, self._places]
        slopes = [part.slopes(entries[:, own]) for part, own in zip(self._parts, self._slices, strict=True)]
        steps = self._outlook.steps
        reach = np.hstack([np.asarray(abs(slope).sum(1)).reshape(steps, -1) for slope in slopes])
        free, reach = reach > 0, np.minimum(reach * min(radius, 1.0), 2.0)
        rows = zip(self._befores, self._afters, free, reach, strict=True)
        return [self._network.answer(*row) for row in rows], slopes

    def _proposed(self, answers: list[Answer], slopes: list[Any], radius: float) -> Array | None:
        """(T, n) what the programme wants within the radius; None where the solver gives up."""
        for part in self._parts:
            part.free()
        active = [[np.zeros(len(rows.value), bool) for rows in answer.rows] for answer in answers]
        for answer, on in zip(answers, active, strict=True):
            _activate(answer, on, 0.0 * answer.reach)
        proposed = None
        for _ in range(_ROUNDS):
            programme, entry, moves = self._programme(answers, slopes, radius, active)
            solution = programme.solved()
            if solution is None:
                return None
            proposed = np.asarray(solution[entry])
            impossible = [part.impossible(solution) for part in self._parts]
            missed = [_activate(*row) for row in zip(answers, active, solution[moves], strict=True)]
            if not any(impossible) and not any(missed):
                break
        return proposed

    def _programme(
        self, answers: list[Answer], slopes: list[Any], radius: float, active: list[list[BoolArray]]
    ) -> tuple[Programme, IntArray, IntArray]:
        """The programme with the active rows, and its variables of entries (T, n) and of columns' moves (T, m)."""
        programme, now = Programme(), self.plan[:, self._places]
        low, high = (np.hstack([getattr(part, end) for part in self._parts]) for end in ("low", "high"))
        inside = np.clip(now, low, high)
        entry = programme.variables(np.maximum(low, inside - radius), np.minimum(high, inside + radius))
        steps, moves = self._outlook.steps, []
        for part, own, slope in zip(self._parts, self._slices, slopes, strict=True):
            mine, here = entry[:, own], now[:, own]
            m = len(part.columns.injection)
            move = programme.variables(np.full((steps, m), -np.inf), np.full((steps, m), np.inf))
            entries, at = slope.tocoo(), np.arange(move.size)
            ends = -(slope @ here.ravel())
            programme.rows(
                np.r_[at, entries.row],
                np.r_[move.ravel(), mine.ravel()[entries.col]],
                np.r_[np.ones(move.size), -entries.data],
                ends,
                ends,
            )
            part.couple(programme, mine, here)
            moves.append(move)
        together = np.hstack(moves)
        for move, answer, rows in zip(together, answers, active, strict=True):
            _write(programme, move, answer, rows)
        return programme, entry, together

    def move_taps(self) -> float:
        """Taps and banks over the day, and inverters with them, while stores do what they do; what was gained."""
        positions = self.positions
        moments = Moments(self.trials, self._befores, positions, self.plan)
        search = DaySearch(moments, positions, positions.prices(self.trials, self._befores[0]))
        volt_var.rounds(search, partial(positions.near, pairs=False))
        return self._better(search.requests())

    def rounded(self) -> Array:
        """(T, F) the plan in half precision; cars are never asked for less than planned."""
        rounded = self.plan.astype(np.float16)
        for part, own in zip(self._parts, self._slices, strict=True):
            if isinstance(part, EVPart):
                places = self._places[own]
                less = rounded[:, places] < self.plan[:, places]
                more = np.nextafter(rounded[:, places], np.float16(1))
                rounded[:, places] = np.where(less, more, rounded[:, places])
        return rounded.astype(float)


def _activate(answer: Answer, active: list[BoolArray], move: Array) -> bool:
    """Whether rows that take no part are beyond their limit with columns moved by (m); the worst join in."""
    found = False
    for rows, on in zip(answer.rows, active, strict=True):
        paid = np.where(on, 0.0, rows.price * np.maximum(rows.value + rows.slopes @ move, 0.0))
        worst = np.argsort(-paid)[:_WORST]
        worst = worst[paid[worst] > _MISSED * rows.price[worst]]
        on[worst] = True
        found |= bool(len(worst))
    return found


def _write(programme: Programme, move: IntArray, answer: Answer, active: list[BoolArray]) -> None:
    """An interval's cost, as a function of how far its columns move (m)."""
    programme.price(move, answer.gradient)
    free = np.flatnonzero(answer.curvature.any(1))
    programme.square(move[free], answer.curvature[np.ix_(free, free)])
    for rows, on in zip(answer.rows, active, strict=True):
        value, slopes, count = rows.value[on], rows.slopes[on], int(on.sum())
        if not count:
            continue
        paid = 1 if rows.highest else count
        beyond = programme.variables(np.zeros(paid), np.inf, rows.price[on][:paid])
        row, column = np.nonzero(slopes)
        programme.rows(
            np.r_[row, np.arange(count)],
            np.r_[move[column], np.broadcast_to(beyond, count)],
            np.r_[slopes[row, column], -np.ones(count)],
            np.full(count, -np.inf),
            -value,
        )


def _outlook(task: Task, day: int) -> Outlook:
    scenario = task.scenario
    first = round(scenario.start_hour / scenario.dt_h)
    beyond = max(0, first + scenario.steps - task.profiles.steps)
    rows, made = slice(first, first + scenario.steps), task.profiles.day(day, beyond)
    weights = {term: weight for weight, term in task.rewards.values()}
    return Outlook(
        setpoints=Setpoints(made.kw[rows], made.kvar[rows], task.start.tap, task.start.closed),
        dt_h=scenario.dt_h,
        stored=weights.get(stored, 0.0) / 1000,
        unmet=(weights.get(unmet, 0.0) + weights.get(unserved, 0.0)) / 1000,
        through=weights.get(battery_use, 0.0) / 1000,
    )


def _joined(columns: list[Columns]) -> Columns:
    return Columns(
        np.concatenate([one.injection for one in columns]),
        np.hstack([one.kw for one in columns]),
        np.hstack([one.kvar for one in columns]),
    )

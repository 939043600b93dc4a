"""Beam search over the states of autonomous regulators and capacitors, with planned inverters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dss_marl.controllers.planning.volt_var import plan as volt_var
from dss_marl.controllers.planning.volt_var.interval_model import IntervalModel, IntervalOptimum
from dss_marl.controllers.planning.volt_var.tap_positions import TapPositions
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import Inverters
from dss_marl.engines import open_engine
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import Task, build_task
from dss_marl.grid.state import Array, GridState, Setpoints

_KEPT = 8  # beam width: states of regulators and banks kept, by accumulated reward
_PARTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # step lengths towards the inverters' optimum with fixed taps
_PUSHES = (0.2, 0.5, 1.0)  # perturbations, of all inverters or single ones to a limit, that trigger lasting tap moves
_NONE = np.zeros(0, np.int64)  # no positions are decided by the plan


class _Way(NamedTuple):
    """Best path to a state of regulators and banks: accumulated reward, state, predecessor, entries (n)."""

    total: float
    state: GridState
    before: int
    entries: Array


def plan_day(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) the best joint actions found for a day.

    Autonomous regulators move when voltages leave their bands, and otherwise hold. The future thus depends on their
    positions, so the best path to each reached position is kept. From each, candidate inverter actions are the optimum
    with present taps, or with the resulting ones, parts of these, and perturbations that move taps to where they pay
    off later. The engine determines the tap positions.

    Args:
        task: with inverters as the only controlled devices.
        day: of the year.
        thorough: use four times the beam width.

    Raises:
        ValueError: no path without a failed power flow.
    """
    search = RegulatedDay(task, day, _KEPT * (4 if thorough else 1))
    try:
        return search.plan_day()
    finally:
        search.close()


def unsupported_reason(task: Task) -> str:
    """Reason why a task is not supported; "" if it is."""
    for group in task.device_groups:
        if not isinstance(group, Inverters):
            return f"{type(group).__name__} among the devices"
        if group.voltage_dependent or group.act_every is not None:
            return "inverters in volt_var mode, or that do not act at every step"
    if not task.scenario.circuit_controls:
        return "no circuit controls"
    return volt_var.refuses_moves(task, IntervalModel.places_of(task))


class RegulatedDay:
    """Beam search of one day over the positions of the circuit's own controls.

    Args:
        task: the task.
        day: of the year.
        kept: beam width.
    """

    def __init__(self, task: Task, day: int, kept: int) -> None:
        self._task, self._day, self._kept = task, day, kept
        held = build_task(task.scenario.replace(circuit_controls=False))
        engine = open_engine(task.feeder)
        self._running, self._held = TrialSolver(Simulator(task, engine)), TrialSolver(Simulator(held, engine))
        self._positions = TapPositions(held)
        self._places = IntervalModel.places_of(task)
        moments = IntervalModel(self._held, [], self._positions)
        self._low, self._high = moments.low, moments.high
        together = np.outer(_PUSHES, np.ones(len(self._places)))
        self._pushes = np.vstack([together, -together, np.eye(len(self._places)), -np.eye(len(self._places))])

    def close(self) -> None:
        """Release the engine."""
        self._running.simulator.engine.close()

    def plan_day(self) -> Array:
        """(T, F) joint actions of the best path."""
        start = self._running.simulator.begin(self._day, self._task.start)
        self._held.simulator.begin(self._day, self._task.start)
        ways, kept = [_Way(0.0, start, 0, np.zeros(len(self._places)))], []
        for step in range(self._task.scenario.steps):
            base = self._running.simulator.observe(step, self._task.start, start.device_state, start.action, None)
            reached = self._onward(base, ways)
            if not reached:
                where = f"day {self._day} of scenario {self._task.scenario.name!r}"
                raise ValueError(f"{where}: no power flow of step {step} can be solved")
            ways = sorted(reached.values(), key=lambda way: -way.total)[: self._kept]
            kept.append(ways)
        best, flats = 0, []
        for row in reversed(kept):
            flats.append(self._flat(row[best].entries))
            best = row[best].before
        return np.array(flats[::-1])

    def _flat(self, entries: Array) -> Array:
        joint_action = self._task.default_action.copy()
        joint_action[self._places] = entries
        return joint_action

    def _onward(self, base: GridState, ways: list[_Way]) -> dict[bytes, _Way]:
        """The best path to every position reached in an interval."""
        reached: dict[bytes, _Way] = {}
        curvature: Array | None = None
        for number, way in enumerate(ways):
            now = _there(base, way.state.setpoints)
            wanted, curvature = self._best(now, way.entries, curvature)
            tried = [np.clip(wanted + push, self._low, self._high) for push in self._pushes]
            tried += [way.entries + part * (wanted - way.entries) for part in _PARTS]
            after = self._take(reached, now, way, number, tried)
            if after is not None and not _same(after.setpoints, now.setpoints):
                moved, _ = self._best(_there(base, after.setpoints), wanted, curvature)
                self._take(reached, now, way, number, [moved, (moved + wanted) / 2])
        return reached

    def _take(
        self, reached: dict[bytes, _Way], now: GridState, way: _Way, number: int, tried: list[Array]
    ) -> GridState | None:
        """Operate the interval with each of the entries (n), keep the better ways; the state after the last ones."""
        after = None
        for entries in tried:
            said = entries.astype(np.float16).astype(float)  # precision of stored plans: control bands are sharp
            after = self._running.after(now, self._flat(said))
            if after is None:
                continue
            total = way.total + self._running.team_reward(now, after)
            key = after.setpoints.tap.tobytes() + after.setpoints.closed.tobytes()
            if key not in reached or total > reached[key].total:
                reached[key] = _Way(total, after, number, said)
        return after

    def _best(self, now: GridState, entries: Array, curvature: Array | None) -> tuple[Array, Array | None]:
        """(n) the inverters' best entries with present taps and banks, and the curvature of the cost (n, n)."""
        moments = IntervalModel(self._held, [now], self._positions)
        inside = np.clip(entries, self._low, self._high)
        local = moments.local(0, _NONE, inside, curvature)
        if local is None:
            return inside, curvature
        return moments.improved(0, _NONE, IntervalOptimum(-np.inf, inside), local).entries, local.curvature


def _there(base: GridState, at: Setpoints) -> GridState:
    """An interval before control, with taps and banks from other set points."""
    setpoints = Setpoints(base.setpoints.kw, base.setpoints.kvar, at.tap.copy(), at.closed.copy())
    return base.replace(setpoints=setpoints)


def _same(one: Setpoints, other: Setpoints) -> bool:
    return np.array_equal(one.tap, other.tap) and np.array_equal(one.closed, other.closed)

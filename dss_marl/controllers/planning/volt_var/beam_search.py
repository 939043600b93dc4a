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

_KEPT = 8  # positions of regulators and banks from which paths go on: those that earned most so far
_PARTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the path to where inverters would be best if no tap moved
_PUSHES = (0.2, 0.5, 1.0)  # away from there, all together or each to its end, so that taps move and stay moved
_NONE = np.zeros(0, np.int64)  # positions that a plan decides


class _Path(NamedTuple):
    """The best path to some positions: their returns, states, predecessors and joint actions (n)."""

    total: float
    state: GridState
    before: int
    entries: Array


def plan_day(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) the best joint actions found for a day.

    Regulators move by themselves as voltages leave their bands, and stay where they are until they leave them again.
    What comes after an interval thus depends on where they are, so the best path to each of their positions is kept:
    from each, the inverters are asked for what is best with taps as they are, or as they would become, for less, and
    for what pushes taps to where it pays later. The engine says where the taps go.

    Args:
        task: with inverters as the only controlled devices.
        day: of the year.
        thorough: use four times the beam width.

    Raises:
        ValueError: every path contains a failed power flow.
    """
    search = BeamSearch(task, day, _KEPT * (4 if thorough else 1))
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
        return "no controls of the circuit"
    return volt_var.unsupported_moves(task, IntervalModel.places_of(task))


class BeamSearch:
    """A day's paths through the positions of the circuit's own controls.

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
        intervals = IntervalModel(self._held, [], self._positions)
        self._low, self._high = intervals.low, intervals.high
        together = np.outer(_PUSHES, np.ones(len(self._places)))
        self._pushes = np.vstack([together, -together, np.eye(len(self._places)), -np.eye(len(self._places))])

    def close(self) -> None:
        """Release the engine."""
        self._running.simulator.engine.close()

    def plan_day(self) -> Array:
        """(T, F) of the best path."""
        start = self._running.simulator.begin(self._day, self._task.start)
        self._held.simulator.begin(self._day, self._task.start)
        paths, kept = [_Path(0.0, start, 0, np.zeros(len(self._places)))], []
        for step in range(self._task.scenario.steps):
            base = self._running.simulator.observe(step, self._task.start, start.device_state, start.action, None)
            reached = self._extend(base, paths)
            if not reached:
                where = f"day {self._day} of scenario {self._task.scenario.name!r}"
                raise ValueError(f"{where}: no power flow of step {step} can be solved")
            paths = sorted(reached.values(), key=lambda path: -path.total)[: self._kept]
            kept.append(paths)
        best, plan = 0, []
        for row in reversed(kept):
            plan.append(self._joint_action(row[best].entries))
            best = row[best].before
        return np.array(plan[::-1])

    def _joint_action(self, entries: Array) -> Array:
        joint_action = self._task.default_action.copy()
        joint_action[self._places] = entries
        return joint_action

    def _extend(self, base: GridState, paths: list[_Path]) -> dict[bytes, _Path]:
        """The best path to every position that is reached in an interval."""
        reached: dict[bytes, _Path] = {}
        curvature: Array | None = None
        for number, path in enumerate(paths):
            now = _with_positions(base, path.state.setpoints)
            wanted, curvature = self._best_entries(now, path.entries, curvature)
            tried = [np.clip(wanted + push, self._low, self._high) for push in self._pushes]
            tried += [path.entries + part * (wanted - path.entries) for part in _PARTS]
            after = self._try_entries(reached, now, path, number, tried)
            if after is not None and not _same_positions(after.setpoints, now.setpoints):
                moved, _ = self._best_entries(_with_positions(base, after.setpoints), wanted, curvature)
                self._try_entries(reached, now, path, number, [moved, (moved + wanted) / 2])
        return reached

    def _try_entries(
        self, reached: dict[bytes, _Path], now: GridState, path: _Path, number: int, tried: list[Array]
    ) -> GridState | None:
        """Operate the interval with each of the entries (n), keep the better paths; the state after the last ones."""
        after = None
        for entries in tried:
            said = entries.astype(np.float16).astype(float)  # as plans are kept: a control's band has sharp ends
            after = self._running.operate(now, self._joint_action(said))
            if after is None:
                continue
            total = path.total + self._running.reward_model.team_reward(now, after)
            key = after.setpoints.tap.tobytes() + after.setpoints.closed.tobytes()
            if key not in reached or total > reached[key].total:
                reached[key] = _Path(total, after, number, said)
        return after

    def _best_entries(self, now: GridState, entries: Array, curvature: Array | None) -> tuple[Array, Array | None]:
        """(n) the inverters' best entries with present taps and banks, and the curvature of the cost (n, n)."""
        intervals = IntervalModel(self._held, [now], self._positions)
        inside = np.clip(entries, self._low, self._high)
        local = intervals.linearise(0, _NONE, inside, curvature)
        if local is None:
            return inside, curvature
        best = intervals.improve(0, _NONE, IntervalOptimum(-np.inf, inside), local)
        return intervals.settle_converters(0, _NONE, best, local.curvature).entries, local.curvature


def _with_positions(base: GridState, at: Setpoints) -> GridState:
    """An interval before control, with taps and banks from other set points."""
    setpoints = Setpoints(base.setpoints.kw, base.setpoints.kvar, at.tap.copy(), at.closed.copy())
    return base.replace(setpoints=setpoints)


def _same_positions(one: Setpoints, other: Setpoints) -> bool:
    return np.array_equal(one.tap, other.tap) and np.array_equal(one.closed, other.closed)

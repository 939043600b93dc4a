"""Exact day plan for a single discrete device, by dynamic programming over its positions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import Capacitors, Inverters, Regulators, SteppedInverters
from dss_marl.engines import open_engine
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, GridState

_KNOWN = (SteppedInverters, Inverters, Regulators, Capacitors)
_MOST = 100  # maximum number of choices of the entry
optimal_over = "all sequences of choices of the one entry"  # see bounds.optimum_of


class _Path(NamedTuple):
    """The best path to a position: its return, state, predecessor and joint action."""

    total: float
    state: GridState
    before: int
    entry: float


def plan_day(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) joint actions of the best of all sequences of choices.

    Exact, because the power flow forgets: what comes after an interval depends on the device's position alone, so of
    all paths to a position only the best one counts.

    Args:
        task: one device with one entry.
        day: of the year.
        thorough: no effect, since the search is exact.

    Raises:
        ValueError: every sequence contains a failed power flow.
    """
    trials = TrialSolver(Simulator(task, open_engine(task.feeder)))
    simulator = trials.simulator
    start = simulator.begin(day, task.start)
    paths, kept = [_Path(0.0, start, 0, 0.0)], []
    for step in range(task.scenario.steps):
        base = simulator.observe(step, task.start, start.device_state, task.default_action.copy(), None)
        reached: dict[bytes, _Path] = {}
        for number, path in enumerate(paths):
            now = _with_device(base, path.state)
            for entry in _choices(task) if simulator.fleet.can_act(step)[0] else simulator.hold_action(now):
                after = trials.operate(now, np.array([entry]))
                if after is None:
                    continue
                total, key = path.total + trials.reward_model.team_reward(now, after), _position(after)
                if key not in reached or total > reached[key].total:
                    reached[key] = _Path(total, after, number, float(entry))
        if not reached:
            raise ValueError(f"day {day} of scenario {task.scenario.name!r}: no choice of step {step} can be operated")
        paths = list(reached.values())
        kept.append(paths)
    simulator.engine.close()
    best = max(range(len(paths)), key=lambda number: paths[number].total)
    entries = []
    for row in reversed(kept):
        entries.append(row[best].entry)
        best = row[best].before
    return np.array(entries[::-1])[:, None]


def _choices(task: Task) -> Array:
    """Values of the entry: the levels of the encoding, otherwise the inherent positions of the device."""
    count = int(task.encoding.counts[0]) or int(task.device_groups[0].n_levels()[0, 0])
    return np.linspace(-1, 1, count)


def _with_device(base: GridState, device: GridState) -> GridState:
    """An interval before control, with the device in the state of another one."""
    tap, closed = device.setpoints.tap, device.setpoints.closed
    setpoints = base.setpoints.copy()
    setpoints.tap, setpoints.closed = tap.copy(), closed.copy()
    return base.replace(setpoints=setpoints, device_state=device.device_state)


def _position(state: GridState) -> bytes:
    device_state: Array = np.round(state.device_state, 9) + 0.0  # no negative zero
    return device_state.tobytes() + state.setpoints.tap.tobytes() + state.setpoints.closed.tobytes()


def unsupported_reason(task: Task) -> str:
    """Reason why a task is not supported; "" if it is."""
    scenario, problem = task.scenario, ""
    if len(task.device_groups) > 1 or task.device_groups[0].size > 1 or task.agents.action_layout.size > 1:
        problem = "more than one device or entry"
    elif not isinstance(task.device_groups[0], _KNOWN) or task.device_groups[0].voltage_dependent:
        problem = f"{type(task.device_groups[0]).__name__} among the devices"
    elif not 0 < len(_choices(task)) <= _MOST:
        problem = "a continuous entry; use actions: multidiscrete"
    if scenario.circuit_controls:
        problem = "the circuit's own controls"
    if scenario.attack is not None or scenario.faults:
        problem = "attacks or faults, which differ from one episode to another"
    return problem

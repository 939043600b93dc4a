"""Levels: the exact best day of one device that has few choices, by dynamic programming over its positions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dss_marl.controllers.search.trial_solves import Trials
from dss_marl.devices import Capacitors, Inverters, Regulators, SteppedInverters
from dss_marl.engines import open_engine
from dss_marl.envs.simulator import Plant
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, GridState

_KNOWN = (SteppedInverters, Inverters, Regulators, Capacitors)
_MOST = 100  # choices of the entry


class _Way(NamedTuple):
    """The best way to a position: what it earned, the state there, where it came from and what was asked."""

    total: float
    state: GridState
    before: int
    entry: float


def requests(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) the requests of the best of all sequences of choices.

    Exact, because the power flow forgets: what comes after an interval depends on the device's position alone, so of
    all ways to a position only the best one counts.

    Args:
        task: one device with one entry.
        day: of the year.
        thorough: no longer search is needed.

    Raises:
        ValueError: every sequence meets a power flow that fails.
    """
    trials = Trials(Plant(task, open_engine(task.feeder)))
    plant = trials.plant
    start = plant.begin(day, task.start)
    ways, kept = [_Way(0.0, start, 0, 0.0)], []
    for step in range(task.scenario.steps):
        base = plant.coming(step, task.start, start.memory, task.neutral.copy(), None)
        reached: dict[bytes, _Way] = {}
        for number, way in enumerate(ways):
            now = _there(base, way.state)
            for entry in _choices(task) if plant.may_act(step)[0] else plant.present(now):
                after = trials.after(now, np.array([entry]))
                if after is None:
                    continue
                total, key = way.total + trials.judged(now, after), _position(after)
                if key not in reached or total > reached[key].total:
                    reached[key] = _Way(total, after, number, float(entry))
        if not reached:
            raise ValueError(f"day {day} of scenario {task.scenario.name!r}: no choice of step {step} can be operated")
        ways = list(reached.values())
        kept.append(ways)
    plant.engine.close()
    best = max(range(len(ways)), key=lambda number: ways[number].total)
    entries = []
    for row in reversed(kept):
        entries.append(row[best].entry)
        best = row[best].before
    return np.array(entries[::-1])[:, None]


def _choices(task: Task) -> Array:
    """Values that the entry may be asked for: what agents can say, else what the device has by nature."""
    count = int(task.encoding.counts[0]) or int(task.groups[0].levels()[0, 0])
    return np.linspace(-1, 1, count)


def _there(base: GridState, device: GridState) -> GridState:
    """An interval before control with the device where another state has it."""
    tap, closed = device.setpoints.tap, device.setpoints.closed
    setpoints = base.setpoints.copy()
    setpoints.tap, setpoints.closed = tap.copy(), closed.copy()
    return base.replace(setpoints=setpoints, memory=device.memory)


def _position(state: GridState) -> bytes:
    memory: Array = np.round(state.memory, 9) + 0.0  # no negative zero
    return memory.tobytes() + state.setpoints.tap.tobytes() + state.setpoints.closed.tobytes()


def refuses(task: Task) -> str:
    """What of a task this does not plan; "" where it plans all."""
    scenario, problem = task.scenario, ""
    if len(task.groups) > 1 or task.groups[0].size > 1 or task.agents.slots.size > 1:
        problem = "more than one device or entry"
    elif not isinstance(task.groups[0], _KNOWN) or task.groups[0].settles:
        problem = f"{type(task.groups[0]).__name__} among the devices"
    elif not 0 < len(_choices(task)) <= _MOST:
        problem = "a number to choose; take actions: multidiscrete"
    if scenario.circuit_controls:
        problem = "the circuit's own controls"
    if scenario.attack is not None or scenario.faults:
        problem = "attacks or faults, which differ from one episode to another"
    return problem

"""Best known: a day solved with full information and foresight, and checked by playing it."""

from __future__ import annotations

from functools import partial

import numpy as np

from dss_marl.devices import Capacitors, Inverters, Regulators
from dss_marl.engines.opendss import OpenDSSEngine
from dss_marl.env import ZoneEnv
from dss_marl.plant import Plant
from dss_marl.policies.days import DaySearch
from dss_marl.policies.moments import Moments
from dss_marl.policies.positions import Positions
from dss_marl.policies.trials import Trials
from dss_marl.state import Array
from dss_marl.task import Task

_TOLERANCE = 1e-7  # of the power flow: slopes are differences of solutions
_ENOUGH = 1e-3  # relative gain of a round that is worth another


def solve_day(task: Task, day: int, rounds: int = 8, thorough: bool = False) -> tuple[Array, float]:
    """The best known requests of a day, by the scenario's own reward; no bound, but hard to beat.

    Args:
        task: inverters, regulators and capacitors.
        day: of the year.
        rounds: most rounds of improvement; see DaySearch.
        thorough: try moves of two devices together too, which takes much longer.

    Returns:
        (T, F) what all entries are asked in each interval, and the team's return when it is played.

    Raises:
        ValueError: the task has what this does not plan, or the day cannot be operated.
        ImportError: Clarabel is missing.
    """
    _refuse(task)
    trials = Trials(Plant(task, OpenDSSEngine(task.feeder, tolerance=_TOLERANCE)))
    positions = Positions(task)
    first = trials.plant.begin(day, task.start)
    steps = range(task.scenario.steps)
    states = [trials.plant.coming(step, task.start, first.memory, task.neutral.copy(), None) for step in steps]
    search = DaySearch(Moments(trials, states, positions), positions, positions.prices(trials, states[0]))
    for pairs in (False, True)[: 1 + thorough]:
        for _ in range(rounds):
            if search.round(partial(positions.near, pairs=pairs)) < _ENOUGH * abs(search.total):
                break
    trials.plant.engine.close()
    requests = search.requests().astype(np.float16).astype(float)  # as plans are kept
    return requests, played(task, day, requests)


def played(task: Task, day: int, requests: Array) -> float:
    """The team's return when (T, F) requests are played on a day.

    Raises:
        ValueError: a power flow fails.
    """
    env = ZoneEnv(task)
    env.reset(seed=day, options={"day": day})
    total = 0.0
    for flat in requests:
        _, rewards, failed, _, _ = env.step(task.encoding.encode(flat))
        total += next(iter(rewards.values()))
        if any(failed.values()):
            raise ValueError(f"day {day} of scenario {task.scenario.name!r}: the plan's power flow fails")
    env.close()
    return total


def _refuse(task: Task) -> None:
    """Say what this does not plan.

    Raises:
        ValueError: there is some of it.
    """
    scenario, problem = task.scenario, ""
    for group in task.groups:
        if not isinstance(group, Inverters | Regulators | Capacitors):
            problem = f"{type(group).__name__} among the devices"
        elif isinstance(group, Inverters) and (group.settles or group.every is not None):
            problem = "inverters on curves, or that do not act at every step"
        elif isinstance(group, Regulators) and np.any(group.initial() > 0):
            problem = "regulators that wait between moves"
        elif isinstance(group, Capacitors) and np.any(group.initial() > 0):
            problem = "capacitors that must discharge"
    places = Moments.places_of(task)
    if (task.encoding.counts[places] > 0).any():
        problem = "inverters with levels; take actions: box or native"
    if scenario.circuit_controls:
        problem = "the circuit's own controls"
    if scenario.attack is not None or scenario.faults:
        problem = "attacks or faults, which differ from one episode to another"
    if scenario.reward_sharing != "team":
        problem = f"reward_sharing {scenario.reward_sharing!r}; take team"
    if problem:
        raise ValueError(f"scenario {scenario.name!r} has what a day's plan does not cover: {problem}")

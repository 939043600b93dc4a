"""Volt-var plan of a day: inverters, regulators and banks, with sensitivities from the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from dss_marl.controllers.planning.volt_var.day_search import DaySearch
from dss_marl.controllers.planning.volt_var.interval_model import IntervalModel
from dss_marl.controllers.planning.volt_var.tap_positions import TapPositions
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import Capacitors, Inverters, Regulators
from dss_marl.engines import open_engine
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array, IntArray
from dss_marl.mdp.adversary import BLIND
from dss_marl.profiles.splits import seed_of

_TOLERANCE = 1e-7  # of the power flow: sensitivities are differences of solutions
_ENOUGH = 1e-3  # relative gain of a round that justifies another
_SOON = 1e-9  # [h]
_ROUNDS = 8  # maximum number of rounds; see DaySearch


def plan_day(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) the best joint actions found for a day.

    Compromised agents are known: those of an episode with the day as its seed, as in evaluation.

    Args:
        task: inverters, regulators and capacitors.
        day: of the year.
        thorough: also try simultaneous moves of two devices, which takes much longer.
    """
    env = ZoneEnv(task, "test", open_engine(task.feeder, tolerance=_TOLERANCE))
    env.reset(seed=seed_of(day), options={"day": day})
    trials = TrialSolver(env.simulator, env.attack)
    positions = TapPositions(task)
    first = trials.simulator.begin(day, task.start)
    steps = range(task.scenario.steps)
    states = [
        trials.simulator.observe(step, task.start, first.device_state, task.default_action.copy(), None)
        for step in steps
    ]
    intervals = IntervalModel(trials, states, positions)
    search = DaySearch(intervals, positions, positions.prices(trials, states[0]), try_banks=True)
    for pairs in (False, True)[: 1 + thorough]:
        # Without inverters a place costs one power flow, and nothing but taps makes up for a bank.
        run_rounds(search, partial(positions.near if len(intervals.low) else partial(_wider, positions), pairs=pairs))
    trials.simulator.engine.close()
    return search.requests()


def run_rounds(search: DaySearch, around: Callable[[IntArray], Iterable[IntArray]]) -> None:
    """Run rounds of improvement while they are worthwhile."""
    for _ in range(_ROUNDS):
        if search.improve(around) < _ENOUGH * abs(search.total):
            break


def _wider(positions: TapPositions, position: IntArray, pairs: bool) -> Iterator[IntArray]:
    """Neighbours of a position, some of them several moves away."""
    yield from positions.near(position, far=(1, 2, 4), pairs=pairs)
    yield from positions.swaps(position)


def unsupported_reason(task: Task) -> str:
    """Reason why a task is not supported; "" if it is."""
    problem = ""
    for group in task.device_groups:
        if not isinstance(group, Inverters | Regulators | Capacitors):
            problem = f"{type(group).__name__} among the devices"
        elif isinstance(group, Inverters) and (group.voltage_dependent or group.act_every is not None):
            problem = "inverters in volt_var mode, or that do not act at every step"
    if task.scenario.circuit_controls:
        problem = "the circuit's own controls"
    return problem or unsupported_moves(task, IntervalModel.places_of(task))


def unsupported_moves(task: Task, places: IntArray) -> str:
    """Why no plan supports a task: waiting devices, levels at these entries, randomness, reward sharing; else ""."""
    scenario, problem = task.scenario, ""
    for group in task.device_groups:
        if isinstance(group, Regulators) and np.any(group.initial() > 0):
            problem = "regulators with a minimum time between moves"
        elif isinstance(group, Capacitors) and _wait_longer(group, scenario.dt_h):
            problem = "capacitors whose discharge time exceeds their action period"
    if (task.encoding.counts[places] > 0).any():
        problem = "inverters with levels; use actions: box or native"
    if scenario.faults:
        problem = "faults, which differ from one episode to another"
    attack = task.attack()
    if attack is not None and attack.spec.policy not in BLIND:
        problem = f"attack {attack.spec.policy!r}, which depends on the request; supported are {', '.join(BLIND)}"
    elif attack is not None and attack.open_elsewhere(places, task.agents.action_layout.size):
        problem = "attacks on devices other than inverters; restrict the attack's kinds to inverters"
    if scenario.reward_sharing != "team":
        problem = f"reward_sharing {scenario.reward_sharing!r}; use team"
    return problem


def _wait_longer(group: Capacitors, dt_h: float) -> bool:
    """Whether the discharge time of a bank exceeds its action period."""
    turn_h = dt_h * (np.ones(group.size) if group.act_every is None else group.act_every)
    return bool((group.initial()[:, 0] > turn_h + _SOON).any())

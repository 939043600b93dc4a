"""Volt-var days: inverters, regulators and banks planned with slopes from the engine."""

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

_TOLERANCE = 1e-7  # of the power flow: slopes are differences of solutions
_ENOUGH = 1e-3  # relative gain of a round that is worth another
_SOON = 1e-9  # [h]
_ROUNDS = 8  # most rounds of improvement; see DaySearch


def plan_day(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) the best requests found for a day.

    Hostile agents are known: those of an episode that has the day as its seed, as evaluation plays it.

    Args:
        task: inverters, regulators and capacitors.
        day: of the year.
        thorough: try moves of two devices together too, which takes much longer.
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
    search = DaySearch(intervals, positions, positions.prices(trials, states[0]))
    for pairs in (False, True)[: 1 + thorough]:
        # Without inverters a place costs one power flow, and nothing but taps makes up for a bank.
        run_rounds(search, partial(positions.near if len(intervals.low) else partial(_wider, positions), pairs=pairs))
    trials.simulator.engine.close()
    return search.requests()


def run_rounds(search: DaySearch, around: Callable[[IntArray], Iterable[IntArray]]) -> None:
    """Rounds of improvement, as long as they are worth it."""
    for _ in range(_ROUNDS):
        if search.improve(around) < _ENOUGH * abs(search.total):
            break


def _wider(positions: TapPositions, position: IntArray, pairs: bool) -> Iterator[IntArray]:
    """Places around a position, some of them a few moves away."""
    yield from positions.near(position, far=(1, 2, 4), pairs=pairs)
    yield from positions.swaps(position)


def unsupported_reason(task: Task) -> str:
    """What of a task this does not plan; "" where it plans all."""
    problem = ""
    for group in task.device_groups:
        if not isinstance(group, Inverters | Regulators | Capacitors):
            problem = f"{type(group).__name__} among the devices"
        elif isinstance(group, Inverters) and (group.voltage_dependent or group.act_every is not None):
            problem = "inverters on curves, or that do not act at every step"
    if task.scenario.circuit_controls:
        problem = "the circuit's own controls"
    return problem or unsupported_moves(task, IntervalModel.places_of(task))


def unsupported_moves(task: Task, places: IntArray) -> str:
    """What of a task no plan covers: devices that wait, levels at these places of the flat vector, chance, sharing."""
    scenario, problem = task.scenario, ""
    for group in task.device_groups:
        if isinstance(group, Regulators) and np.any(group.initial() > 0):
            problem = "regulators that wait between moves"
        elif isinstance(group, Capacitors) and _wait_longer(group, scenario.dt_h):
            problem = "capacitors that must discharge for longer than until their next turn"
    if (task.encoding.counts[places] > 0).any():
        problem = "inverters with levels; take actions: box or native"
    if scenario.faults:
        problem = "faults, which differ from one episode to another"
    attack = task.attack()
    if attack is not None and attack.spec.policy not in BLIND:
        problem = (
            f"attack {attack.spec.policy!r}, which depends on what was asked; of {', '.join(BLIND)} days are planned"
        )
    elif attack is not None and attack.open_elsewhere(places, task.agents.action_layout.size):
        problem = "attacks on other devices than inverters; name the inverters' kind in the attack's kinds"
    if scenario.reward_sharing != "team":
        problem = f"reward_sharing {scenario.reward_sharing!r}; take team"
    return problem


def _wait_longer(group: Capacitors, dt_h: float) -> bool:
    """Whether a bank must discharge for longer than it takes until it may act again."""
    turn_h = dt_h * (np.ones(group.size) if group.act_every is None else group.act_every)
    return bool((group.initial()[:, 0] > turn_h + _SOON).any())

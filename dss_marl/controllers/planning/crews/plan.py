"""Plan of repair crews for a day whose faults are known beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.controllers.planning.crews.schedule import Schedule, ScheduleCost, first_schedule, improved
from dss_marl.controllers.rules.crew_rules import CrewRule, NearestSection, PriorityFirst, RestoreMost
from dss_marl.devices import Crews, Switches
from dss_marl.devices.crew import FAULTED, UNKNOWN
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array, GridState, IntArray
from dss_marl.mdp.rewards import crew_cost, unserved
from dss_marl.profiles.splits import seed_of

_MOVES = 8000  # tried from each start
_STARTS = 12
_THOROUGH = 4  # times as many
_PLAYED = 3  # of the best schedules, on the engine
_SUPPORTED = (Crews, Switches)


def unsupported_reason(task: Task) -> str:
    """Reason why a task is not supported; "" if it is."""
    kinds = {type(group).__name__ for group in task.device_groups if not isinstance(group, _SUPPORTED)}
    if kinds:
        return f"{', '.join(sorted(kinds))} in addition to crews and switches"
    if {type(group) for group in task.device_groups} != set(_SUPPORTED):
        return "no crews, or no switches that follow them"
    return "" if task.reward_model.weight(unserved) else "no reward for supply"


def plan_day(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) joint actions of the best schedule found for a day, with the faults and their repairs known.

    Schedules are judged by a load-balance model; the best of each start, and the rules, are then played on the engine.

    Args:
        task: supported, see ``unsupported_reason``.
        day: of the year.
        thorough: search longer.
    """
    env = ZoneEnv(task)
    try:
        rules: list[CrewRule] = [NearestSection(), PriorityFirst(), RestoreMost()]
        rules += [Scheduled(one) for one in _schedules(env, day, thorough)]
        played = [_play(env, day, rule) for rule in rules]
    finally:
        env.close()
    return max(played, key=lambda one: one[0])[1]


class Scheduled(CrewRule):
    """Each crew does the jobs of its schedule; a repair waits until the fault has been found.

    Args:
        schedule: see ``schedule.Schedule``.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def jobs(self, env: ZoneEnv, now: GridState) -> IntArray:
        """See CrewRule."""
        state = env.simulator.fleet.states(now.device_state)[self._k]
        known, size, wanted = self._group.known(state), self._group.sections.size, np.full(len(state), -1)
        for d in np.flatnonzero(self._group.free(state)):
            left = [
                job for job in self._schedule[d] if known[job % size] == UNKNOWN or (job >= size and known[job - size])
            ]
            if left and (left[0] < size or known[left[0] - size] == FAULTED):
                wanted[d] = left[0] % size
        return wanted


def _schedules(env: ZoneEnv, day: int, thorough: bool) -> list[Schedule]:
    """The best schedule found from each start."""
    now, crews = started(env, day), _crews(env)
    rule = PriorityFirst()
    rule.reset(env)
    cost = schedule_cost(env, rule, now)
    rng, found = np.random.default_rng(day), []
    weights = rule.supply.weighted_kw(now)
    ordered = sorted({job % len(weights) for job in cost.jobs}, key=lambda q: -weights[q])
    for k in range(_STARTS * (_THOROUGH if thorough else 1)):
        order = ordered if k == 0 else [int(q) for q in rng.permutation(ordered)]
        found.append(improved(cost, first_schedule(cost, crews, order), rng, _MOVES))
    found.sort(key=lambda one: one[1])
    return list(dict.fromkeys(cost.worked(schedule) for schedule, _ in found[:_PLAYED]))


def schedule_cost(env: ZoneEnv, rule: CrewRule, now: GridState, state: Array | None = None) -> ScheduleCost:
    """Cost of schedules from a state of the crews on, by default the present one with its faults, which are secret."""
    task, crews = env.task, _crews(env)
    steps, today = task.scenario.steps, env.simulator.conditions
    kw = np.array([rule.supply.weighted(today.injections_kw(t)) for t in range(now.step, steps)])
    price = task.reward_model.weight(unserved) / 1000 * task.scenario.dt_h
    energy = np.zeros((steps + 1, kw.shape[1]))
    energy[now.step + 1 :] = np.cumsum(kw, axis=0) * price
    own = env.simulator.fleet.states(now.device_state)[task.device_groups.index(crews)]
    dollar = task.reward_model.weight(crew_cost)
    return ScheduleCost(
        crews, rule.supply, own if state is None else state, energy, now.step, task.scenario.dt_h, dollar
    )


def _crews(env: ZoneEnv) -> Crews:
    return next(group for group in env.task.device_groups if isinstance(group, Crews))


def started(env: ZoneEnv, day: int) -> GridState:
    """The first state of a day, as all comparisons start it."""
    env.reset(seed=seed_of(day), options={"day": day})
    assert env.now is not None
    return env.now


def _play(env: ZoneEnv, day: int, rule: CrewRule) -> tuple[float, Array]:
    """Return of a rule on a day, and its joint actions (T, F)."""
    started(env, day)
    rule.reset(env)
    total, rows = 0.0, []
    seen: dict[str, Any] = {}
    while env.agents:
        actions = rule.act(env, seen)
        rows.append(env.task.encoding.decode(actions).joint_action)
        env.step(actions)
        total += env.team_reward
    return total, np.array(rows)

"""Best-known solution of a day with perfect foresight, verified by simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dss_marl.controllers.planning import exact_dp as levels
from dss_marl.controllers.planning.energy import plan as energy
from dss_marl.controllers.planning.reconfiguration import plan as reconfiguration
from dss_marl.controllers.planning.restoration import plan as restoration
from dss_marl.controllers.planning.volt_var import beam_search as regulated
from dss_marl.controllers.planning.volt_var import plan as volt_var
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array
from dss_marl.profiles.splits import seed_of


class Method(NamedTuple):
    """A planning method.

    Attributes:
        unsupported_reason: reason why a task is not supported; "" if it is.
        plan_day: (T, F) joint actions for a task, a day of the year, and whether to search longer.
    """

    unsupported_reason: Callable[[Task], str]
    plan_day: Callable[[Task, int, bool], Array]


METHODS: dict[str, Method] = {
    "levels": Method(levels.unsupported_reason, levels.plan_day),
    "volt_var": Method(volt_var.unsupported_reason, volt_var.plan_day),
    "regulated": Method(regulated.unsupported_reason, regulated.plan_day),
    "energy": Method(energy.unsupported_reason, energy.plan_day),
    "reconfiguration": Method(reconfiguration.unsupported_reason, reconfiguration.plan_day),
    "restoration": Method(restoration.unsupported_reason, restoration.plan_day),
}


def solve_day(task: Task, day: int, thorough: bool = False) -> tuple[Array, float]:
    """Best-known plan of a day by the scenario's own reward; not a bound, but hard to beat.

    Args:
        task: planned by the first method that supports it.
        day: of the year.
        thorough: search longer.

    Returns:
        (T, F) joint actions, and the team's return in simulation.

    Raises:
        ValueError: no method supports the task, or the day cannot be operated.
        ImportError: an optimisation library is missing.
    """
    problems = {name: method.unsupported_reason(task) for name, method in METHODS.items()}
    fitting = [method for name, method in METHODS.items() if not problems[name]]
    if not fitting:
        told = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        raise ValueError(f"scenario {task.scenario.name!r} is not supported by any planning method: {told}")
    requests = fitting[0].plan_day(task, day, thorough)
    requests = requests.astype(np.float16).astype(float)  # precision of stored plans
    return requests, play_plan(task, day, requests)


def play_plan(task: Task, day: int, requests: Array) -> float:
    """Team return of (T, F) joint actions on a day.

    Raises:
        ValueError: a power flow fails.
    """
    env = ZoneEnv(task, "test")
    env.reset(seed=seed_of(day), options={"day": day})
    total = 0.0
    for joint_action in requests:
        _, _, failed, _, _ = env.step(task.encoding.encode(joint_action))
        total += env.team_reward
        if any(failed.values()):
            raise ValueError(f"day {day} of scenario {task.scenario.name!r}: a power flow of the plan fails")
    env.close()
    return total

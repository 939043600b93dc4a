"""Best known: a day solved with full information and foresight, and checked by playing it."""

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
    """A way to plan a day.

    Attributes:
        refuses: says what of a task it does not plan; "" where it plans all.
        requests: (T, F) requests for a task, a day of the year, and whether to search longer.
    """

    refuses: Callable[[Task], str]
    requests: Callable[[Task, int, bool], Array]


METHODS: dict[str, Method] = {
    "levels": Method(levels.refuses, levels.requests),
    "volt_var": Method(volt_var.refuses, volt_var.requests),
    "regulated": Method(regulated.refuses, regulated.requests),
    "energy": Method(energy.refuses, energy.requests),
    "reconfiguration": Method(reconfiguration.refuses, reconfiguration.requests),
    "restoration": Method(restoration.refuses, restoration.requests),
}


def solve_day(task: Task, day: int, thorough: bool = False) -> tuple[Array, float]:
    """The best known requests of a day, by the scenario's own reward; no bound, but hard to beat.

    Args:
        task: what the first of the methods that fits plans.
        day: of the year.
        thorough: search longer.

    Returns:
        (T, F) what all entries are asked in each interval, and the team's return when it is played.

    Raises:
        ValueError: the task has what no method plans, or the day cannot be operated.
        ImportError: an optimisation library is missing.
    """
    problems = {name: method.refuses(task) for name, method in METHODS.items()}
    fitting = [method for name, method in METHODS.items() if not problems[name]]
    if not fitting:
        told = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        raise ValueError(f"scenario {task.scenario.name!r} has what a day's plan does not cover: {told}")
    requests = fitting[0].requests(task, day, thorough)
    requests = requests.astype(np.float16).astype(float)  # as plans are kept
    return requests, played(task, day, requests)


def played(task: Task, day: int, requests: Array) -> float:
    """The team's return when (T, F) requests are played on a day.

    Raises:
        ValueError: a power flow fails.
    """
    env = ZoneEnv(task, "test")
    env.reset(seed=seed_of(day), options={"day": day})
    total = 0.0
    for flat in requests:
        _, _, failed, _, _ = env.step(task.encoding.encode(flat))
        total += env.team_reward
        if any(failed.values()):
            raise ValueError(f"day {day} of scenario {task.scenario.name!r}: the plan's power flow fails")
    env.close()
    return total

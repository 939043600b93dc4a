"""Best-known solution of a day with perfect foresight, verified by simulation."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from dss_marl._plugins import imported
from dss_marl.controllers.planning import coordinate_search, exact_dp
from dss_marl.controllers.planning.energy import plan as energy
from dss_marl.controllers.planning.reconfiguration import plan as reconfiguration
from dss_marl.controllers.planning.restoration import plan as restoration
from dss_marl.controllers.planning.volt_var import beam_search
from dss_marl.controllers.planning.volt_var import plan as volt_var
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array
from dss_marl.profiles.splits import seed_of


class Planner(Protocol):
    """A way to plan a day: a module, or an object, with two functions.

    Your own planner is named as ``package.module:name`` in a scenario's ``planner`` or in ``solve_day``; a class is
    instantiated without arguments.
    """

    def unsupported_reason(self, task: Task) -> str:
        """Why the planner does not support a task; "" if it does."""

    def plan_day(self, task: Task, day: int, thorough: bool = False) -> Array:
        """(T, F) joint actions in [-1, 1] of the day, the best found.

        Args:
            task: supported by the planner.
            day: of the year; its profiles are known.
            thorough: search longer.
        """


PLANNERS: dict[str, Planner] = {
    "exact_dp": exact_dp,
    "volt_var": volt_var,
    "beam_search": beam_search,
    "energy": energy,
    "reconfiguration": reconfiguration,
    "restoration": restoration,
    "coordinate_search": coordinate_search,
}


def named_planner(name: str) -> Planner:
    """The planner called ``name``, or your own as ``package.module:name``.

    Raises:
        ValueError: unknown, or not a planner; the message lists the known ones.
    """
    found: Any = PLANNERS.get(name) or imported(name, "planner", PLANNERS)
    missing = [part for part in ("unsupported_reason", "plan_day") if not hasattr(found, part)]
    if missing:
        raise ValueError(f"planner {name!r} has no {', '.join(missing)}; see dss_marl.controllers.Planner")
    planner: Planner = found() if isinstance(found, type) else found
    return planner


def choose_planner(task: Task, name: str = "") -> Planner:
    """The planner of that name, else of the scenario's ``planner``, else the first that supports the task.

    Raises:
        ValueError: no planner supports the task.
    """
    name = name or task.scenario.planner
    planners = {name: named_planner(name)} if name else PLANNERS
    reasons = {name: planner.unsupported_reason(task) for name, planner in planners.items()}
    fitting = [planner for name, planner in planners.items() if not reasons[name]]
    if not fitting:
        details = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise ValueError(
            f"scenario {task.scenario.name!r} is supported by no planner: {details}. To validate it "
            "without plans, name the strongest controller as its reference: 'reference_controller: linear' (or greedy)"
        )
    return fitting[0]


def solve_day(task: Task, day: int, thorough: bool = False, planner: str = "") -> tuple[Array, float]:
    """The best known requests of a day, by the scenario's own reward; no bound, but hard to beat.

    Args:
        task: to plan.
        day: of the year.
        thorough: search longer.
        planner: name of the planner; see ``choose_planner``.

    Returns:
        (T, F) joint actions, and the team's return in simulation.

    Raises:
        ValueError: no planner supports the task, a plan has the wrong shape, or the day cannot be operated.
        ImportError: an optimisation library is missing.
    """
    requests = np.asarray(choose_planner(task, planner).plan_day(task, day, thorough))
    expected = (task.scenario.steps, task.agents.action_layout.size)
    if requests.shape != expected:
        raise ValueError(f"a plan of scenario {task.scenario.name!r} has shape {requests.shape}, not {expected}")
    requests = requests.astype(np.float16).astype(float)  # as plans are kept
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

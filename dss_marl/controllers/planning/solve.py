"""Best-known solution of a day with perfect foresight, verified by simulation."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from dss_marl._plugins import imported
from dss_marl.controllers.base import record_requests
from dss_marl.controllers.planning import coordinate_search, exact_dp, fair_curtailment
from dss_marl.controllers.planning.budgets import priced
from dss_marl.controllers.planning.community import cooperative as community
from dss_marl.controllers.planning.crews import plan as crews
from dss_marl.controllers.planning.energy import plan as energy
from dss_marl.controllers.planning.play import play_plan
from dss_marl.controllers.planning.polish.polish import EFFORT_S, polish
from dss_marl.controllers.planning.reconfiguration import plan as reconfiguration
from dss_marl.controllers.planning.restoration import plan as restoration
from dss_marl.controllers.planning.volt_var import beam_search
from dss_marl.controllers.planning.volt_var import plan as volt_var
from dss_marl.controllers.registry import reference
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array


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
    "crews": crews,  # before those that plan switches alone
    "exact_dp": exact_dp,
    "fair_curtailment": fair_curtailment,  # before volt_var, which plans interval by interval
    "volt_var": volt_var,
    "beam_search": beam_search,
    "community": community,  # before energy, which takes a bill's kinks for smooth
    "energy": energy,
    "reconfiguration": reconfiguration,
    "restoration": restoration,
    "coordinate_search": coordinate_search,
}

NO_PLANNER = "none"
_ON_REQUEST = ("coordinate_search",)  # supports every task: its weak plans would hide why no other planner does
_RULES = ("droop", "tuned_droop", "linear", "time_of_use", "valley_filling", "rationing", "nearest_tie")
_LARGE = 150_000  # nodes times steps: above, rules take longer to play than they are worth as starts
_THOROUGH = 4  # times the effort


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
    planners = (
        {name: named_planner(name)} if name else {one: PLANNERS[one] for one in PLANNERS if one not in _ON_REQUEST}
    )
    reasons = {name: planner.unsupported_reason(task) for name, planner in planners.items()}
    fitting = [planner for name, planner in planners.items() if not reasons[name]]
    if not fitting:
        details = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise ValueError(
            f"scenario {task.scenario.name!r} is supported by no planner: {details}. To validate it "
            "without plans, name the strongest controller as its reference: 'reference_controller: linear' (or greedy)"
        )
    return fitting[0]


class PlannedDay(NamedTuple):
    """A plan and what it earns.

    Attributes:
        requests: (T, F) joint actions, exact in half precision.
        returned: the team's return in simulation.
        gained: how much of it is due to the polish of the best start.
    """

    requests: Array
    returned: float
    gained: float


def solve_day(
    task: Task, day: int, thorough: bool = False, planner: str = "", effort_s: float = 0.0
) -> tuple[Array, float]:
    """A planner's requests for a day, by the scenario's own reward; no bound, but hard to beat, above all if polished.

    Args:
        task: to plan.
        day: of the year.
        thorough: search longer.
        planner: name of the planner; see ``choose_planner``.
        effort_s: about how many seconds of a processor to polish the plan, see ``polish``; 0: it stays as it is.

    Returns:
        (T, F) joint actions, and the team's return in simulation.

    Raises:
        ValueError: no planner supports the task, a plan has the wrong shape, or the day cannot be operated.
        ImportError: an optimisation library is missing.
    """
    planned = plan_and_polish(task, day, thorough, planner, effort_s=effort_s)
    return planned.requests, planned.returned


def plan_and_polish(
    task: Task,
    day: int,
    thorough: bool = False,
    planner: str = "",
    old: Array | None = None,
    effort_s: float = EFFORT_S,
) -> PlannedDay:
    """As ``solve_day``, also from an older plan.

    Starts are the planner's plan, the old one, that of no control, and what rules do; the best is polished.

    Args:
        task, day, thorough, effort_s: as of ``solve_day``.
        planner: as there; "none" leaves it out.
        old: (T, F) a plan of the day, as of another version of the scenario; of another shape it is left out.

    Raises:
        ValueError, ImportError: as of ``solve_day``.
    """
    expected = (task.scenario.steps, task.agents.action_layout.size)
    starts: list[Array] = []
    own, task = task, priced(task)
    if planner != NO_PLANNER:
        requests = np.asarray(choose_planner(task, planner).plan_day(task, day, thorough))
        if requests.shape != expected:
            raise ValueError(f"a plan of scenario {task.scenario.name!r} has shape {requests.shape}, not {expected}")
        starts.append(requests.astype(np.float16).astype(float))  # as plans are kept
    if effort_s <= 0 and starts:
        return PlannedDay(starts[0], play_plan(own, day, starts[0]), 0.0)
    if old is not None and old.shape == expected:
        starts.append(old)
    starts.append(np.tile(task.default_action, (expected[0], 1)))
    if len(task.feeder.nodes) * expected[0] < _LARGE:
        starts += _rules(task, day)
    planned = PlannedDay(*polish(task, day, starts, effort_s * (_THOROUGH if thorough else 1)))
    return planned if own is task else planned._replace(returned=play_plan(own, day, planned.requests))


def _rules(task: Task, day: int) -> list[Array]:
    """Joint actions (T, F) of rules that can operate the task."""
    found = []
    for name in _RULES:
        try:
            requests = record_requests(task, day, reference(name, task.scenario))
        except ValueError:  # the scenario lacks what the rule needs
            continue
        found += [] if requests is None else [requests]
    return found

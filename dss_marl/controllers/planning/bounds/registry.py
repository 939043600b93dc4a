"""Which relaxation bounds which task, and which planner finds an optimum."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dss_marl.controllers.planning.bounds import branch_flow, copper_plate
from dss_marl.controllers.planning.solve import choose_planner
from dss_marl.envs.task import Task


class Bound(NamedTuple):
    """A way to bound the return of a day.

    Attributes:
        name: of the relaxation.
        says: what it leaves out, so that its value is a bound.
        unsupported_reason: why it does not bound a task; "" if it does.
        day_return: the bound of a day's team return.
    """

    name: str
    says: str
    unsupported_reason: Callable[[Task], str]
    day_return: Callable[[Task, int], float]


BOUNDS = (
    Bound("branch flow", branch_flow.SAYS, branch_flow.unsupported_reason, branch_flow.day_return),
    Bound("copper plate", copper_plate.SAYS, copper_plate.unsupported_reason, copper_plate.day_return),
)


def bound_of(task: Task) -> Bound:
    """The bound of a task.

    Raises:
        ValueError: there is none; gives the reason of each.
    """
    reasons = {bound.name: bound.unsupported_reason(task) for bound in BOUNDS}
    for bound in BOUNDS:
        if not reasons[bound.name]:
            return bound
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise ValueError(f"no relaxation bounds scenario {task.scenario.name!r}: {told}")


def optimum_of(task: Task) -> str:
    """Over what the plans of a task are optimal, as its planner says; "" if they are the best found.

    A planner says so by ``optimal_over``, a text.
    """
    if task.scenario.reference_controller != "best_known":
        return ""
    try:
        planner = choose_planner(task)
    except ValueError:
        return ""
    return str(getattr(planner, "optimal_over", ""))

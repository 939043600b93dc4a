"""Solve days: plans for a scenario's test days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import process_time

from dss_marl.controllers.planning.plan_files import Plans, digest, load_plans, plans_path
from dss_marl.controllers.planning.play import play_plan
from dss_marl.controllers.planning.polish.polish import EFFORT_S
from dss_marl.controllers.planning.solve import plan_and_polish
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task, build_task
from dss_marl.grid.state import Array
from dss_marl.profiles.splits import spread_days


def solve(scenario: Scenario, days: int = 10, thorough: bool = False) -> dict[int, float]:
    """Plans with full foresight for test days, kept for ``best_known`` in ``results/NAME`` of the working directory.

    Args:
        scenario: to solve.
        days: number of days that should have a plan, spread over the test split; those that have one are not solved.
        thorough: search longer.

    Returns:
        the team return of the plan of each day.

    Raises:
        ValueError: no planner supports the scenario.
    """
    plans, path, todo = days_to_solve(scenario, days)
    for _ in solved(scenario, plans, path, todo, thorough, old=old_requests(scenario, path)):
        pass
    return dict(plans.returns)


def days_to_solve(
    scenario: Scenario, count: int, recompute: bool = False, path: Path | None = None
) -> tuple[Plans, Path, list[int]]:
    """The existing plans of exactly this scenario, their file, and the days to solve, spread over the test split.

    Args:
        scenario: to solve.
        count: number of days that should have a plan.
        recompute: also solve days that already have one.
        path: of the file; None: in ``results`` of the working directory.
    """
    path = path or plans_path(scenario)
    plans = Plans.load(path) if path.is_file() else Plans(digest(scenario))
    if plans.digest != digest(scenario):
        plans = Plans(digest(scenario))
    days = spread_days(build_task(scenario).profiles.days("test"), count)
    return plans, path, [day for day in days if recompute or day not in plans.requests]


def solved(
    scenario: Scenario,
    plans: Plans,
    path: Path,
    days: Sequence[int],
    thorough: bool = False,
    planner: str = "",
    old: Mapping[int, Array] | None = None,
    effort_s: float = EFFORT_S,
) -> Iterator[tuple[int, float, float]]:
    """Solve days and keep the better plan of each; the file is written after every day.

    Args:
        scenario, plans, path, days: as ``days_to_solve`` gives them.
        thorough, planner, effort_s: see ``plan_and_polish``.
        old: (T, F) by day, plans from which to start as well; see ``old_requests``.

    Returns:
        each day, the team return of its plan, and how much of it the polish gained.
    """
    task, old = build_task(scenario), old or {}
    for day in days:
        started, known = process_time(), old.get(day)
        nearest = known if known is not None or not old else old[min(old, key=lambda other: abs(other - day))]
        requests, earned, gained = plan_and_polish(task, day, thorough, planner, nearest, effort_s)
        # What the kept plan said it earned may be of other physics, whose defaults a digest does not hold.
        if day not in plans.requests or earned >= _earned(task, day, plans.requests[day]):
            plans.add(task, day, requests, earned, process_time() - started)
            plans.save(path)
        yield day, plans.returns[day], gained


def _earned(task: Task, day: int, requests: Array) -> float:
    """Team return of a plan; -inf if it cannot be operated."""
    try:
        return play_plan(task, day, requests)
    except ValueError:
        return -float("inf")


def old_requests(scenario: Scenario, path: Path) -> dict[int, Array]:
    """(T, F) by day, the plans that exist, also those of an earlier version of the scenario; empty if there are none.

    Args:
        scenario: whose plans are looked for, in the working folder and among those shipped.
        path: looked at first.
    """
    try:
        return (Plans.load(path) if path.is_file() else load_plans(scenario)).requests
    except ValueError:
        return {}

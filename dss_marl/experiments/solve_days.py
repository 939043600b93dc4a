"""Solve days: plans for a scenario's test days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from time import process_time

from dss_marl.controllers.planning.plan_files import Plans, digest, plans_path
from dss_marl.controllers.planning.solve import solve_day
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import build_task
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
    for _ in solved(scenario, plans, path, todo, thorough):
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
    scenario: Scenario, plans: Plans, path: Path, days: Sequence[int], thorough: bool = False
) -> Iterator[tuple[int, float]]:
    """Solve days and keep the better plan of each; the file is written after every day.

    Args:
        scenario, plans, path, days: as ``days_to_solve`` gives them.
        thorough: search longer.

    Returns:
        each day and the team return of its plan.
    """
    task = build_task(scenario)
    for day in days:
        started = process_time()
        requests, earned = solve_day(task, day, thorough=thorough)
        if earned > plans.returns.get(day, -float("inf")):
            plans.add(task, day, requests, earned, process_time() - started)
            plans.save(path)
        yield day, plans.returns[day]

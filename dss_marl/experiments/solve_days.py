"""Solve days: plans for a scenario's test days, or for days of another split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import process_time

from dss_marl.controllers.planning.plan_files import TEST, Plans, digest, load_plans, plans_path
from dss_marl.controllers.planning.play import play_plan
from dss_marl.controllers.planning.polish.polish import EFFORT_S
from dss_marl.controllers.planning.solve import plan_and_polish
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task, build_task
from dss_marl.grid.state import Array
from dss_marl.grid.voltage_band import narrowed
from dss_marl.profiles.splits import spread_days


def solve(
    scenario: Scenario, days: int = 10, thorough: bool = False, split: str = TEST, margin_pu: float = 0.0
) -> dict[int, float]:
    """Plans with full foresight, kept in ``results/NAME`` of the working directory.

    Those of test days are for ``best_known``, those of training days for ``training: {teacher: plans}``.

    Args:
        scenario: to solve.
        days: number of days that should have a plan, spread over the split; those that have one are not solved.
        thorough: search longer.
        split: of the days.
        margin_pu: by which the voltage band is narrower at both ends while they are planned [pu].

    Returns:
        the team return of the plan of each day.

    Raises:
        ValueError: no planner supports the scenario; or as ``days_to_solve``.
    """
    plans, path, todo = days_to_solve(scenario, days, split=split, margin_pu=margin_pu)
    for _ in solved(scenario, plans, path, todo, thorough, old=old_requests(scenario, path, split)):
        pass
    return dict(plans.returns)


def days_to_solve(
    scenario: Scenario,
    count: int,
    recompute: bool = False,
    path: Path | None = None,
    split: str = TEST,
    margin_pu: float = 0.0,
) -> tuple[Plans, Path, list[int]]:
    """The existing plans of exactly this scenario, their file, and the days to solve, spread over the split.

    Args:
        scenario: to solve.
        count: number of days that should have a plan.
        recompute: also solve days that already have one.
        path: of the file; None: in ``results`` of the working directory.
        split: of the days.
        margin_pu: by which the voltage band is narrower at both ends while they are planned [pu].

    Raises:
        ValueError: unknown split, a file with plans of another split or margin, or a margin for test days.
    """
    if margin_pu and split == TEST:
        raise ValueError(
            "a margin is for plans to be imitated; those of test days are best_known's, which keeps to the band itself"
        )
    days = spread_days(build_task(scenario).profiles.days(split), count)
    path = path or plans_path(scenario, split)
    fresh = Plans(digest(scenario), split=split, margin_pu=margin_pu)
    plans = Plans.of_split(path, split) if path.is_file() else fresh
    if plans.digest != fresh.digest:
        plans = fresh
    if plans.margin_pu != margin_pu:
        raise ValueError(
            f"the plans in {str(path)!r} have a margin of {plans.margin_pu:g} pu, not {margin_pu:g}; remove the file, "
            "or write another with --out"
        )
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
    planned = _within_margin(task, plans.margin_pu)
    for day in days:
        started, known = process_time(), old.get(day)
        nearest = known if known is not None or not old else old[min(old, key=lambda other: abs(other - day))]
        requests, earned, gained = plan_and_polish(planned, day, thorough, planner, nearest, effort_s)
        # What the kept plan said it earned may be of other physics, whose defaults a digest does not hold.
        if day not in plans.requests or earned >= _earned(planned, day, plans.requests[day]):
            earned = earned if planned is task else play_plan(task, day, requests)
            plans.add(task, day, requests, earned, process_time() - started)
            plans.save(path)
        yield day, plans.returns[day], gained


def _within_margin(task: Task, margin_pu: float) -> Task:
    """The task with a voltage band that is narrower by a margin at both ends [pu]; itself without one."""
    scenario = task.scenario
    if not margin_pu:
        return task
    band = narrowed(scenario.band, task.feeder, scenario.excluded_buses, margin_pu)
    return build_task(scenario.replace(band=band.model_dump(exclude_none=True)))


def _earned(task: Task, day: int, requests: Array) -> float:
    """Team return of a plan; -inf if it cannot be operated."""
    try:
        return play_plan(task, day, requests)
    except ValueError:
        return -float("inf")


def old_requests(scenario: Scenario, path: Path, split: str = TEST) -> dict[int, Array]:
    """(T, F) by day, the plans that exist, also those of an earlier version of the scenario; empty if there are none.

    Args:
        scenario: whose plans are looked for, in the working folder and among those shipped.
        path: looked at first.
        split: of the days, so that nothing of test days is in plans of others.
    """
    try:
        return (Plans.of_split(path, split) if path.is_file() else load_plans(scenario, split)).requests
    except ValueError:
        return {}

"""Days played for a report, with everything that they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dss_marl.controllers import Controller, PlanReplay
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task
from dss_marl.experiments.evaluation import ComparisonTable, environment_for
from dss_marl.experiments.recording import Recording, record
from dss_marl.experiments.reports.html.results import Progress, Results
from dss_marl.profiles.splits import spread_days

Plays = dict[str, dict[int, Recording]]  # controller to day to recording
_SHOWN = 2  # references beside the policy, unless they are named


@dataclass(frozen=True)
class ChosenDays:
    """The test days that are played: the worst, the median and the best by the policy's return, and others."""

    worst: int
    median: int
    best: int
    every: tuple[int, ...]


def chosen_days(table: ComparisonTable, policy: str, most_days: int) -> ChosenDays:
    """Days of the table: three by the policy's return, and others spread over the year, in all at most so many."""
    order = [table.days[k] for k in np.argsort(table.column(policy, "team_return"), kind="stable")]
    three = order[0], order[(len(order) - 1) // 2], order[-1]
    rest = [day for day in table.days if day not in three]
    more = spread_days(rest, max(most_days - len(set(three)), 0)) if rest else []
    return ChosenDays(*three, tuple(sorted({*three, *more})))


def shown_references(results: Results, policies: Sequence[str], named: Sequence[str] | None) -> dict[str, Controller]:
    """The references whose days are played: those named, or the one that scores 0 and the best of the others."""
    known = [name for name in results.references if name not in policies]
    if named is not None:
        return {name: results.references[name] for name in named if name in known}
    every_day = [name for name in known if name in results.table.figures and name != "random"]
    if not every_day:
        return {}
    zero = next((name for name in ("opendss_controls", "no_control") if name in every_day), every_day[0])
    others = sorted(
        (name for name in every_day if name not in (zero, "no_control")),
        key=lambda name: -float(results.table.column(name, "team_return").mean()),
    )
    return {name: results.references[name] for name in [zero, *others][:_SHOWN]}


def play(
    scenario: Scenario,
    controllers: Mapping[str, Controller],
    split: str,
    days: Sequence[int],
    progress: Progress,
    must: Sequence[str] = (),
) -> tuple[Plays, dict[str, str]]:
    """Days under each controller.

    Args:
        scenario: of the days.
        controllers: by name; one that replays plans plays the days that it has plans of.
        split: of the environments.
        days: their numbers.
        progress: wraps the days as they are played.
        must: controllers whose errors are raised.

    Returns:
        the recordings, and why controllers failed that are not among them.
    """
    plays: Plays = {}
    failed: dict[str, str] = {}
    for name, controller in controllers.items():
        try:
            plays[name] = _played(scenario, name, controller, split, days, progress)
        except Exception as error:  # another's code: the report goes on and says so
            if name in must:
                raise
            failed[name] = str(error) or type(error).__name__
    return plays, failed


def _played(
    scenario: Scenario, name: str, controller: Controller, split: str, days: Sequence[int], progress: Progress
) -> dict[int, Recording]:
    known = [day for day in days if not isinstance(controller, PlanReplay) or day in controller.days]
    env = environment_for(controller, scenario, split)
    try:
        return {day: record(env, controller, day, name) for day in progress(known, f"playing {split} days of {name}")}
    finally:
        env.close()


def scored_columns(task: Task) -> np.ndarray:
    """(n) places of the scored nodes among a recording's voltages."""
    return np.sort(np.concatenate([zone.scored_nodes for zone in task.zones]))

"""The policy and references on days outside the training distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dss_marl.controllers import Controller, PlanReplay
from dss_marl.envs.task import Task
from dss_marl.experiments.evaluation import environment_for, run_day
from dss_marl.experiments.reports.html.charts import StressRow
from dss_marl.experiments.reports.html.results import Progress
from dss_marl.experiments.validation.stress_splits import without_meaning
from dss_marl.profiles import STRESS_SPLITS
from dss_marl.profiles.splits import spread_days


def stress_rows(
    task: Task, controllers: Mapping[str, Controller], most_days: int, progress: Progress, must: Sequence[str]
) -> tuple[list[StressRow], dict[str, str]]:
    """Test days and stress splits under each controller, and why splits or controllers are left out.

    Args:
        task: whose days are played.
        controllers: by name; replays of plans are left out, as plans are of test days.
        most_days: of each split, spread over the year.
        progress: wraps the splits and controllers as they are played.
        must: controllers whose errors are raised.
    """
    if task.scenario.profiles.kind != "synthetic":
        return [], {"stress splits": "the scenario's days are not generated, so that there is none"}
    left_out = {split: without_meaning(task, split) for split in STRESS_SPLITS}
    splits = ["test", *(split for split in STRESS_SPLITS if not left_out[split])]
    left_out = {split: why for split, why in left_out.items() if why}
    playing = {name: one for name, one in controllers.items() if not isinstance(one, PlanReplay)}
    days = {split: tuple(spread_days(task.profiles.days(split), most_days)) for split in splits}
    found: dict[str, dict[str, list[dict[str, float]]]] = {split: {} for split in splits}
    for split, name in progress([(split, name) for split in splits for name in playing], "playing stress splits"):
        if name in left_out:
            continue
        try:
            env = environment_for(playing[name], task.scenario, split)
            found[split][name] = [run_day(env, playing[name], day) for day in days[split]]
            env.close()
        except Exception as error:  # another's code: the report goes on and says so
            if name in must:
                raise
            left_out[name] = f"failed on {split}: {str(error) or type(error).__name__}"
    return [_row(split, days[split], own) for split, own in found.items()], left_out


def _row(split: str, days: tuple[int, ...], figures: Mapping[str, list[dict[str, float]]]) -> StressRow:
    columns = [
        {name: np.array([row[figure] for row in own]) for name, own in figures.items()}
        for figure in ("team_return", "controllable_rate")
    ]
    return StressRow(split, days, *columns)

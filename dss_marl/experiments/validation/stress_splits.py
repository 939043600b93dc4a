"""Stress splits: whether out-of-distribution days differ from test days."""

from __future__ import annotations

import numpy as np

from dss_marl.controllers import Controller
from dss_marl.envs.task import Task
from dss_marl.experiments.metrics import FIGURES
from dss_marl.experiments.validation.budget import ValidationBudget
from dss_marl.experiments.validation.check import CheckResult
from dss_marl.experiments.validation.episodes import EpisodeCache
from dss_marl.grid.state import Array
from dss_marl.profiles import STRESS_SPLITS
from dss_marl.profiles.splits import OFFSET, spread_days

_DRAWS = 8000


def without_meaning(task: Task, split: str) -> str:
    """Reason why a stress split has no effect on a task; "" if it has an effect."""
    profiles = task.profiles
    for day in profiles.days(split):
        one, other = profiles.day(day), profiles.day(day % OFFSET)
        if not (np.array_equal(one.kw, other.kw) and np.array_equal(one.kvar, other.kvar)):
            return ""
    return "its days are those of the year" + (": no photovoltaic unit" if split == "more_pv" else "")


def stress_changes(
    episodes: EpisodeCache, controllers: dict[str, Controller], budget: ValidationBudget
) -> list[CheckResult]:
    """(e) Every stress split has other key figures than the test split, under one of the controllers.

    Mean figures of the split's days and of test days are compared, pairwise where the split has the dates of the test
    days. The intervals are widened for the number of comparisons (Bonferroni), so that the chance of any false positive
    is 5 %. A figure that is the same on all days of both splits is skipped.

    Args:
        episodes: to run days.
        controllers: name to controller, the cheapest first.
        budget: number of days.
    """
    if episodes.task.scenario.profiles.kind != "synthetic":
        return [CheckResult("e", "stress splits", "none", "", None, "the days are not generated")]
    rows = []
    for split in STRESS_SPLITS:
        why = without_meaning(episodes.task, split)
        if why:
            rows.append(CheckResult("e", f"{split} against test", "", "", None, why))
        else:
            rows.append(_changed(episodes, controllers, split, budget))
    return rows


def _changed(
    episodes: EpisodeCache, controllers: dict[str, Controller], split: str, budget: ValidationBudget
) -> CheckResult:
    what, demanded = f"{split} against test", "a figure whose difference excludes 0"
    looks = [(count, name) for count in dict.fromkeys(budget.stress) for name in controllers]
    for count, name in looks:
        found = _differing(episodes, name, controllers[name], split, count, len(looks))
        if found:
            shown, told = "; ".join(found[:2]), f"{name}, {count} days each, {len(found)} figures differ"
            return CheckResult("e", what, shown, demanded, True, told)
    told = f"{' and '.join(controllers)}, {budget.stress[-1]} days each"
    return CheckResult("e", what, "no difference", demanded, None if budget.quick else False, told)


def _differing(
    episodes: EpisodeCache, name: str, controller: Controller, split: str, count: int, looks: int
) -> list[str]:
    """Key figures that differ between ``count`` days of the split and of test, the largest difference first."""
    profiles, found = episodes.task.profiles, []
    test, days = (spread_days(profiles.days(one), count) for one in ("test", split))
    paired = [day % OFFSET for day in days] == test  # the same days of the year, pairwise
    episodes.run(name, controller, [*test, *days])
    looked = {}
    for figure in FIGURES:
        here, there = (
            np.array([episodes.results[name][day].figures[figure] for day in chosen]) for chosen in (days, test)
        )
        varies = np.ptp(np.concatenate([here, there])) > 0
        if varies and (figure != "energy_cost" or _priced(episodes.task)):
            looked[figure] = here, there
    for figure, (here, there) in looked.items():
        unit, heading, _ = FIGURES[figure]
        low, high = _interval(here, there, 0.05 / (len(looked) * looks), paired)
        if low > 0 or high < 0:
            size = abs(here.mean() - there.mean()) / max(here.std() + there.std(), 1e-12)
            found.append((size, f"{heading} {there.mean():.4g} to {here.mean():.4g} {unit}".strip()))
    return [text for _, text in sorted(found, reverse=True)]


def _priced(task: Task) -> bool:
    """Whether energy cost is part of the task; otherwise it only reflects the amount of load."""
    return "energy_cost" in task.rewards


def _interval(one: Array, other: Array, level: float, paired: bool) -> tuple[float, float]:
    """Bootstrap interval of the difference of the means of two samples, paired or not."""
    rng = np.random.default_rng(0)
    samples = [one - other] if paired else [one, -other]
    drawn = sum(x[rng.integers(0, len(x), (_DRAWS, len(x)))].mean(-1) for x in samples)
    low, high = np.quantile(drawn, [level / 2, 1 - level / 2])
    return float(low), float(high)

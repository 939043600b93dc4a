"""Test days: enough of them, with every fault, and no few that carry the whole result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dss_marl.controllers import Controller, PlanReplay
from dss_marl.envs.episode_draw import draw
from dss_marl.envs.faults import fault_branches
from dss_marl.envs.task import Task
from dss_marl.experiments.validation.budget import MANY_DAYS, ValidationBudget, frozen_days
from dss_marl.experiments.validation.check import CheckResult
from dss_marl.experiments.validation.episodes import EpisodeCache
from dss_marl.profiles.splits import seed_of

FIFTH, HALF = 0.2, 0.5  # so large a share of the days may carry at most so large a share of the range
MINUTE_S = 60.0  # of computing: where a day takes less, many days are demanded


def enough_days(
    episodes: EpisodeCache, reference: str, controller: Controller, zero: str, seconds: float, budget: ValidationBudget
) -> list[CheckResult]:
    """(j) The range is spread over the days, the test days meet every fault, and there are many of them.

    Args:
        episodes: results.
        reference: name of the reference controller.
        controller: the reference controller.
        zero: the controller that scores 0.
        seconds: computing time of a day of the reference controller [s].
        budget: days.
    """
    gains = episodes.returns(reference, budget.days) - episodes.returns(zero, budget.days)
    known = frozen_days(episodes.task)
    rows = [_spread(gains, budget), _count(episodes.task, known, controller, seconds)]
    return rows + _faults(episodes.task, known)


def _spread(gains: np.ndarray, budget: ValidationBudget) -> CheckResult:
    """Share of the range that the fifth of the days with the largest gains carries."""
    count = max(int(FIFTH * len(gains)), 1)
    total = float(gains.sum())
    share = float(np.sort(gains)[::-1][:count].sum()) / total if total > 0 else np.inf
    what, demanded = f"share of the range on the best {count} of {len(gains)} days", f"<= {HALF:.0%}"
    passed = None if budget.quick else share <= HALF
    return CheckResult("j", what, f"{share:.0%}" if np.isfinite(share) else "no range", demanded, passed)


def _count(task: Task, known: Sequence[int], controller: Controller, seconds: float) -> CheckResult:
    """Number of test days, where a day takes less than a minute."""
    every = len(task.profiles.days("test"))
    demanded = min(MANY_DAYS, every)
    if isinstance(controller, PlanReplay):
        taken = [controller.plans.seconds.get(day, np.nan) for day in known]
        timed = [one for one in taken if np.isfinite(one)]
        seconds = float(np.median(timed)) if timed else np.nan
    cost = "unknown time" if np.isnan(seconds) else f"{seconds:.3g} s"
    enough = len(known) >= demanded or seconds >= MINUTE_S
    cure = f"'dss-marl solve {task.scenario.name} --days {demanded}' plans more days, and keeps how long each takes"
    note = f"{cost} a day for {task.scenario.reference_controller}" + ("" if enough else f"; {cure}")
    return CheckResult(
        "j", "test days", str(len(known)), f">= {demanded}, or {MINUTE_S:g} s or more a day", bool(enough), note
    )


def _faults(task: Task, known: Sequence[int]) -> list[CheckResult]:
    """The faults of the scenario that the test days meet."""
    if not task.scenario.faults or task.scenario.faults == "outages":
        return []
    met: dict[frozenset[str], int] = {}
    for day in known:
        drawn = draw(task, np.asarray(known), np.random.default_rng(seed_of(day)), {"day": day})
        fault = frozenset(drawn.faults or ())
        met[fault] = met.get(fault, 0) + 1
    missing = [name for name in task.scenario.faults if frozenset(fault_branches(name)) not in met]
    every = len(task.scenario.faults)
    note = f"not met: {', '.join(missing)}; plan more days, or name other faults" if missing else _often(met)
    return [CheckResult("j", "faults on test days", f"{every - len(missing)} of {every}", "all", not missing, note)]


def _often(met: Mapping[frozenset[str], int]) -> str:
    return f"each on {min(met.values())} to {max(met.values())} days"

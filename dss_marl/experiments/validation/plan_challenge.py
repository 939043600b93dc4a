"""Challenge of plans: a plan that a neutral group, a single change or a restart improves is not the best known."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from dss_marl._plugins import imported
from dss_marl.controllers import Controller, PlanReplay
from dss_marl.envs.task import Task
from dss_marl.experiments.validation.budget import ValidationBudget
from dss_marl.experiments.validation.check import CheckResult
from dss_marl.experiments.validation.episodes import EpisodeCache
from dss_marl.experiments.validation.ranking import tied
from dss_marl.grid.state import Array

Challenge = Callable[..., dict[str, float]]
GAIN = 0.005  # of the range: half of the last digit of a score
NEUTRAL = "neutral"  # in the names of those challenges that set a group of entries to neutral
SAMPLES = 200  # single changes tried on a day
_DAYS, _DAYS_LARGE = 3, 1
_PLACE = "dss_marl.controllers.planning.polish:challenge"


def plan_holds(
    episodes: EpisodeCache, controller: Controller, zero: str, budget: ValidationBudget
) -> list[CheckResult]:
    """(i) No challenge improves the plans of a few days.

    Plans are found by heuristics, so a sampled change may gain up to half of the last digit with which scores are
    printed. A group of entries set to neutral must not gain at all beyond a tie: that is a plan blind to what it costs.

    Args:
        episodes: results, with the task.
        controller: the reference controller.
        zero: the controller that scores 0.
        budget: days.
    """
    if not isinstance(controller, PlanReplay):
        return [CheckResult("i", "plans", "none", "", None, "the reference controller plans no days")]
    challenge = _challenge()
    if challenge is None:
        return [CheckResult("i", "plans", "not challenged", "", None, f"there is no {_PLACE}")]
    days = budget.few[: _DAYS if budget.slow else _DAYS_LARGE]
    gains = {day: _gains(challenge, episodes.task, day, controller.plans.requests[day], budget) for day in days}
    top = {day: float(episodes.returns(_reference(episodes), [day])[0]) for day in days}
    span = float((episodes.returns(_reference(episodes), budget.days) - episodes.returns(zero, budget.days)).mean())
    neutral = {day: _part(own, True) for day, own in gains.items()}
    others = {day: _part(own, False) for day, own in gains.items()}
    limits = {day: float(tied(np.array([earned]))[0]) for day, earned in top.items()}
    wide = {day: max(GAIN * span, limit) for day, limit in limits.items()}
    return [
        _row("a group of entries set to neutral improves the plan by", neutral, limits, "a tie"),
        _row("a sampled change or a restart improves the plan by", others, wide, f"{GAIN:.1%} of the range of a day"),
    ]


def _challenge() -> Challenge | None:
    """The function that challenges a plan, if the package has one."""
    try:
        return cast(Challenge, imported(_PLACE, "challenge of a plan", ()))
    except ValueError:
        return None


def _gains(challenge: Challenge, task: Task, day: int, requests: Array, budget: ValidationBudget) -> dict[str, float]:
    samples = 10 if budget.quick else SAMPLES if budget.slow else SAMPLES // 10
    return challenge(task, day, requests, samples=samples, seed=0)


def _reference(episodes: EpisodeCache) -> str:
    return episodes.task.scenario.reference_controller


def _part(gains: dict[str, float], neutral: bool) -> dict[str, float]:
    return {name: gain for name, gain in gains.items() if (NEUTRAL in name) == neutral}


def _row(what: str, gains: dict[int, dict[str, float]], limits: dict[int, float], limit: str) -> CheckResult:
    """The largest gain relative to its limit."""
    every = [(gain / limits[day], gain, day, name) for day, own in gains.items() for name, gain in own.items()]
    if not every:
        return CheckResult("i", what, "nothing tried", f"<= {limit}", None, f"{len(gains)} days")
    share, gain, day, name = max(every)
    note = f"{len(gains)} days, {len(every)} challenges; the largest: {name}, day {day}"
    return CheckResult("i", what, f"{max(gain, 0.0):.3g}", f"<= {limits[day]:.3g}, {limit}", bool(share <= 1), note)

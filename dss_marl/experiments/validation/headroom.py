"""Headroom: what is left to win over the best rule that uses no foresight."""

from __future__ import annotations

from collections.abc import Collection

from dss_marl.controllers import RULES
from dss_marl.experiments.validation.budget import ValidationBudget
from dss_marl.experiments.validation.check import CheckResult, format_interval
from dss_marl.experiments.validation.episodes import EpisodeCache
from dss_marl.experiments.validation.standings import Standing, best_rule, standings

HEADROOM = 0.1  # of the range from the controller that scores 0 to the one that scores 1
CONSTANT = "constant found"  # searched on test days, which no rule could: at least as strong as one from training days


def headroom(
    episodes: EpisodeCache, reference: str, names: Collection[str], budget: ValidationBudget
) -> list[CheckResult]:
    """(h) The reference controller beats every rule without foresight by a tenth of the range, or the task is labelled.

    Each rule is compared on the days that it played.

    Args:
        episodes: results.
        reference: name of the reference controller.
        names: the controllers that were run.
        budget: days.
    """
    label = episodes.task.scenario.tutorial
    every = episodes.team_returns(budget.days)
    played = {name: own for name, own in every.items() if name in names or name == CONSTANT}
    rules = [one._replace(rule=one.rule or one.controller == CONSTANT) for one in standings(played, reference)]
    best = best_rule(rules)
    demanded = f">= {HEADROOM:.0%} of the range, or tutorial: true in the scenario"
    if best is None or best.score is None:
        why = f"no rule has a score: {reference} is no better than the controller that scores 0"
        return [CheckResult("h", "headroom over rules", "none", demanded, None if budget.quick else False, why)]
    mean, low, high = (1 - score for score in (best.score[0], best.score[2], best.score[1]))
    enough = mean >= HEADROOM
    passed = None if budget.quick and not enough else enough or label
    what = f"headroom over {best.controller}, the best rule"
    note = _note(rules, best, reference, label, enough)
    return [CheckResult("h", what, format_interval(mean, low, high), demanded, passed, note)]


def _note(rules: list[Standing], best: Standing, reference: str, label: bool, enough: bool) -> str:
    others = [one for one in rules if one.rule and one is not best and one.score is not None][:2]
    next_best = ", ".join(f"{one.controller} {1 - one.score[0]:.2f}" for one in others if one.score)
    parts = [f"{len(best.days)} days", f"next: {next_best}" if next_best else ""]
    if reference in RULES:
        parts.append(f"{reference} is itself a rule, compared with the others")
    if label:
        parts.append("the label tutorial is no longer needed" if enough else "labelled tutorial, so no score counts it")
    elif not enough:
        parts.append("add tutorial: true, or make the task harder for rules")
    return "; ".join(part for part in parts if part)

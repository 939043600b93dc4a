"""Ranking: whether the reference controller performs best, and the cost of partial observability."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dss_marl.controllers import Controller, ZoneGreedy, is_local
from dss_marl.experiments.validation.budget import ValidationBudget
from dss_marl.experiments.validation.check import CheckResult, format_interval
from dss_marl.experiments.validation.episodes import EpisodeCache
from dss_marl.experiments.validation.standings import ZEROS
from dss_marl.grid.state import Array, BoolArray
from dss_marl.mdp.return_statistics import mean_interval

MARGIN = 0.02  # of the other's return: minimum gain, 40 times the numerical noise of the solver
UNBEATEN = 0.95  # share of days
TIE = 1e-4  # of the return: smaller differences are a tie


def tied(returns: Array) -> Array:
    """(days) largest difference of two returns that is a tie."""
    return TIE * np.maximum(np.abs(returns), 1.0)


def evaluated_days(episodes: EpisodeCache, name: str, budget: ValidationBudget) -> tuple[int, ...]:
    """The days of the budget that a controller was run on."""
    return tuple(day for day in budget.days if day in episodes.results.get(name, {}))


def reference_wins(
    episodes: EpisodeCache, reference: str, names: Mapping[str, Controller], budget: ValidationBudget
) -> list[CheckResult]:
    """(a) The reference controller clearly outperforms no control and the circuit's own controls, and none beats it.

    Args:
        episodes: results.
        reference: name of the reference controller.
        names: all controllers that were run.
        budget: days.
    """
    rows = [_gain(episodes, reference, zero, budget) for zero in ZEROS if zero in names]
    unbeaten = np.ones(len(budget.days), bool)
    for name in names:
        if name == reference:
            continue
        days = evaluated_days(episodes, name, budget)
        top = episodes.returns(reference, days)
        held = top >= episodes.returns(name, days) - tied(top)
        unbeaten[np.isin(budget.days, days)] &= held
        rows.append(_share(f"days not beaten by {name}", held))
    rows.append(_share("days not beaten by any of them", unbeaten))
    return rows


def _gain(episodes: EpisodeCache, reference: str, zero: str, budget: ValidationBudget) -> CheckResult:
    below = episodes.returns(zero, budget.days)
    mean, low, high = mean_interval(episodes.returns(reference, budget.days) - below)
    least = MARGIN * abs(float(below.mean()))
    passed = mean >= least and (budget.quick or low > 0)
    demanded = f">= {least:.3g} ({MARGIN:.0%} of its {below.mean():.4g}), interval > 0"
    return CheckResult(
        "a", f"gain on {zero}", format_interval(mean, low, high), demanded, bool(passed), f"{len(budget.days)} days"
    )


def _share(what: str, held: BoolArray) -> CheckResult:
    enough = held.mean() >= UNBEATEN
    note = f"a difference below {TIE:g} of the return is a tie"
    return CheckResult("a", what, f"{held.sum()} of {len(held)}", f">= {UNBEATEN:.0%}", bool(enough), note)


def partial_observation(
    episodes: EpisodeCache, reference: str, names: Mapping[str, Controller], budget: ValidationBudget
) -> list[CheckResult]:
    """(f) The best controller restricted to each zone's own information falls short of the reference controller.

    With a single zone, ``zone_greedy`` observes the whole grid and does not count.

    Args:
        episodes, reference, names, budget: as for ``reference_wins``.
    """
    if is_local(names[reference]):
        why = "it uses only each zone's own information; a central controller must outperform it"
        return [
            CheckResult("f", "reference controller uses more than zone information", reference, "not local", False, why)
        ]
    short, several = {}, len(episodes.task.zones) > 1
    for name, controller in names.items():
        if is_local(controller) and (several or not isinstance(controller, ZoneGreedy)):
            days = evaluated_days(episodes, name, budget)
            short[name] = (episodes.returns(reference, days) - episodes.returns(name, days), days)
    best = min(short, key=lambda name: float(short[name][0].mean()))
    mean, low, high = mean_interval(short[best][0])
    passed = mean > 0 and (budget.quick or low > 0)
    others = ", ".join(f"{name} {lack.mean():.4g}" for name, (lack, _) in short.items() if name != best)
    note = f"{len(short[best][1])} days" + (f"; others: {others}" if others else "")
    what = f"{best}, the best that knows its own zone only, falls short by"
    return [CheckResult("f", what, format_interval(mean, low, high), "interval > 0", bool(passed), note)]

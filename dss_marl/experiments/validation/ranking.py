"""Ranking: whether the reference controller performs best, and the cost of partial observability."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dss_marl.controllers import Controller, ZoneGreedy, is_local
from dss_marl.experiments.metrics import mean_interval
from dss_marl.experiments.validation.budget import ValidationBudget
from dss_marl.experiments.validation.check import CheckResult, format_interval
from dss_marl.experiments.validation.episodes import EpisodeCache
from dss_marl.grid.state import Array, BoolArray

MARGIN = 0.02  # of the other's return: minimum gain, 40 times the numerical noise of the solver
UNBEATEN = 0.95  # share of days
TIE = 1e-4  # of the return: smaller differences are a tie
ZEROS = ("no_control", "opendss_controls")


def tied(returns: Array) -> Array:
    """(days) largest difference of two returns that is a tie."""
    return TIE * np.maximum(np.abs(returns), 1.0)


def played_days(games: EpisodeCache, name: str, scope: ValidationBudget) -> tuple[int, ...]:
    """The days of the budget that a controller was run on."""
    return tuple(day for day in scope.days if day in games.kept.get(name, {}))


def strongest_wins(
    games: EpisodeCache, strongest: str, names: Mapping[str, Controller], scope: ValidationBudget
) -> list[CheckResult]:
    """(a) The reference controller clearly outperforms no control and the circuit's own controls, and none beats it.

    Args:
        games: results.
        strongest: name of the reference controller.
        names: all controllers that were run.
        scope: days.
    """
    rows = [_gain(games, strongest, zero, scope) for zero in ZEROS if zero in names]
    unbeaten = np.ones(len(scope.days), bool)
    for name in names:
        if name == strongest:
            continue
        days = played_days(games, name, scope)
        top = games.returns(strongest, days)
        held = top >= games.returns(name, days) - tied(top)
        unbeaten[np.isin(scope.days, days)] &= held
        rows.append(_share(f"days not beaten by {name}", held))
    rows.append(_share("days not beaten by any of them", unbeaten))
    return rows


def _gain(games: EpisodeCache, strongest: str, zero: str, scope: ValidationBudget) -> CheckResult:
    below = games.returns(zero, scope.days)
    mean, low, high = mean_interval(games.returns(strongest, scope.days) - below)
    least = MARGIN * abs(float(below.mean()))
    passed = mean >= least and (scope.quick or low > 0)
    demanded = f">= {least:.3g} ({MARGIN:.0%} of its {below.mean():.4g}), interval > 0"
    return CheckResult(
        "a", f"gain on {zero}", format_interval(mean, low, high), demanded, bool(passed), f"{len(scope.days)} days"
    )


def _share(what: str, held: BoolArray) -> CheckResult:
    enough = held.mean() >= UNBEATEN
    note = f"closer than {TIE:g} of the return is a tie, and beats nobody"
    return CheckResult("a", what, f"{held.sum()} of {len(held)}", f">= {UNBEATEN:.0%}", bool(enough), note)


def partial_observation(
    games: EpisodeCache, strongest: str, names: Mapping[str, Controller], scope: ValidationBudget
) -> list[CheckResult]:
    """(f) The best controller restricted to each zone's own information falls short of the reference controller.

    With a single zone, ``zone_greedy`` observes the whole grid and does not count.

    Args:
        games, strongest, names, scope: as for ``strongest_wins``.
    """
    if is_local(names[strongest]):
        why = "it uses only each zone's own information; a central controller must outperform it"
        return [
            CheckResult("f", "reference controller uses more than zone information", strongest, "not local", False, why)
        ]
    short, several = {}, len(games.task.zones) > 1
    for name, controller in names.items():
        if is_local(controller) and (several or not isinstance(controller, ZoneGreedy)):
            days = played_days(games, name, scope)
            short[name] = (games.returns(strongest, days) - games.returns(name, days), days)
    best = min(short, key=lambda name: float(short[name][0].mean()))
    mean, low, high = mean_interval(short[best][0])
    passed = mean > 0 and (scope.quick or low > 0)
    others = ", ".join(f"{name} {lack.mean():.4g}" for name, (lack, _) in short.items() if name != best)
    note = f"{len(short[best][1])} days" + (f"; others: {others}" if others else "")
    what = f"{best}, the best that knows its own zone only, falls short by"
    return [CheckResult("f", what, format_interval(mean, low, high), "interval > 0", bool(passed), note)]

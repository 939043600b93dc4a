"""Reward terms: whether every reward term and cost channel is active and differs between controllers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dss_marl.experiments.validation.budget import ValidationBudget
from dss_marl.experiments.validation.check import CheckResult
from dss_marl.experiments.validation.episodes import EpisodeCache

_ZERO = 1e-9
APART = 0.01  # spread of the controllers' means over the largest of them


def active_terms(episodes: EpisodeCache, names: Sequence[str], budget: ValidationBudget) -> list[CheckResult]:
    """(c) Every term is non-zero under some controller, and not the same under all.

    Controllers with a failed power flow do not count, because their sums are incomplete.

    Args:
        episodes: results.
        names: controllers and constants that were run on the budget's few days.
        budget: days.
    """
    rows = []
    names = [name for name in names if not any(episodes.results[name][day].figures["failed"] for day in budget.few)]
    for term in next(iter(episodes.results["no_control"].values())).terms:
        sums = {name: float(np.mean([episodes.results[name][day].terms[term] for day in budget.few])) for name in names}
        low, high = min(sums, key=lambda name: sums[name]), max(sums, key=lambda name: sums[name])
        largest = max(abs(value) for value in sums.values())
        apart = sums[high] - sums[low]
        passed = largest > _ZERO and apart >= APART * largest
        measured = f"{sums[low]:.4g} ({low}) to {sums[high]:.4g} ({high})"
        demanded = f"not zero, apart by {APART:.0%} of the largest"
        rows.append(
            CheckResult(
                "c", f"{term.replace('/', ' ')} of a day", measured, demanded, passed, f"{len(budget.few)} days"
            )
        )
    return rows

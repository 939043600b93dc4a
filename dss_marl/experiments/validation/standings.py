"""Standings: every controller that played, on the days that it played, in the order of its score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dss_marl.controllers import RULES
from dss_marl.experiments.metrics import normalised_score
from dss_marl.mdp.return_statistics import mean_interval

ZEROS = ("no_control", "opendss_controls")
Interval = tuple[float, float, float]  # mean, lower and upper end


class Standing(NamedTuple):
    """One controller of a scenario.

    Attributes:
        controller: its name.
        days: that it played.
        returned: mean team return over these days, with its 95 % interval.
        score: on these days, with its 95 % interval: 0 and 1 are the means of the two controllers that define the score
            on the same days. None where they do not define one.
        rule: whether it is a rule without foresight.
    """

    controller: str
    days: tuple[int, ...]
    returned: Interval
    score: Interval | None
    rule: bool


def zero_of(returns: Mapping[str, Mapping[int, float]], reference: str) -> str | None:
    """The controller that scores 0: the circuit's own controls, else no control; None if the reference is no better.

    Args:
        returns: controller to day to team return.
        reference: the controller that scores 1.
    """
    for name in reversed(ZEROS):
        if name in returns and reference in returns:
            days = [day for day in returns[name] if day in returns[reference]]
            gain = np.mean([returns[reference][day] - returns[name][day] for day in days]) if days else 0.0
            return name if gain > 0 else None
    return None


def standings(returns: Mapping[str, Mapping[int, float]], reference: str) -> list[Standing]:
    """Every controller, the highest score first; without scores, the highest return.

    Args:
        returns: controller to day to team return.
        reference: the controller that scores 1.
    """
    zero = zero_of(returns, reference)
    found = [_standing(name, own, returns, zero, reference) for name, own in returns.items() if own]
    return sorted(found, key=lambda one: -(one.returned[0] if one.score is None else one.score[0]))


def _standing(
    name: str,
    own: Mapping[int, float],
    returns: Mapping[str, Mapping[int, float]],
    zero: str | None,
    reference: str,
) -> Standing:
    score = None
    if zero is not None:
        days = [day for day in sorted(own) if day in returns[zero] and day in returns[reference]]
        mine, low, high = ([column[day] for day in days] for column in (own, returns[zero], returns[reference]))
        if days and np.mean(high) - np.mean(low) > 1e-9:
            score = normalised_score(mine, low, high)
    values = [own[day] for day in sorted(own)]
    return Standing(name, tuple(sorted(own)), mean_interval(values), score, name in RULES and name != reference)


def best_rule(found: Iterable[Standing]) -> Standing | None:
    """The rule without foresight that has the highest score; None if no rule has one."""
    rules = [one for one in found if one.rule and one.score is not None]
    return max(rules, key=lambda one: one.score[0] if one.score else -np.inf, default=None)


def days_text(days: Sequence[int], every: int) -> str:
    """How many of all days a controller played."""
    return f"{len(days)} of {every}" if len(days) < every else str(every)

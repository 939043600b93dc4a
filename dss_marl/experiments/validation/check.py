"""Result of one check: measured value, threshold, verdict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

CHECKS = {
    "a": "the reference controller performs best",
    "b": "no constant action and no single device comes close to it",
    "c": "every reward term and cost is active and differs between controllers",
    "d": "every device affects the return",
    "e": "every stress split changes the key figures",
    "f": "partial observability reduces the return",
    "g": "voltages are physical and energy balances",
    "h": "no rule without foresight comes close to the reference controller",
    "i": "nothing that is tried improves a plan",
    "j": "many test days, with every fault, carry the result",
    "k": "rules and agents have the same capability",
}


class CheckResult(NamedTuple):
    """One line of the proof.

    Attributes:
        check: key in CHECKS.
        what: measured quantity.
        measured: its value.
        demanded: criterion.
        passed: None where the check does not apply; ``note`` says why.
        note: number of days, or other remarks.
    """

    check: str
    what: str
    measured: str
    demanded: str
    passed: bool | None
    note: str = ""


def failures(rows: Iterable[CheckResult]) -> list[CheckResult]:
    """The rows that did not pass."""
    return [row for row in rows if row.passed is False]


def format_interval(mean: float, low: float, high: float) -> str:
    """A mean with its interval, with digits enough to see the interval."""
    return f"{mean:.4g}" if low == high else f"{mean:.4g} ({low:.4g} to {high:.4g})"

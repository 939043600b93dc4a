"""Row: one thing that was measured, what it had to be, and whether it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

CHECKS = {
    "a": "the strongest controller wins",
    "b": "no constant and no single device comes near it",
    "c": "every reward term and every cost fires and tells controllers apart",
    "d": "every device moves the return",
    "e": "every stress split changes the key figures",
    "f": "knowing one's own zone only costs something",
    "g": "voltages are physical and energy balances",
}


class CheckResult(NamedTuple):
    """One line of the proof.

    Attributes:
        check: which of CHECKS.
        what: was measured.
        measured: and came out.
        demanded: for it to pass.
        passed: None where the check does not apply; ``note`` says why.
        note: on how many days, or what else the numbers need.
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

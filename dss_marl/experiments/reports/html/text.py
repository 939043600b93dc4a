"""Numbers and names as the report prints them."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

MINUS = "\N{MINUS SIGN}"


def digits_of(*values: float) -> int:
    """Decimals that show three digits of the largest of these numbers, at most four."""
    largest = max((abs(value) for value in values if np.isfinite(value)), default=0.0)
    return int(np.clip(2 - np.floor(np.log10(max(largest, 1e-12))), 0, 4))


def number(value: float, digits: int | None = None) -> str:
    """A number with three digits, or this many decimals; "" where it is not known, and a plain 0 for zero."""
    if not np.isfinite(value):
        return ""
    if value == 0:
        return "0"
    text = f"{value:,.{digits_of(value) if digits is None else digits}f}"
    return text.replace("-", MINUS) if text.strip("-0.") else text.lstrip("-")


def interval(low: float, high: float, digits: int) -> str:
    """The ends of an interval; "" where they are the same."""
    return "" if low == high else f"{number(low, digits)} to {number(high, digits)}"


def with_interval(mean: float, low: float, high: float) -> str:
    """A mean and its interval in brackets."""
    digits = digits_of(mean, high - low)
    ends = interval(low, high, digits)
    return f"{number(mean, digits)} ({ends})" if ends else number(mean, digits)


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names as running text: a, b and c; at most so many, then how many more."""
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def count(many: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 day, 2 days."""
    return f"{many:,} {noun if many == 1 else plural or noun + 's'}"


def clock(hour: float) -> str:
    """Hours since midnight as a time of day, 25.5 as 01:30."""
    minutes = round(60 * hour) % (24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def safe(text: str) -> str:
    """A name as a figure takes it: plotly reads tags and entities in the texts that it draws."""
    return html.escape(text, quote=False)


def shortened(text: str, most: int) -> str:
    """A name of at most so many letters: one that is longer loses its middle, as its ends tell it from others."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{text[-tail:]}"

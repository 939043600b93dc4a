"""Splits: the days for training, validation, test and stress, frozen as data."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SPLITS = ("train", "validation", "test")
STRESS_SPLITS = ("sunny_low_load", "cold_evening", "more_pv", "another_climate", "outage_season")
OTHER_YEARS = ("validation_year", "test_year")  # of chained days, see ``chain_starts``
BLOCKS = (*STRESS_SPLITS, *OTHER_YEARS)
OFFSET = 1000  # day 17 of the k-th block, from 1, has the number 1000 k + 17
_YEAR, _TEST_CHAINS, _VALIDATION_CHAINS = 365, 30, 13
_FILE = Path(__file__).with_name("splits.json")


@functools.lru_cache(maxsize=1)
def frozen_splits() -> dict[str, tuple[int, ...]]:
    """Day numbers of each split, as in ``splits.json``: results on them must stay comparable across versions."""
    data = json.loads(_FILE.read_text(encoding="utf-8"))
    return {name: tuple(days) for name, days in data["days"].items()}


def split_days(name: str, known: tuple[str, ...] = (*SPLITS, *STRESS_SPLITS)) -> tuple[int, ...]:
    """Day numbers of a split.

    Raises:
        ValueError: unknown split; names the known ones.
    """
    if name not in known:
        raise ValueError(f"unknown split {name!r}; known: {', '.join(known)}")
    return frozen_splits()[name]


def split_of(number: int) -> tuple[str, int]:
    """The stress split or other year of a day number, "" for an ordinary day, and the day of the year."""
    block, day = divmod(int(number), OFFSET)
    return (BLOCKS[block - 1] if block else ""), day


def chain_starts(name: str) -> tuple[int, ...]:
    """Numbers of the days at which episodes of several days start, by split.

    Days of different splits alternate within a year, so an episode of several days would contain days of all splits.
    Validation and test therefore have a year of their own, with other random numbers: 13 and 30 starts spread over it.
    An episode of four weeks overlaps those that start within four weeks, so its test results are not independent.

    Raises:
        ValueError: unknown split; names the known ones.
    """
    if name == "train":
        return tuple(range(_YEAR))
    if name not in SPLITS:
        return split_days(name)
    year, count = ("validation_year", _VALIDATION_CHAINS) if name == "validation" else ("test_year", _TEST_CHAINS)
    block = OFFSET * (1 + BLOCKS.index(year))
    return tuple(block + round(k * _YEAR / count) for k in range(count))


def seed_of(number: int) -> int:
    """The seed of a day's noise, lost messages, attacks and faults when controllers are compared.

    It is that of the day of the year, so that a stress day and the test day of the same date differ only in the stress.
    """
    return split_of(number)[1]


def splits_sha256(days: dict[str, tuple[int, ...]] | None = None) -> str:
    """SHA-256 of the day numbers, also stored in ``splits.json``."""
    named = {name: list(numbers) for name, numbers in (days or frozen_splits()).items()}
    return hashlib.sha256(json.dumps(named, separators=(",", ":")).encode()).hexdigest()


def spread_days(days: Sequence[int], count: int) -> list[int]:
    """A selection of the days over the whole year; a larger count keeps the days of a smaller one."""
    order = np.argsort((np.arange(len(days)) * 0.6180339887) % 1, kind="stable")  # the golden ratio's fractions
    return sorted(int(days[k]) for k in order[:count])

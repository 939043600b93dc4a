"""Outages: which lines fail on a day, when, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.profiles.clouds import length_km
from dss_marl.profiles.load_shapes import summer

_MEDIAN_H, _SPREAD = 1.5, 0.8  # of a repair: lognormal
# Failure rate relative to spring and autumn, before normalisation to a yearly mean of 1: ice and thunderstorms.
_WINTER, _SUMMER = 1.5, 1.6


@dataclass(frozen=True)
class Outage:
    """A line out of service.

    Attributes:
        branch: name, as in Feeder.branches.
        start_h: hours after the day's midnight.
        duration_h: time to repair [h]; may extend into the following days.
    """

    branch: str
    start_h: float
    duration_h: float


def season_factor(day: int, southern: bool) -> float:
    """Failure rate of a day over the yearly mean: higher in winter and summer than in between."""
    warm = summer(day, southern)
    winter, hot = max(1 - 2 * warm, 0.0), max(2 * warm - 1, 0.0)
    mean = 1 + ((_WINTER - 1) + (_SUMMER - 1)) / np.pi  # of the two half waves over the year
    return float((1 + (_WINTER - 1) * winter + (_SUMMER - 1) * hot) / mean)


def draw_outages(
    rng: np.random.Generator, feeder: Feeder, per_km_year: float, season: float = 1.0
) -> tuple[Outage, ...]:
    """The outages that begin on a day, in order of time.

    Lines fail in proportion to their length (see ``length_km``). Repair times are lognormal: half are below an hour and
    a half, one in ten exceeds four hours. Failures are more frequent in the afternoon, as storms are.

    Args:
        rng: random stream.
        feeder: whose lines fail.
        per_km_year: failures per kilometre and year; 0.05 to 0.3 for overhead lines.
        season: failure rate of the day over the yearly mean.
    """
    lines = [branch for branch in feeder.branches if branch.kind == "line"]
    lengths = np.array([length_km(vars(branch).__getitem__) for branch in lines])
    found = []
    for index in np.flatnonzero(rng.poisson(per_km_year * season / 365 * lengths)):
        start = 24 * rng.random() if rng.random() < 0.6 else 12 + 8 * rng.random()
        duration = _MEDIAN_H * float(np.exp(_SPREAD * rng.standard_normal()))
        found.append(Outage(lines[index].name, round(start, 3), round(min(max(duration, 0.1), 48.0), 3)))
    return tuple(sorted(found, key=lambda outage: outage.start_h))

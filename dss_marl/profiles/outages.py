"""Outages: which lines fail on a day, when, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.profiles.clouds import length_km
from dss_marl.profiles.load_shapes import summer

_MEDIAN_H, _SPREAD = 1.5, 0.8  # of a repair: lognormal
# Failures over those of spring and autumn, before the year's mean is brought to 1: ice, and thunderstorms.
_WINTER, _SUMMER = 1.5, 1.6


@dataclass(frozen=True)
class Outage:
    """A line out of service.

    Attributes:
        branch: its name, as in Feeder.branches.
        start_h: hours from the day's midnight.
        duration_h: until it is repaired [h]; may reach into the next days.
    """

    branch: str
    start_h: float
    duration_h: float


def season_factor(day: int, southern: bool) -> float:
    """Failures on a day over the year's mean: more in winter and in summer than between them."""
    warm = summer(day, southern)
    winter, hot = max(1 - 2 * warm, 0.0), max(2 * warm - 1, 0.0)
    mean = 1 + ((_WINTER - 1) + (_SUMMER - 1)) / np.pi  # of the two half waves over the year
    return float((1 + (_WINTER - 1) * winter + (_SUMMER - 1) * hot) / mean)


def draw_outages(
    rng: np.random.Generator, feeder: Feeder, per_km_year: float, season: float = 1.0
) -> tuple[Outage, ...]:
    """The outages that begin on a day, in order of time.

    Lines fail in proportion to their length (see ``length_km``). Repairs are lognormal: half are done within an hour
    and a half, one in ten takes more than four. Failures come more often in the afternoon, when storms do.

    Args:
        rng: the stream to draw from.
        feeder: whose lines fail.
        per_km_year: failures of a kilometre in a year; overhead lines have 0.05 to 0.3.
        season: of the day, over the year's mean.
    """
    lines = [branch for branch in feeder.branches if branch.kind == "line"]
    lengths = np.array([length_km(vars(branch).__getitem__) for branch in lines])
    found = []
    for index in np.flatnonzero(rng.poisson(per_km_year * season / 365 * lengths)):
        start = 24 * rng.random() if rng.random() < 0.6 else 12 + 8 * rng.random()
        duration = _MEDIAN_H * float(np.exp(_SPREAD * rng.standard_normal()))
        found.append(Outage(lines[index].name, round(start, 3), round(min(max(duration, 0.1), 48.0), 3)))
    return tuple(sorted(found, key=lambda outage: outage.start_h))

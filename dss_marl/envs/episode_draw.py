"""What a reset draws: the day of an episode, its faults, and the seeds of noise, lost messages and attacks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dss_marl.envs.conditions import EpisodeConditions
from dss_marl.envs.faults import checked_faults, draw_faults
from dss_marl.envs.task import Task
from dss_marl.grid.state import IntArray


class DrawnEpisode(NamedTuple):
    """An episode before its first interval.

    Attributes:
        day: its number.
        conditions: of that day.
        streams: (3) seeds of measurement noise, message loss and attacks.
    """

    day: int
    conditions: EpisodeConditions
    streams: IntArray


def draw_episode(
    task: Task, days: Sequence[int], rng: np.random.Generator, options: Mapping[str, Any] | None
) -> DrawnEpisode:
    """Draw the next episode of a stream.

    Args:
        task: of the episode.
        days: from which one is drawn.
        rng: the stream; it moves on by the same draws whatever the options.
        options: as of ``ZoneEnv.reset``.

    Raises:
        ValueError: no such day or branch, or no switch parts a broken branch from the source.
    """
    options = dict(options or {})
    drawn = int(rng.choice(days))  # drawn always, so that an option does not shift the stream
    streams = rng.integers(2**63, size=3)
    day = options.pop("day", drawn)
    faults = checked_faults(options.pop("faults", draw_faults(task.scenario.faults, day, rng)))
    if options:  # an error would fail PettingZoo's own test, which passes an option of its own
        warnings.warn(f"reset ignores the unknown option {next(iter(options))!r}; known: day, faults", stacklevel=3)
    conditions = EpisodeConditions.of_day(task, day, faults)
    return DrawnEpisode(int(day), conditions, streams)

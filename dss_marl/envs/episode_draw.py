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

_OPTIONS = "day, start_hour, faults"


class Draw(NamedTuple):
    """What a reset draws.

    Attributes:
        day: number of the day.
        faults: branches faulted throughout the episode; None: the day's own outages.
        streams: (3) seeds of measurement noise, message loss and attacks.
        first_row: of the day, at which the episode starts; None: at the scenario's ``start_hour``.
    """

    day: int
    faults: Sequence[str] | None
    streams: IntArray
    first_row: int | None = None


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


def draw(task: Task, days: IntArray, rng: np.random.Generator, options: Mapping[str, Any] | None) -> Draw:
    """Draw the next episode of a stream; arguments as of ``draw_episode``, errors but for those of the day alone."""
    drawn = days[rng.integers(len(days))]  # drawn always, so that an option does not shift the stream
    streams = _three_seeds(rng)
    row = int(rng.integers(task.profiles.steps)) if task.scenario.random_start else None
    if not options and not task.scenario.faults:
        return Draw(int(drawn), (), streams, row)
    options = dict(options or {})
    row = None if "day" in options else row
    row = _row_of(task, options.pop("start_hour")) if "start_hour" in options else row
    day = options.pop("day", int(drawn))
    faults = checked_faults(options.pop("faults", draw_faults(task.scenario.faults, day, rng)))
    if options:  # an error would fail PettingZoo's own test, which passes an option of its own
        warnings.warn(f"reset ignores the unknown option {next(iter(options))!r}; known: {_OPTIONS}", stacklevel=4)
    return Draw(day, faults, streams, row)


def _row_of(task: Task, hour: Any) -> int:
    """The row of a day that begins at an hour.

    Raises:
        ValueError: the scenario's episodes do not start at random, or none of the day's intervals begins then.
    """
    if not task.scenario.random_start:
        raise ValueError(
            f"reset takes start_hour where random_start is set; scenario {task.scenario.name!r} starts at "
            f"{task.scenario.start_hour:g}: set random_start, or change its start_hour"
        )
    row = hour / task.scenario.dt_h
    if not 0 <= hour < 24 or abs(row - round(row)) > 1e-6:
        raise ValueError(f"start_hour must be a multiple of dt_h {task.scenario.dt_h:g} from 0 to below 24; got {hour}")
    return round(row)


def _three_seeds(rng: np.random.Generator) -> IntArray:
    """(3) the same as ``rng.integers(2**63, size=3)``, at a tenth of its time: the upper bits of three draws."""
    if isinstance(rng.bit_generator, np.random.PCG64):
        return (rng.bit_generator.random_raw(3) >> np.uint64(1)).astype(np.int64)
    return rng.integers(2**63, size=3)


def draw_episode(
    task: Task, days: Sequence[int], rng: np.random.Generator, options: Mapping[str, Any] | None
) -> DrawnEpisode:
    """Draw the next episode of a stream, with its conditions.

    Args:
        task: of the episode.
        days: from which one is drawn.
        rng: the stream; it moves on by the same draws whatever the options.
        options: as of ``ZoneEnv.reset``.

    Raises:
        ValueError: no such day or branch, or no switch parts a broken branch from the source.
    """
    day, faults, streams, row = draw(task, np.asarray(days), rng, options)
    return DrawnEpisode(int(day), EpisodeConditions.of_day(task, day, faults, row), streams)

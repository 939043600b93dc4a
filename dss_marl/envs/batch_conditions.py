"""BatchConditions: the conditions of several copies of a task, each on a day of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dss_marl.envs.conditions import EpisodeConditions
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints
from dss_marl.profiles import Day


class BatchConditions:
    """As EpisodeConditions, of B copies at once: steps are (B), everything else has a leading axis B.

    The days of all copies lie in one array each, so that an interval costs one gathering; a copy that starts another
    day overwrites its part of them.

    Args:
        episodes: one for each copy.
    """

    def __init__(self, episodes: Sequence[EpisodeConditions]) -> None:
        first = episodes[0]
        self.scenario, self.first_row = first.scenario, first.first_row
        self._copies = np.arange(len(episodes))
        self._kw = np.stack([one.day.kw for one in episodes])  # (B, T, J)
        self._kvar = np.stack([one.day.kvar for one in episodes])
        self._price = np.stack([one.day.price for one in episodes])
        self._columns = np.arange(first.scenario.horizon)
        self.episodes: list[EpisodeConditions] = [self._viewed(b, one) for b, one in enumerate(episodes)]
        self._any_fault = any(one.faults for one in episodes)

    def begin(self, copy: int, episode: EpisodeConditions) -> None:
        """Put a copy into another episode."""
        self._kw[copy], self._kvar[copy], self._price[copy] = episode.day.kw, episode.day.kvar, episode.day.price
        self.episodes[copy] = self._viewed(copy, episode)
        self._any_fault = any(one.faults for one in self.episodes)

    def _viewed(self, copy: int, episode: EpisodeConditions) -> EpisodeConditions:
        """The episode with its day in the arrays of all copies, so that it lies in memory once."""
        if episode.forecast is not None:
            return episode  # whose forecasts refer to the day as well
        day = Day(self._kw[copy], self._kvar[copy], self._price[copy], episode.day.temperature_c)
        return replace(episode, day=day)

    def alone(self, copy: int) -> EpisodeConditions:
        """The conditions of one copy, which stay as they are when it starts another day."""
        one = self.episodes[copy]
        if one.forecast is not None:
            return one
        day = Day(one.day.kw.copy(), one.day.kvar.copy(), one.day.price.copy(), one.day.temperature_c)
        return replace(one, day=day)

    def interval(self, step: IntArray) -> Interval:
        """See EpisodeConditions.interval."""
        scenario = self.scenario
        hour = (scenario.start_hour + step * scenario.dt_h) % 24
        return Interval(step, hour, scenario.dt_h, self._faulted(step) if self._any_fault else None)

    def _faulted(self, step: IntArray) -> BoolArray | None:
        """(B, N); None without any fault in these intervals."""
        rows = [one.interval(int(own)).faulted for one, own in zip(self.episodes, step, strict=True)]
        nodes = next((len(row) for row in rows if row is not None), 0)
        return np.array([np.zeros(nodes, bool) if row is None else row for row in rows]) if nodes else None

    def injections_kw(self, step: IntArray) -> Array:
        """(B, J); see EpisodeConditions.injections_kw."""
        return self._kw[self._copies, self.first_row + step]

    def setpoints(self, step: IntArray, present: Setpoints) -> Setpoints:
        """See EpisodeConditions.setpoints."""
        place = self._copies, self.first_row + step
        return Setpoints(self._kw[place], self._kvar[place], present.tap.copy(), present.closed.copy())

    def protected(self, step: IntArray, present: Setpoints) -> Setpoints:
        """See EpisodeConditions.protected."""
        if not self._any_fault:
            return present
        after = present.closed.copy()
        for b, (one, own) in enumerate(zip(self.episodes, step.tolist(), strict=True)):
            for fault in one.faults:
                if fault.first == own:
                    after[b] &= ~fault.opened
        return replace(present, closed=after)

    def forecast_kw(self, step: IntArray) -> Array:
        """(B, H, J); see EpisodeConditions.forecast_kw."""
        if self.episodes[0].forecast is None:
            return self.injections_kw(step)[:, None]
        return np.array([one.forecast_kw(own) for one, own in zip(self.episodes, step.tolist(), strict=True)])

    def price(self, step: IntArray) -> Array:
        """(B, H); see EpisodeConditions.price."""
        return self._price[self._copies[:, None], (self.first_row + step)[:, None] + self._columns]

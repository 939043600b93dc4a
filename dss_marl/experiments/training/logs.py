"""Logs of a run: TensorBoard's events, a table of the figures of each update, and trackers that were asked for."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dss_marl._assets import write_text
from dss_marl.experiments.runs.run_folder import LOGS, PROGRESS
from dss_marl.experiments.training.trackers import Tracker

_DONE = "time/total_timesteps"  # the column that says after how many agent-steps a row was written


class Logs:
    """Makes SB3's loggers of a run.

    Args:
        folder: of the run.
        name: of the events' folder where all agents share a model.
        trackers: that get the figures too.
    """

    def __init__(self, folder: Path, name: str, trackers: Sequence[Tracker] = ()) -> None:
        self._folder, self._name, self.trackers = folder, name, tuple(trackers)

    def logger(self, kind: str, resumed_at: int | None) -> Any:
        """The logger of a kind's model; "" is that of all agents.

        Args:
            kind: of agent.
            resumed_at: the model's steps at the checkpoint; what was written after it is dropped. None: from the start.
        """
        from stable_baselines3.common.logger import Logger

        from dss_marl.experiments.training.log_formats import ContinuedEvents, ContinuedTable

        events = self._folder / LOGS / (kind or self._name)
        table = self._folder / (PROGRESS.replace(".", f"-{kind}.") if kind else PROGRESS)
        if resumed_at is not None:
            keep_rows(table, resumed_at)
        own = [writer for tracker in self.trackers if (writer := tracker.writer(kind)) is not None]
        return Logger(str(events), [ContinuedEvents(str(events), resumed_at), ContinuedTable(table), *own])

    def callbacks(self) -> list[Any]:
        """SB3's callbacks of the trackers."""
        return [callback for tracker in self.trackers for callback in tracker.callbacks()]

    def close(self) -> None:
        """End the trackers."""
        for tracker in self.trackers:
            tracker.close()


def keep_rows(path: Path, done: int) -> None:
    """Drop the rows of a table that were written after so many agent-steps, or cut short."""
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    place = head.index(_DONE) if _DONE in head else -1
    kept = [row for row in rows if place >= 0 and len(row) == len(head) and row[place] and int(row[place]) <= done]
    write_text(path, "".join(",".join(row) + "\n" for row in ([head] if head else []) + kept))

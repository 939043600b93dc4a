"""Stopwatch: the computing time of each stage of a validation."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time


class Stopwatch:
    """Adds up the computing time of named stages.

    Args:
        report: called with the name of each stage when it begins.

    Attributes:
        seconds: stage to its computing time so far [s].
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report, self._running, self._since = report, "", process_time()
        self.seconds: dict[str, float] = {}

    def stage(self, name: str) -> None:
        """End the running stage and begin another one; "" begins none."""
        now = process_time()
        if self._running:
            self.seconds[self._running] = self.seconds.get(self._running, 0.0) + now - self._since
        self._running, self._since = name, process_time()
        if name:
            self._report(name)

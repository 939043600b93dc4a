"""Turns: in which order controls of one winding or bank act at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dss_marl.grid.state import BoolArray, IntArray

NEVER = np.inf  # time of an action that is not in the queue


class Turns:
    """Lets the controls of one element act one after the other, the one that was queued last first.

    Args:
        elements: (C) what each control moves.
    """

    def __init__(self, elements: Sequence[int]) -> None:
        members: dict[int, list[int]] = {}
        for c, element in enumerate(elements):
            members.setdefault(element, []).append(c)
        self._shared = [np.array(group) for group in members.values() if len(group) > 1]

    def __call__(self, due: BoolArray, serial: IntArray) -> Iterator[BoolArray]:
        """(n, C) those that act now, at most one for each element and copy, until all that are due have.

        Args:
            due: (n, C) which act at all.
            serial: (n, C) numbers that rise from one that is queued to the next.
        """
        if not self._shared:
            yield due
            return
        left = due.copy()
        while left.any():
            now = left.copy()
            for group in self._shared:
                last = np.where(left[:, group], serial[:, group], -1).argmax(axis=-1)
                now[:, group] &= np.arange(len(group)) == last[:, None]
            left &= ~now
            yield now

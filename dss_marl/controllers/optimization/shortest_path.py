"""Shortest path: best sequence of positions over a day, by dynamic programming over candidates per interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dss_marl.grid.state import Array, IntArray


def best_path(
    rewards: Sequence[Array], places: Sequence[IntArray], start: IntArray, limits: Sequence[IntArray], prices: Array
) -> tuple[float, list[int]]:
    """The path with the highest sum of rewards minus the cost of moves; exact for the given candidates.

    Args:
        rewards: per interval, (K) of each candidate.
        places: per interval, (K, P) positions of the candidates.
        start: (P) position before the first interval.
        limits: per interval, (P) maximum moves into it.
        prices: (P) cost of one move.

    Returns:
        the sum, and per interval the index of the candidate; the sum is -inf if no path satisfies the limits.
    """
    total, before = np.zeros(1), start[None]
    arrows: list[IntArray] = []
    for reward, place, limit in zip(rewards, places, limits, strict=True):
        away = np.abs(place[:, None] - before[None])  # (K, K before, P)
        gain = np.where((away > limit).any(-1), -np.inf, total - away @ prices)
        arrow = gain.argmax(axis=1)
        arrows.append(arrow)
        total = gain[np.arange(len(place)), arrow] + reward
        before = place
    last = int(total.argmax())
    path = [last]
    for arrow in arrows[:0:-1]:
        path.append(int(arrow[path[-1]]))
    return float(total[last]), path[::-1]

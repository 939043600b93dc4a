"""Paths: the best sequence of positions through a day, by dynamic programming over what each interval has to offer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dss_marl.grid.state import Array, IntArray


def best_path(
    rewards: Sequence[Array], places: Sequence[IntArray], start: IntArray, limits: Sequence[IntArray], prices: Array
) -> tuple[float, list[int]]:
    """The path with the highest sum of rewards less what its moves cost; exact for the places on offer.

    Args:
        rewards: per interval, (K) of each place on offer.
        places: per interval, (K, P) positions.
        start: (P) before the first interval.
        limits: per interval, (P) most moves on the way into it.
        prices: (P) of one move.

    Returns:
        the sum, and per interval the number of its place; the sum is -inf where no path keeps the limits.
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

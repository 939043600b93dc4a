"""Trees: all radial configurations that the open points of a task can make."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

from dss_marl.devices import OpenPoints
from dss_marl.grid.state import Array, BoolArray, IntArray

MOST = 3_000_000  # sets of open places that are looked at
_TOGETHER = 200_000  # determinants at a time


def ring_table(group: OpenPoints, closed: BoolArray) -> IntArray:
    """(D, W) 1 where a place lies on the ring that closing each device's home would make, home included.

    Args:
        group: the open points.
        closed: (S) states with all of them at home.
    """
    rings, table = group.exchanges.of_open_switches(closed), np.zeros((group.size, len(group.places)), np.int64)
    for row, home in zip(table, group.home, strict=True):
        ring = rings[int(group.places[home])]
        row[:] = [int(s) in ring for s in group.places]
        row[home] = 1
    return table


def conductor_counts(group: OpenPoints) -> set[int]:
    """Over how many conductors the places go; the trees are only known where all go over as many."""
    return {len(group.exchanges.topology.pairs[int(s)]) for s in group.places}


def all_trees(table: Array | IntArray) -> IntArray:
    """(K, D) the places that are open in each radial configuration, ascending.

    A set of places leaves a spanning tree if and only if the rings' table, restricted to it, has an odd determinant:
    the rings are a basis of the cycle space over the integers modulo 2.

    Args:
        table: (D, W) as from ``ring_table``.

    Raises:
        ValueError: there are too many sets to look at.
    """
    count, width = table.shape
    if comb(width, count) > MOST:
        raise ValueError(f"{count} open points over {width} places make too many sets to enumerate; name fewer places")
    sets = np.array(list(combinations(range(width), count)), np.int64)
    kept = []
    for start in range(0, len(sets), _TOGETHER):
        some = sets[start : start + _TOGETHER]
        minors = table[:, some].transpose(1, 0, 2).astype(float)
        kept.append(some[np.rint(np.abs(np.linalg.det(minors))).astype(np.int64) % 2 == 1])
    return np.concatenate(kept)

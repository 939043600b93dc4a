"""Enumeration of all radial configurations of a task's open points."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

from dss_marl.devices import OpenPoints
from dss_marl.grid.state import Array, BoolArray, IntArray

MOST = 3_000_000  # maximum number of sets of open switches to test
_TOGETHER = 200_000  # determinants per batch


def ring_table(group: OpenPoints, closed: BoolArray) -> IntArray:
    """(D, W) 1 where a switch is on the ring formed by closing each device's home switch, home included.

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
    """Numbers of conductors of the switches; enumeration requires a common number."""
    return {len(group.exchanges.topology.pairs[int(s)]) for s in group.places}


def all_trees(table: Array | IntArray) -> IntArray:
    """(K, D) indices of the open switches of each radial configuration, ascending.

    Opening a set of switches leaves a spanning tree if and only if the ring table, restricted to the set, has an odd
    determinant: the rings are a basis of the cycle space over the integers modulo 2.

    Args:
        table: (D, W) as from ``ring_table``.

    Raises:
        ValueError: too many sets to enumerate.
    """
    count, width = table.shape
    if comb(width, count) > MOST:
        raise ValueError(f"{count} open points on {width} switches are too many to enumerate; name fewer switches")
    sets = np.array(list(combinations(range(width), count)), np.int64)
    kept = []
    for start in range(0, len(sets), _TOGETHER):
        some = sets[start : start + _TOGETHER]
        minors = table[:, some].transpose(1, 0, 2).astype(float)
        kept.append(some[np.rint(np.abs(np.linalg.det(minors))).astype(np.int64) % 2 == 1])
    return np.concatenate(kept)

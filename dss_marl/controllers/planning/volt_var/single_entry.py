"""Derivative-free search for tasks with a single continuous action."""

from __future__ import annotations

import numpy as np

from dss_marl.controllers.planning.volt_var.interval_model import IntervalModel, IntervalOptimum
from dss_marl.grid.state import Array, IntArray

_GRID = 65  # grid points
_PEAKS = 3  # best values that are refined


def best_only_entry(moments: IntervalModel, step: int, position: IntArray) -> IntervalOptimum:
    """The best value of the single entry.

    The reward is discontinuous where a node leaves the band. So the search evaluates a grid, the values at which some
    node is at its band limit, and then finer grids around the best ones.

    Args:
        moments: of a task with one entry.
        step, position: interval, and positions of taps and banks.
    """
    grid = np.linspace(moments.low, moments.high, _GRID)
    states = [moments.after(step, position, row) for row in grid]
    tried = [IntervalOptimum(moments.reward(after), row) for after, row in zip(states, grid, strict=True)]
    alive = [after for after in states if after is not None]
    if len(alive) == len(states):
        v_pu = np.array([moments.voltages(after) for after in alive])
        tried += _tried(moments, step, position, _crossings(grid, v_pu, moments.band))
    wide = (moments.high - moments.low) / (_GRID - 1)
    for peak in sorted(tried, key=lambda choice: -choice.reward)[:_PEAKS]:
        low, high = (np.clip(peak.entries + way * wide, moments.low, moments.high) for way in (-1, 1))
        tried += _tried(moments, step, position, np.linspace(low, high, _GRID // 4))
    return max(tried, key=lambda choice: choice.reward)


def _tried(moments: IntervalModel, step: int, position: IntArray, entries: Array) -> list[IntervalOptimum]:
    """Reward of each row of entries."""
    return [IntervalOptimum(moments.reward(moments.after(step, position, row)), row) for row in entries]


def _crossings(grid: Array, v_pu: Array, band: Array) -> Array:
    """(C, 1) values of the entry at which a voltage (G, N), known on a grid (G, 1), is at its band limit."""
    found = []
    for end in band:
        off = v_pu - end
        at, node = np.nonzero(off[:-1] * off[1:] < 0)
        share = off[at, node] / (off[at, node] - off[at + 1, node])
        found.append(grid[at, 0] + share * (grid[at + 1, 0] - grid[at, 0]))
    return np.unique(np.round(np.concatenate(found), 3))[:, None]

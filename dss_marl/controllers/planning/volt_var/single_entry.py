"""Derivative-free search for tasks with a single continuous action."""

from __future__ import annotations

import numpy as np

from dss_marl.controllers.planning.volt_var.interval_model import IntervalModel, IntervalOptimum
from dss_marl.grid.state import Array, IntArray

_GRID = 65  # grid points
_PEAKS = 3  # best values that are refined


def optimise_single_entry(intervals: IntervalModel, step: int, position: IntArray) -> IntervalOptimum:
    """The best value of the only entry.

    The reward is discontinuous where a node leaves the band. So the search evaluates a grid, the values at which some
    node is at its band limit, and then finer grids around the best ones.

    Args:
        intervals: of a task with one entry.
        step, position: which interval, and where taps and banks are.
    """
    grid = np.linspace(intervals.low, intervals.high, _GRID)
    states = [intervals.operate(step, position, row) for row in grid]
    tried = [IntervalOptimum(intervals.reward(after), row) for after, row in zip(states, grid, strict=True)]
    alive = [after for after in states if after is not None]
    if len(alive) == len(states):
        v_pu = np.array([intervals.voltages(after) for after in alive])
        tried += _evaluate(intervals, step, position, _crossings(grid, v_pu, intervals.band))
    wide = (intervals.high - intervals.low) / (_GRID - 1)
    for peak in sorted(tried, key=lambda choice: -choice.reward)[:_PEAKS]:
        low, high = (np.clip(peak.entries + way * wide, intervals.low, intervals.high) for way in (-1, 1))
        tried += _evaluate(intervals, step, position, np.linspace(low, high, _GRID // 4))
    return max(tried, key=lambda choice: choice.reward)


def _evaluate(intervals: IntervalModel, step: int, position: IntArray, entries: Array) -> list[IntervalOptimum]:
    """Reward of each row of entries."""
    return [IntervalOptimum(intervals.reward(intervals.operate(step, position, row)), row) for row in entries]


def _crossings(grid: Array, v_pu: Array, band: Array) -> Array:
    """(C, 1) values of the entry at which a voltage (G, N), known on a grid (G, 1), is at its band limit."""
    found = []
    for end in band:
        off = v_pu - end
        at, node = np.nonzero(off[:-1] * off[1:] < 0)
        share = off[at, node] / (off[at, node] - off[at + 1, node])
        found.append(grid[at, 0] + share * (grid[at + 1, 0] - grid[at, 0]))
    return np.unique(np.round(np.concatenate(found), 3))[:, None]

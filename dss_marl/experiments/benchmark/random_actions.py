"""Random actions of many copies, drawn as arrays and the same for the first copies whatever their number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces

from dss_marl.envs.batch_env import BatchZoneEnv
from dss_marl.grid.state import Array, BoolArray


class RandomActions:
    """Actions drawn uniformly from the agents' spaces, in rows as a BatchZoneEnv takes them.

    Args:
        batch: the environment.
        seed: copy b gets the same actions from the same seed, however many copies there are.
    """

    def __init__(self, batch: BatchZoneEnv, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        _, agents, width = batch.action_rows.shape
        self._low, self._span = np.zeros((agents, width)), np.zeros((agents, width))
        self._whole: BoolArray = np.zeros((agents, width), bool)
        for a, space in enumerate(batch.action_spaces.values()):
            for w, (low, span, whole) in enumerate(_entries(space)):
                self._low[a, w], self._span[a, w], self._whole[a, w] = low, span, whole
        used = self._span > 0
        self._dtype: Any = np.int64 if self._whole[used].all() else np.float32
        if not batch.task.encoding.by_rows:
            self._dtype = np.float64

    def first(self, copies: int) -> np.ndarray:
        """(B, A, W) the next actions of the first B copies."""
        return self.next_steps(1, copies)[0]

    def next_steps(self, steps: int, copies: int) -> np.ndarray:
        """(T, B, A, W) the next actions of the first B copies."""
        drawn: Array = self._rng.random((copies, steps, *self._low.shape))
        values = self._low + drawn.swapaxes(0, 1) * self._span
        return np.where(self._whole, np.floor(values), values).astype(self._dtype)


def _entries(space: spaces.Space[Any]) -> Iterator[tuple[float, float, bool]]:
    """Lowest value, width of the range and whether it is a choice, of each entry in the order of ``action_row``."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for part in space.values() if isinstance(space, spaces.Dict) else space.spaces:
            yield from _entries(part)
    elif isinstance(space, spaces.Discrete):
        yield float(space.start), float(space.n), True
    elif isinstance(space, spaces.MultiDiscrete):
        yield from ((float(low), float(n), True) for low, n in zip(space.start.flat, space.nvec.flat, strict=True))
    elif isinstance(space, spaces.Box):
        ends = zip(space.low.flat, space.high.flat, strict=True)
        yield from ((float(low), float(high - low), False) for low, high in ends)
    else:
        raise ValueError(f"random actions are drawn from numbers and choices, not from {space}")

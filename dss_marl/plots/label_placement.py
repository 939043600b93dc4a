"""Label placement: the occupied parts of a page, so that labels do not cover anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dss_marl.grid.state import Array


class OccupancyGrid:
    """The occupied squares of a page of 1 pt squares. Positions are (x, y) from the lower left corner [pt]."""

    def __init__(self, width: float, height: float) -> None:
        self.size = np.array([width, height])
        self._taken = np.zeros((int(np.ceil(height)), int(np.ceil(width))), bool)
        self._sums: NDArray[np.int32] | None = None

    def take(self, points: Array) -> None:
        """Mark the squares under these points (n, 2)."""
        x, y = np.floor(points).astype(int).T
        inside = (x >= 0) & (y >= 0) & (x < self._taken.shape[1]) & (y < self._taken.shape[0])
        self._taken[y[inside], x[inside]] = True
        self._sums = None

    def take_lines(self, starts: Array, ends: Array) -> None:
        """Mark the squares under straight lines from starts to ends, (n, 2) each."""
        along = ends - starts
        count = np.hypot(along[:, 0], along[:, 1]).astype(int) + 2
        line = np.repeat(np.arange(len(count)), count)
        share = (np.arange(len(line)) - np.repeat(count.cumsum() - count, count)) / (count[line] - 1)
        self.take(starts[line] + share[:, None] * along[line])

    def take_boxes(self, centres: Array, width: float, height: float) -> None:
        """Mark boxes of one size around these centres (n, 2)."""
        x, y = np.meshgrid(np.arange(-width / 2, width / 2 + 0.5), np.arange(-height / 2, height / 2 + 0.5))
        inside = np.stack([x.ravel(), y.ravel()], axis=1)
        self.take((centres[:, None] + inside).reshape(-1, 2))

    def covered(self, centres: Array, width: float, height: float) -> Array:
        """(n) number of occupied squares that boxes around these centres (n, 2) would cover; infinite off the page."""
        if self._sums is None:
            self._sums = np.zeros((self._taken.shape[0] + 1, self._taken.shape[1] + 1), np.int32)
            np.cumsum(self._taken, axis=1, out=self._sums[1:, 1:])
            np.cumsum(self._sums, axis=0, out=self._sums)
        half = np.array([width, height]) / 2
        low, high = np.floor(centres - half).astype(int), np.ceil(centres + half).astype(int)
        outside = (low < 0).any(1) | (high > self._taken.shape[::-1]).any(1)
        (x0, y0), (x1, y1) = np.clip(low, 0, self.size.astype(int)).T, np.clip(high, 0, self.size.astype(int)).T
        sums = self._sums
        count = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
        return np.where(outside, np.inf, count)

    def place_beside(self, anchor: Array, gap: float, box: Array, most: float) -> Array | None:
        """The centre of a free box (width, height) next to an anchor (2), which is then taken; None if there is none.

        Args:
            anchor: what the box belongs to.
            gap: from the anchor's centre to the box [pt].
            box: size [pt].
            most: share of the box that may lie on what is occupied.
        """
        angles = np.deg2rad([0, 180, 90, -90, 45, -45, 135, -135])
        ray = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        tries = np.concatenate([anchor + ray * (gap + more) + ray.round() * box / 2 for more in (0.0, 5.0)])
        covered = self.covered(tries, *(box + 1))
        best = int(np.argmin(covered))
        if not covered[best] <= most * box.prod():
            return None
        self.take_boxes(tries[best][None], *box)
        return np.asarray(tries[best])

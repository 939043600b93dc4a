"""Layers of a picture that is drawn many times: what stays is drawn once, what changes in every frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dss_marl.grid.state import IntArray


class Layers:
    """A figure as a background, artists that change, and artists that stay but lie above those.

    No artist is made after this: a frame changes the artists that are there.

    Args:
        figure: on an Agg canvas.
        moving: what changes from frame to frame, lowest first.
        above: what stays and covers the moving; everything else is background.
    """

    def __init__(self, figure: Figure, moving: Sequence[Artist], above: Sequence[Artist]) -> None:
        assert isinstance(figure.canvas, FigureCanvasAgg)
        self._canvas, self._moving, self._above = figure.canvas, tuple(moving), tuple(above)
        for artist in (*moving, *above):
            artist.set_animated(True)  # left out when the figure as a whole is drawn
        self.redraw()

    def redraw(self) -> None:
        """Draw again what stays; for when it has changed after all, such as the limits of an axis."""
        canvas = self._canvas
        canvas.draw()
        self._background = canvas.copy_from_bbox(canvas.figure.bbox)
        renderer = canvas.get_renderer()
        renderer.clear()
        for artist in self._above:
            artist.draw(renderer)
        drawn = np.asarray(canvas.buffer_rgba())
        self._covered: IntArray = np.flatnonzero(drawn[..., 3])  # a few per cent of the pixels
        rgba = drawn.reshape(-1, 4)[self._covered].astype(np.float32)
        self._share = rgba[:, 3:] / 255
        self._ink = rgba[:, :3] * self._share

    def frame(self) -> np.ndarray:
        """(H, W, 3) uint8: the picture as it is now."""
        canvas = self._canvas
        canvas.restore_region(self._background)
        renderer = canvas.get_renderer()
        for artist in self._moving:
            artist.draw(renderer)
        image = np.asarray(canvas.buffer_rgba())[..., :3].copy()
        pixels = image.reshape(-1, 3)
        pixels[self._covered] = self._ink + (1 - self._share) * pixels[self._covered]
        return image

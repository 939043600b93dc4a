"""A window that shows pictures, through matplotlib's interactive backend."""

from __future__ import annotations

import numpy as np


class Window:
    """A window of pyplot's backend.

    Attributes:
        opened: False where there is no display, or no backend for it.
    """

    def __init__(self, image: np.ndarray, title: str) -> None:
        from matplotlib import pyplot as plt  # global state, which nothing else here touches

        height, width = image.shape[:2]
        self._pyplot, self.opened = plt, False
        try:
            self._figure = plt.figure(figsize=(width / 100, height / 100), dpi=100)
        except ImportError:  # the backend that MPLBACKEND names cannot be loaded here
            return
        self.opened = type(self._figure.canvas).required_interactive_framework is not None
        if not self.opened:
            plt.close(self._figure)
            return
        manager = self._figure.canvas.manager
        if manager is not None:
            manager.set_window_title(title)
        axes = self._figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        self._image = axes.imshow(image, aspect="equal")
        plt.show(block=False)

    def update(self, image: np.ndarray) -> None:
        """Show another picture of the same size; nothing happens where the user has closed the window."""
        if self._pyplot.fignum_exists(self._figure.number):
            self._image.set_data(image)
            self._figure.canvas.draw_idle()
            self._figure.canvas.flush_events()

    def close(self) -> None:
        """Close the window."""
        if self.opened:
            self._pyplot.close(self._figure)

"""A window that shows pictures, through matplotlib's interactive backend."""

from __future__ import annotations

import numpy as np


class Window:
    """A window of pyplot's backend. Test ``opened`` first: without a display there is none."""

    def __init__(self, image: np.ndarray, title: str) -> None:
        from matplotlib import pyplot as plt  # global state, which nothing else here touches

        height, width = image.shape[:2]
        self._figure = plt.figure(figsize=(width / 100, height / 100), dpi=100)
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
        """Show another picture of the same size."""
        self._image.set_data(image)
        self._figure.canvas.draw_idle()
        self._figure.canvas.flush_events()

    def close(self) -> None:
        """Close the window."""
        from matplotlib import pyplot as plt

        plt.close(self._figure)

"""Common style of all figures: figures without pyplot, colours, text sizes, spacing of labels."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from dss_marl._assets import replacing
from dss_marl.grid.state import Array

INK, GREY, ALARM = "#222222", "#6b6b6b", "#d1001f"

# Okabe and Ito's palette without black and yellow, with two of Paul Tol's; all safe for colour-blind readers
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#882255", "#999933", "#D55E00")

COLUMN_IN, PAGE_IN = 3.5, 7.16  # widths of one and of two columns of a paper [inch], as IEEE and most others have them
FORMATS = (".png", ".pdf", ".svg")
_FORMAT: Any = {  # text as TrueType in PDF, which publishers ask for; as outlines in SVG, which look alike everywhere
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "dss_marl",  # equal figures give equal files
}


class NotebookFigure(Figure):
    """A figure that a notebook shows by itself; matplotlib's own is shown there only once pyplot is imported."""

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        self.savefig(picture, format="png", dpi=120, bbox_inches="tight", pad_inches=0.05)
        return picture.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of this size [inch] that draws to memory, independent of pyplot's global state."""
    figure = NotebookFigure(figsize=(width, height), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | Path, dpi: float = 160) -> Path:
    """Write the figure without empty margins; makes the folders; returns the path.

    Fonts are embedded in a PDF as TrueType, and are outlines in an SVG.

    Args:
        figure: any of this package.
        path: ends in .png, .pdf or .svg.
        dpi: of a PNG, and of what a vector file holds as an image; 300 or more for print.

    Raises:
        ValueError: another ending.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"a figure ends in {', '.join(FORMATS)}; got {str(path)!r}")
    kind = path.suffix.lower()[1:]
    stamp = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    with replacing(path) as part, rc_context(_FORMAT):
        figure.savefig(part, format=kind, dpi=dpi, bbox_inches="tight", pad_inches=0.05, metadata=stamp)
    return path


def mixed(colour: str, other: str, share: float) -> str:
    """The colour with ``share`` of the other in it."""
    r, g, b = ((1 - share) * x + share * y for x, y in zip(to_rgb(colour), to_rgb(other), strict=True))
    return to_hex((r, g, b))


def minus_signs(text: str) -> str:
    """The text of a number with real minus signs in place of hyphens."""
    return text.replace("-", "\N{MINUS SIGN}")


def drawn_size(artist: Text | Legend) -> tuple[float, float]:
    """Width and height as drawn [pt], with a margin, because hinted letters are wider at some resolutions."""
    figure = artist.get_figure(root=True)
    assert figure is not None and isinstance(figure.canvas, FigureCanvasAgg)
    box = artist.get_window_extent(figure.canvas.get_renderer())
    return 1.08 * box.width * 72 / figure.dpi, box.height * 72 / figure.dpi


def fit_width(text: Text, width: float) -> None:
    """Reduce the font size if the text is wider than this [pt]."""
    text.set_fontsize(float(text.get_fontsize()) * min(1.0, width / max(drawn_size(text)[0], 1e-9)))


def spread(values: Sequence[float], gap: float, low: float, high: float) -> Array:
    """(n) the values, moved as little as possible to be ``gap`` apart and, if they fit, within low and high."""
    order = np.argsort(values, kind="stable")
    blocks: list[list[float]] = []  # [sum, count] of values that share one place once the gaps are taken off
    for rank, index in enumerate(order):
        blocks.append([values[index] - rank * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + count]
    means = np.repeat([total / count for total, count in blocks], [int(count) for _, count in blocks])
    room = max(high - gap * (len(order) - 1), low)
    moved = np.empty(len(order))
    moved[order] = np.clip(means, low, room) + gap * np.arange(len(order))
    return moved


# --- axes -----------------------------------------------------------------------------------------------------------


def plain_axes(axes: Axes) -> None:
    """Small grey ticks, and no frame at the top and on the right."""
    axes.tick_params(labelsize=7, colors=INK, length=2.5, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_linewidth(0.6)


def integer_axis(axes: Axes) -> None:
    """Whole numbers on the vertical axis, also where values hardly vary."""
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, np.floor(low + 0.5) - 0.5), max(high, np.ceil(high - 0.5) + 0.5))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def clock_axis(axes: Axes, start: float, end: float) -> None:
    """A horizontal axis of hours that reads as a clock, past midnight too."""
    span = end - start
    step = next(step for step in (0.25, 0.5, 1, 2, 3, 6, 12, 24) if span / step <= 5 or step == 24)
    ticks = step * np.arange(np.ceil(start / step - 1e-9), np.floor(end / step + 1e-9) + 1)
    axes.set_xlim(start, end)
    axes.set_xticks(ticks.tolist(), [clock(tick, step, whole_day=start == 0) for tick in ticks])


def clock(hour: float, step: float = 1.0, whole_day: bool = False) -> str:
    """An hour as a clock shows it; at the end of a whole day 24, not 0."""
    if not (whole_day and hour == 24):
        hour %= 24
    minutes = round(60 * hour)
    return f"{minutes // 60}" if step >= 1 and minutes % 60 == 0 else f"{minutes // 60}:{minutes % 60:02d}"


def figure_title(figure: Figure, title: str) -> None:
    """A title above everything, as wide as the figure at most; none where the text is empty."""
    if title:
        text = figure.suptitle(title, fontsize=9.5, color=INK)
        fit_width(text, 72 * figure.get_size_inches()[0] - 10)

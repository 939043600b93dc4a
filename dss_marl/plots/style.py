"""Common style of all figures: figures without pyplot, colours, text sizes, spacing of labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

from dss_marl._assets import replacing
from dss_marl.grid.state import V_HIGH, V_LOW, Array, BoolArray

INK, GREY, ALARM = "#222222", "#6b6b6b", "#d1001f"

# Okabe and Ito's palette without black and yellow, with two of Paul Tol's; all safe for colour-blind readers
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#882255", "#999933", "#D55E00")

# the palette in pairs that look alike as tints
FAMILIES = tuple((PALETTE[a], PALETTE[b]) for a, b in ((0, 4), (1, 7), (2, 6), (3, 5)))


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


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as a PNG of 160 dpi without empty margins; makes the folders; returns the path."""
    path = Path(path)
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=160, bbox_inches="tight", pad_inches=0.05)
    return path


def outside(v_pu: Array) -> BoolArray:
    """Which voltages lie outside 0.95 to 1.05 pu; NaN does not."""
    return (v_pu < V_LOW) | (v_pu > V_HIGH)


def mixed(colour: str, other: str, share: float) -> str:
    """The colour with ``share`` of the other in it."""
    r, g, b = ((1 - share) * x + share * y for x, y in zip(to_rgb(colour), to_rgb(other), strict=True))
    return to_hex((r, g, b))


def minus_signs(text: str) -> str:
    """The text of a number with real minus signs in place of hyphens."""
    return text.replace("-", "\N{MINUS SIGN}")


def zone_colours(count: int, borders: Iterable[tuple[int, int]] = ()) -> list[str]:
    """A different colour for each zone, of unlike hues for neighbours: the palette, then its darker and lighter shades.

    Args:
        count: number of zones.
        borders: pairs of neighbouring zones.
    """
    families = _families(count, set(borders))
    turns = -(-max(families.count(f) for f in set(families) or {0}) // 2)
    shades = [("black", 0.0), ("black", 0.4), ("white", 0.4), ("black", 0.65), ("white", 0.65)]
    while len(shades) < turns:
        shades.append((("black", "white")[len(shades) % 2], 0.75 * len(shades) / turns))
    colours = []
    for zone, family in enumerate(families):
        earlier = families[:zone].count(family)
        colours.append(mixed(FAMILIES[family][earlier % 2], *shades[earlier // 2]))
    return colours


def _families(count: int, borders: set[tuple[int, int]]) -> list[int]:
    """Family of each zone: not that of a neighbour, if one is left, and as evenly as possible."""
    beside: list[set[int]] = [set() for _ in range(count)]
    for a, b in borders:
        beside[a].add(b)
        beside[b].add(a)
    chosen: list[int] = []
    for zone in range(count):
        near = [chosen[other] for other in beside[zone] if other < zone]
        chosen.append(min(range(len(FAMILIES)), key=lambda f: (near.count(f), chosen.count(f), f)))
    return chosen


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

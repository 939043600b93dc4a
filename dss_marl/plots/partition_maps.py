"""Partitions of one feeder side by side: a small map of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array
from dss_marl.plots.colours import zone_colours
from dss_marl.plots.map_geometry import MapGeometry, sheet_of
from dss_marl.plots.style import GREY, INK, fit_width, mixed, new_figure

WIDTH, HEAD = 230.0, 34.0  # of a map and of the text above it [pt]


def comparison_figure(
    feeder: Feeder,
    partitions: Mapping[str, Sequence[set[str]]],
    notes: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """A small map for each partition: zones as colours, branches between zones black in the middle.

    Args:
        feeder: the circuit.
        partitions: name to sets of buses.
        notes: a line below each name.
        title: of the figure.

    Raises:
        ValueError: no partition.
    """
    if not partitions:
        raise ValueError("a comparison needs at least one partition; got none")
    sheet = sheet_of(feeder)
    scale = WIDTH / sheet.width
    columns = min(len(partitions), 3)
    rows = -(-len(partitions) // columns)
    top = 24.0 if title else 4.0
    tall = sheet.height * scale + HEAD
    figure = new_figure(columns * WIDTH / 72, (rows * tall + top) / 72)
    for i, (name, parts) in enumerate(partitions.items()):
        row, column = divmod(i, columns)
        bottom = ((rows - 1 - row) * tall) / (rows * tall + top)
        axes = figure.add_axes((column / columns, bottom, 1 / columns, sheet.height * scale / (rows * tall + top)))
        axes.set(xlim=(0, sheet.width), ylim=(0, sheet.height))
        axes.axis("off")
        _draw(axes, sheet, feeder, parts, scale)
        head = axes.set_title(name, fontsize=9.5, color=INK, weight="bold", pad=15)
        fit_width(head, WIDTH - 8)
        note = axes.annotate(
            (notes or {}).get(name, ""), (0.5, 1), (0, 3), xycoords="axes fraction", textcoords="offset points",
            ha="center", va="bottom", fontsize=7.5, color=GREY,
        )  # fmt: skip
        fit_width(note, WIDTH - 8)
    if title:
        text = figure.text(0.5, 1 - 4 / (rows * tall + top), title, ha="center", va="top", fontsize=11, color=INK)
        fit_width(text, columns * WIDTH - 10)
    return figure


def _draw(axes: Axes, sheet: MapGeometry, feeder: Feeder, parts: Sequence[set[str]], scale: float) -> None:
    """One map."""
    zone = np.zeros(len(sheet.xy), int)
    for z, part in enumerate(parts):
        zone[[feeder.bus_index[bus] for bus in part]] = z
    colours = [mixed(colour, "black", 0.1) for colour in zone_colours(len(parts), sheet.borders(zone))]
    thick = float(np.clip(0.45 * sheet.dot * scale, 0.6, 2.2))
    shut = [i for i, edge in enumerate(sheet.edges) if not edge.tie]
    inner = [i for i in shut if zone[sheet.edges[i].a] == zone[sheet.edges[i].b]]
    border = [i for i in shut if zone[sheet.edges[i].a] != zone[sheet.edges[i].b]]
    ties = [i for i, edge in enumerate(sheet.edges) if edge.tie]
    for chosen, ink, width, style, level in (
        (ties, [GREY] * len(ties), 0.5, (0, (3, 2)), 1),
        (inner, [colours[zone[sheet.edges[i].a]] for i in inner], thick, "solid", 2),
        (border, [colours[zone[sheet.edges[i].a]] for i in border], thick, "solid", 2),
    ):
        lines = [sheet.lines[i] for i in chosen]
        axes.add_collection(LineCollection(lines, colors=ink, linewidths=width, linestyles=style, zorder=level))
    for share, ink in (
        ((0.5, 1.0), [colours[zone[sheet.edges[i].b]] for i in border]),
        ((0.35, 0.65), [INK] * len(border)),
    ):
        lines = [_part(sheet.xy[[sheet.edges[i].a, sheet.edges[i].b]], *share) for i in border]
        axes.add_collection(LineCollection(lines, colors=ink, linewidths=thick, capstyle="butt", zorder=3))
    size = max(sheet.dot * scale, 1.4)
    x, y = sheet.xy.T
    axes.scatter(x, y, s=size**2, c=[colours[z] for z in zone], linewidths=0, zorder=4)
    source = feeder.bus_index[feeder.source_bus]
    axes.scatter(x[source], y[source], s=26, marker="s", facecolors="white", edgecolors=INK, linewidths=1.0, zorder=5)


def _part(line: Array, start: float, end: float) -> Array:
    """(2, 2) the part of a straight line from one share of its length to another."""
    return np.stack([line[0] + share * (line[1] - line[0]) for share in (start, end)])

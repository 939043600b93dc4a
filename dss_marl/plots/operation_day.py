"""A day as operated: voltages, power and set points over the day, one column per controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dss_marl.grid.state import V_HIGH, V_LOW, Array
from dss_marl.plots.style import ALARM, GREY, INK, PALETTE, fit_width, mixed, new_figure

Lines = dict[str, Array]  # line name to its (T,) values; names that begin with "_" have no legend entry
BAND = mixed(PALETTE[0], "white", 0.6)
VOLTAGE = "voltage [pu]"  # this panel is a band: its lines are lowest, median, highest


def operation_figure(days: Mapping[str, Mapping[str, Lines]], hours: Array, title: str = "") -> Figure:
    """Panels stacked, controllers side by side, with a common scale for each row of panels.

    Args:
        days: controller to panel label to its lines; the same panels for all controllers.
        hours: (T + 1) start of each interval, and end of the last one [h].
        title: of the figure.

    Raises:
        ValueError: no controller, or their panels differ.
    """
    panels = list(dict.fromkeys(label for lines in days.values() for label in lines))
    if not days or any(list(lines) != panels for lines in days.values()):
        raise ValueError("a figure of days needs at least one controller, and the same panels for each")
    width, height = 0.9 + 3.4 * len(days), 0.9 + 1.45 * len(panels)
    figure = new_figure(width, height)
    axes = figure.subplots(len(panels), len(days), sharex=True, sharey="row", squeeze=False)
    figure.subplots_adjust(
        left=0.75 / width, right=1 - 0.12 / width, bottom=0.45 / height, top=1 - 0.62 / height, hspace=0.16, wspace=0.06
    )
    for column, (controller, lines) in enumerate(days.items()):
        axes[0][column].set_title(controller, fontsize=9.5, color=INK, loc="left")
        for row, label in enumerate(panels):
            _draw(axes[row][column], label, lines[label], hours)
            if column == 0:
                axes[row][0].set_ylabel(label, fontsize=8, color=INK)
        axes[-1][column].set_xlabel("time of day [h]", fontsize=8, color=INK, labelpad=1)
    for row in axes:
        _legend(row[0])
    if title:
        text = figure.text(0.5, 1 - 0.08 / height, title, ha="center", va="top", fontsize=11, color=INK)
        fit_width(text, 72 * width - 10)
    return figure


def _draw(axes: Axes, label: str, lines: Lines, hours: Array) -> None:
    """Step lines: values hold over their interval."""
    many = sum(name.startswith("_") for name in lines) > len(PALETTE)
    for k, (name, values) in enumerate(lines.items()):
        style: dict[str, Any] = {"color": PALETTE[k % len(PALETTE)], "linewidth": 1.1, "where": "post"}
        if name.startswith("_") and many:
            style |= {"alpha": 0.5, "linewidth": 0.6}
        if label == VOLTAGE:
            style["color"], style["linewidth"] = INK if name == "median" else PALETTE[0], 0.9
        axes.step(hours, np.append(values, values[-1]), label=name, **style)
    if label == VOLTAGE:
        low, high = (np.append(lines[name], lines[name][-1]) for name in ("lowest", "highest"))
        axes.fill_between(hours, low, high, step="post", color=BAND, linewidth=0, zorder=0)
        for limit in (V_LOW, V_HIGH):
            axes.axhline(limit, color=ALARM, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.set_xlim(hours[0], hours[-1])
    axes.grid(axis="x", color="#ececec", linewidth=0.6)
    axes.tick_params(labelsize=7.5, colors=INK, length=2.5)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(axes: Axes) -> None:
    """Legend of the lines, in the first panel of a row; without names that begin with "_"."""
    handles, names = axes.get_legend_handles_labels()
    if names:
        style: dict[str, Any] = {"fontsize": 7, "labelcolor": GREY, "handlelength": 1.1, "labelspacing": 0.1}
        axes.legend(handles, names, frameon=False, loc="best", borderpad=0.1, ncols=2, columnspacing=0.8, **style)

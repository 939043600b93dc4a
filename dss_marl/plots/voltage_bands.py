"""Voltage bands over a day: one panel per controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FormatStrFormatter, MaxNLocator

from dss_marl.grid.state import Array, BoolArray
from dss_marl.grid.voltage_band import VoltageBand
from dss_marl.plots.style import ALARM, GREY, INK, PALETTE, clock_axis, fit_width, mixed, new_figure

COLUMNS = 3
BAND, MEAN = mixed(PALETTE[0], "white", 0.6), mixed(PALETTE[0], "black", 0.3)
SHADE = mixed(ALARM, "white", 0.86)


def voltage_band_figure(
    bands: Mapping[str, np.ndarray],
    dt_h: float,
    title: str = "",
    start_hour: float = 0.0,
    limits: VoltageBand | None = None,
    outside: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """Range of the feeder's voltages over the day, one panel per controller.

    Args:
        bands: controller name to (T, 2) lowest and highest, or (T, 3) lowest, mean and highest scored voltage in each
            interval [pu]; NaN leaves a gap. Three panels per row; six fit well.
        dt_h: length of an interval [h].
        title: of the figure.
        start_hour: time of day at which the first interval begins [h].
        limits: the task's ``band``; None: 0.95 to 1.05 pu.
        outside: controller to (T) True in intervals in which a node is outside its limits; None: where the lowest or
            highest voltage is beyond all limits, which misses nodes outside the narrower one of two levels.

    Raises:
        ValueError: no controller, or an array of another shape or without a value.
    """
    arrays = {name: _checked(name, band) for name, band in bands.items()}
    limits = limits or VoltageBand()
    marked = {name: _marked(band, limits) for name, band in arrays.items()} if outside is None else outside
    if not arrays:
        raise ValueError("a voltage band figure needs at least one controller; got none")
    rows = -(-len(arrays) // COLUMNS)
    columns = -(-len(arrays) // rows)
    head = 0.35 if title else 0.1
    width, height = max(1.1 + 2.6 * columns, 4.8), 0.95 + 2.1 * rows + head
    figure = new_figure(width, height)
    axes = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True)).ravel()
    figure.subplots_adjust(
        left=0.72 / width, right=1 - 0.15 / width, bottom=0.82 / height, top=1 - (head + 0.42) / height,
        hspace=0.36, wspace=0.1,
    )  # fmt: skip
    for panel, (name, band) in zip(axes, arrays.items(), strict=False):
        out = np.asarray(marked[name], bool)
        _draw_panel(panel, band, np.asarray(start_hour + np.arange(len(band) + 1) * dt_h, float), limits, out)
        _head(panel, name, float(out.sum() * dt_h), float(np.isnan(band).any(1).sum() * dt_h))
    for panel in axes[len(arrays) :]:
        panel.axis("off")
    for panel in axes[max(0, len(arrays) - columns) : len(arrays)]:
        panel.tick_params(labelbottom=True)
    _frame(figure, axes[0], [*arrays.values(), np.array([limits.widest])], start_hour, dt_h)
    if title:
        text = figure.text(0.5, 1 - 0.1 / height, title, ha="center", va="top", fontsize=11, color=INK)
        fit_width(text, 72 * width - 10)
    _draw_legend(figure, any(band.shape[1] == 3 for band in arrays.values()), limits)
    return figure


def _checked(name: str, band: np.ndarray) -> Array:
    band = np.asarray(band, float)
    if band.ndim != 2 or band.shape[1] not in (2, 3) or not len(band):
        raise ValueError(f"the band of {name!r} must be (T, 2) or (T, 3), T >= 1; got {band.shape}")
    if not np.isfinite(band).any():
        raise ValueError(f"the band of {name!r} has no value; leave the controller out")
    return band


def _marked(band: Array, limits: VoltageBand) -> BoolArray:
    """(T) intervals with a voltage beyond all limits."""
    low, high = limits.widest
    return np.asarray(((band < low) | (band > high)).any(1))


def _draw_panel(axes: Axes, band: Array, hour: Array, limits: VoltageBand, out: BoolArray) -> None:
    """Step lines: values hold over their interval, from one of the hours (T + 1) to the next."""
    low, high = (np.append(band[:, column], band[-1, column]) for column in (0, -1))
    for start, end in _runs(out):
        axes.axvspan(hour[start], hour[end], color=SHADE, linewidth=0, zorder=0)
    axes.fill_between(hour, low, high, step="post", color=BAND, linewidth=0, zorder=2)
    for edge, limit in ((high, limits.widest.high), (low, limits.widest.low)):
        axes.fill_between(hour, np.clip(limit, low, high), edge, step="post", color=ALARM, linewidth=0, zorder=3)
    if band.shape[1] == 3:
        axes.step(hour, np.append(band[:, 1], band[-1, 1]), where="post", color=MEAN, linewidth=1.2, zorder=4)
    for limit in limits.limits:
        axes.axhline(limit, color=INK, linewidth=0.9, linestyle=(0, (4, 2)), zorder=5)


def _head(axes: Axes, name: str, hours: float, missing: float) -> None:
    """The controller's name, and the time outside the band and without values [h], above the panel."""
    text = axes.set_title(name, fontsize=9.5, color=INK, loc="left", pad=16)
    figure = axes.get_figure(root=True)
    assert figure is not None
    room = axes.get_position().width * figure.get_size_inches()[0] * 72
    fit_width(text, room)
    note = f"{hours:.4g} h outside" if hours else "never outside"
    note += f", {missing:.4g} h without values" if missing else ""
    style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(note, (0, 1), (0, 5), fontsize=8, color=ALARM if hours else GREY, **style)


def _runs(marked: np.ndarray) -> list[tuple[int, int]]:
    """(start, end) of each run of True."""
    change = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in change.reshape(-1, 2)]


def _frame(figure: Figure, axes: Axes, bands: list[Array], start_hour: float, dt_h: float) -> None:
    """Limits, ticks and labels common to all panels."""
    values = np.concatenate([band.ravel() for band in bands])
    low, high = min(np.nanmin(values), bands[-1].min() - 0.005), max(np.nanmax(values), bands[-1].max() + 0.005)
    pad = 0.05 * (high - low)
    axes.set(ylim=(low - pad, high + pad))
    clock_axis(axes, start_hour, start_hour + max(len(band) for band in bands) * dt_h)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%.2f" if high - low > 0.04 else "%.3f"))
    for panel in figure.axes:
        panel.tick_params(labelsize=8, colors=INK, length=2.5)
        panel.spines[["top", "right"]].set_visible(False)
    inch = figure.get_size_inches()
    middle = float(np.mean([panel.get_position().intervaly for panel in figure.axes]))
    style: dict[str, Any] = {"fontsize": 8.5, "color": INK}
    figure.text(0.1 / inch[0], middle, "node voltage [pu]", rotation=90, ha="left", va="center", **style)
    figure.text(0.5, 0.4 / inch[1], "time of day [h]", ha="center", va="bottom", **style)


def _draw_legend(figure: Figure, mean: bool, limits: VoltageBand) -> None:
    handles: list[tuple[Line2D | Patch, str]] = [(Patch(color=BAND), "lowest to highest node")]
    if mean:
        handles.append((Line2D([], [], color=MEAN, linewidth=1.2), "mean"))
    handles.append((Line2D([], [], color=INK, linewidth=0.9, linestyle=(0, (4, 2))), f"{limits.limits_text} pu"))
    handles.append((Patch(facecolor=ALARM, edgecolor=SHADE, linewidth=2), "outside"))
    figure.legend(
        *zip(*handles, strict=True), loc="lower center", bbox_to_anchor=(0.5, 0.0), ncols=4, frameon=False,
        fontsize=8, labelcolor=INK, columnspacing=1.4, handlelength=1.4,
    )  # fmt: skip

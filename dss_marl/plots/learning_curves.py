"""Learning curves, with the returns of reference controllers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from dss_marl.grid.state import Array
from dss_marl.plots.style import INK, PALETTE, drawn_size, mixed, new_figure, spread

FAR = 2.5  # a reference farther from the curve than this multiple of its span is shown at the edge
WIDE = 20.0  # a curve whose returns differ by more than this factor is drawn on a logarithmic axis


def learning_curve_figure(
    steps: np.ndarray,
    returns: np.ndarray,
    references: Mapping[str, float],
    ylabel: str = "mean team return per day, validation days",
) -> Figure:
    """Return over agent-steps, with a line for each reference controller, named at the right.

    A reference far outside the curve's range is not drawn as a line but named at the edge with an arrow and its value;
    a curve whose returns are all negative and span more than a factor of 20 gets a logarithmic axis, labelled as such.

    Args:
        steps: (E) agent-steps at each evaluation.
        returns: (E) return at each evaluation.
        references: controller name to return.
        ylabel: label of the return axis.

    Raises:
        ValueError: no evaluation, or steps and returns of different length.
    """
    steps, returns = np.asarray(steps, float), np.asarray(returns, float)
    if steps.ndim != 1 or steps.shape != returns.shape or not np.isfinite(returns).any():
        raise ValueError(f"steps and returns must be (E), E >= 1; got {steps.shape} and {returns.shape}")
    figure = new_figure(7.5, 4.2)
    axes = figure.add_axes((0.1, 0.13, 0.87, 0.82))
    colour = PALETTE[0]
    axes.plot(steps / 1000, returns, color=colour, linewidth=1.6, marker="o", markersize=4, zorder=4, clip_on=False)
    shown = _set_range(axes, returns, np.array(list(references.values()), float))
    axes.set_xlabel("agent-steps [thousand]", fontsize=9, color=INK)
    axes.set_ylabel(ylabel + (" (log scale)" if axes.get_yscale() == "symlog" else ""), fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=INK, length=2.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6, zorder=0)
    _draw_references(figure, axes, references, shown)
    return figure


def _set_range(axes: Axes, returns: Array, references: Array) -> tuple[float, float]:
    """Set scale and limits of the axis; returns the limits."""
    low, high = float(np.nanmin(returns)), float(np.nanmax(returns))
    if high < 0 and low / high > WIDE:
        shown = np.array([low, high, *references[references < 0]])
        limits = 1.4 * float(shown.min()), 0.7 * float(shown.max())
        axes.set_yscale("symlog", linthresh=-limits[1], linscale=0.2)
        ticks = np.array([-digit * 10.0**power for power in range(-6, 9) for digit in (1, 2, 5)])
        axes.yaxis.set_major_locator(FixedLocator(ticks[(ticks >= limits[0]) & (ticks <= limits[1])].tolist()))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}")))
    else:
        span = max(high - low, 0.4 * float(np.nanmax(np.abs(returns))), 1e-9)
        near = references[(references > low - FAR * span) & (references < high + FAR * span)]
        shown = np.array([low, high, *near])
        pad = 0.07 * max(float(np.ptp(shown)), 0.1 * span)
        limits = float(shown.min()) - pad, float(shown.max()) + pad
    axes.set_ylim(*limits)
    return limits


def _draw_references(figure: Figure, axes: Axes, references: Mapping[str, float], shown: tuple[float, float]) -> None:
    """Lines, and their names in the right margin, each next to its line without overlap."""
    if not references:
        return
    names, values = list(references), np.array(list(references.values()), float)
    inside = (values >= shown[0]) & (values <= shown[1])
    heights = np.array([_height(axes, float(np.clip(value, *shown))) for value in values])
    inch_w, inch_h = figure.get_size_inches()
    gap = 12.5 / 72 / inch_h / axes.get_position().height
    places = spread(heights.tolist(), gap, 0.0, 1.0)
    widest = 0.0
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        ink = mixed(PALETTE[1:][i % (len(PALETTE) - 1)], "black", 0.25)
        label = f"{name}  {value:.3g}".replace("-", "\N{MINUS SIGN}") if inside[i] else _off_axis(name, value, shown)
        if inside[i]:
            axes.axhline(value, color=ink, linewidth=1.1, linestyle=(0, (5, 2)), zorder=3)
            lead = axes.plot([1.0, 1.03], [heights[i], places[i]], transform=axes.transAxes, color=ink, linewidth=0.8)
            lead[0].set_clip_on(False)
        text = axes.text(1.04, places[i], label, transform=axes.transAxes, fontsize=8, color=ink, va="center")
        widest = max(widest, drawn_size(text)[0])
    left, bottom, _, height = axes.get_position().bounds  # the names get the space that they need
    width = (1 - left - (widest + 10) / 72 / inch_w) / 1.04
    axes.set_position((left, bottom, max(width, 0.35), height))


def _off_axis(name: str, value: float, shown: tuple[float, float]) -> str:
    arrow, where = ("\N{DOWNWARDS ARROW}", "below") if value < shown[0] else ("\N{UPWARDS ARROW}", "above")
    return f"{arrow} {name}  {value:.3g} ({where} the axis)".replace("-", "\N{MINUS SIGN}")


def _height(axes: Axes, value: float) -> float:
    """Height of a value on the axis, 0 to 1."""
    display = axes.transData.transform((0.0, value))
    return float(axes.transAxes.inverted().transform(display)[1])

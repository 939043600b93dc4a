"""Learning curves of one or several seeds, with the returns of reference controllers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from dss_marl.grid.state import Array
from dss_marl.mdp.return_statistics import iqm_interval
from dss_marl.plots.style import GREY, INK, PAGE_IN, PALETTE, figure_title, minus_signs, mixed, new_figure, plain_axes
from dss_marl.plots.style import spread as spread_out

FAR = 2.5  # a reference farther from the curve than this multiple of its span is shown at the edge
WIDE = 20.0  # a curve whose returns differ by more than this factor is drawn on a logarithmic axis
CURVE, KEPT = PALETTE[0], PALETTE[7]


def learning_curve_figure(
    steps: np.ndarray,
    returns: np.ndarray,
    references: Mapping[str, float],
    ylabel: str = "mean team return per day,\nvalidation days",
    title: str = "",
) -> Figure:
    """Return over agent-steps, with a dashed line for each reference controller, named at the right.

    Of several seeds: each as a thin line, their interquartile mean, and its 95 % bootstrap interval. A ring marks the
    evaluation whose policy a run keeps, its best. A reference far outside the curve's range is not drawn as a line but
    named at the edge with an arrow and its value; a curve whose returns are all negative and span more than a factor of
    20 gets a logarithmic axis, labelled as such.

    Args:
        steps: (E) agent-steps at each evaluation.
        returns: (E) return at each evaluation, or (seeds, E); NaN where a run stopped before.
        references: controller name to return.
        ylabel: label of the return axis.
        title: of the figure, such as the scenario's name.

    Raises:
        ValueError: no evaluation, or steps and returns of different length.
    """
    steps, runs = np.asarray(steps, float), np.atleast_2d(np.asarray(returns, float))
    if steps.ndim != 1 or runs.ndim != 2 or runs.shape[1] != len(steps) or not np.isfinite(runs).any():
        raise ValueError(
            f"steps must be (E) and returns (E) or (seeds, E), E >= 1; got {steps.shape} and {np.shape(returns)}"
        )
    figure = new_figure(PAGE_IN, 3.6)
    figure.set_layout_engine("constrained", h_pad=0.04, w_pad=0.04)
    axes = figure.subplots()
    _draw_runs(axes, steps / 1000, runs)
    shown = set_range(axes, runs, np.array(list(references.values()), float))
    plain_axes(axes)
    axes.set_xlabel("agent-steps [thousand]", fontsize=8, color=INK)
    axes.set_ylabel(ylabel + (" (log scale)" if axes.get_yscale() == "symlog" else ""), fontsize=8, color=INK)
    axes.margins(x=0.02)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6, zorder=0)
    figure_title(figure, title)
    _draw_references(axes, references, shown)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=7, labelcolor=INK, handlelength=1.5)
    figure.draw_without_rendering()  # the names at the right get the room that they need
    return figure


def _draw_runs(axes: Axes, thousands: Array, runs: Array) -> None:
    """Curves, and a ring at the best evaluation of each."""
    if len(runs) == 1:
        marks: dict[str, Any] = {"marker": "o", "markersize": 3, "clip_on": False}
        axes.plot(thousands, runs[0], color=CURVE, linewidth=1.4, zorder=4, label="evaluations of one run", **marks)
    else:
        for k, run in enumerate(runs):
            name = f"{len(runs)} seeds" if k == 0 else None
            axes.plot(thousands, run, color=mixed(CURVE, "white", 0.45), linewidth=0.7, zorder=3, label=name)
        whole = np.isfinite(runs).all(0)
        mean, low, high = iqm_interval(runs[:, whole].T)
        band: dict[str, Any] = {"color": mixed(CURVE, "white", 0.75), "linewidth": 0, "zorder": 2}
        axes.fill_between(thousands[whole], low, high, label="95 % interval of the mean", **band)
        axes.plot(thousands[whole], mean, color=CURVE, linewidth=1.6, zorder=5, label="interquartile mean")
    done = runs[np.isfinite(runs).any(1)]
    best = np.nanargmax(done, axis=1)
    ring: dict[str, Any] = {"facecolors": "none", "edgecolors": KEPT, "linewidths": 1.4, "zorder": 6, "clip_on": False}
    axes.scatter(thousands[best], done[np.arange(len(done)), best], s=46, label="policy kept", **ring)


def set_range(axes: Axes, returns: Array, references: Array) -> tuple[float, float]:
    """Set scale and limits of an axis of returns, so that references near them are on it; returns the limits."""
    low, high = float(np.nanmin(returns)), float(np.nanmax(returns))
    if high < 0 and low / high > WIDE:
        shown = np.array([low, high, *references[references < 0]])
        limits = 1.4 * float(shown.min()), 0.7 * float(shown.max())
        axes.set_yscale("symlog", linthresh=-limits[1], linscale=0.2)
        ticks = np.array([-digit * 10.0**power for power in range(-6, 9) for digit in (1, 2, 5)])
        axes.yaxis.set_major_locator(FixedLocator(ticks[(ticks >= limits[0]) & (ticks <= limits[1])].tolist()))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: minus_signs(f"{value:g}")))
    else:
        span = max(high - low, 0.4 * float(np.nanmax(np.abs(returns))), 1e-9)
        near = references[(references > low - FAR * span) & (references < high + FAR * span)]
        shown = np.array([low, high, *near])
        pad = 0.07 * max(float(np.ptp(shown)), 0.1 * span)
        limits = float(shown.min()) - pad, float(shown.max()) + pad
    axes.set_ylim(*limits)
    return limits


def _draw_references(axes: Axes, references: Mapping[str, float], shown: tuple[float, float]) -> None:
    """Dashed lines, and their names at the right, each next to its line without overlap."""
    if not references:
        return
    figure = axes.get_figure(root=True)
    assert figure is not None
    values = np.array(list(references.values()), float)
    inside = (values >= shown[0]) & (values <= shown[1])
    heights = [_height(axes, float(np.clip(value, *shown))) for value in values]
    gap = 12 / 72 / (0.7 * figure.get_size_inches()[1])  # the axes are at least so high
    places = spread_out(heights, gap, 0.0, 1.0)
    for i, (name, value) in enumerate(references.items()):
        ink = mixed(PALETTE[1:][i % (len(PALETTE) - 1)], "black", 0.25)
        label = minus_signs(f"{name}  {_three_digits(value)}") if inside[i] else _off_axis(name, value, shown)
        if inside[i]:
            axes.axhline(value, color=ink, linewidth=1.0, linestyle=(0, (5, 2)), zorder=2.5)
            lead = axes.plot([1.0, 1.03], [heights[i], places[i]], transform=axes.transAxes, color=ink, linewidth=0.8)
            lead[0].set_clip_on(False)
        axes.text(1.04, places[i], label, transform=axes.transAxes, fontsize=7.5, color=ink if inside[i] else GREY,
                  va="center")  # fmt: skip


def _off_axis(name: str, value: float, shown: tuple[float, float]) -> str:
    arrow, where = ("\N{DOWNWARDS ARROW}", "below") if value < shown[0] else ("\N{UPWARDS ARROW}", "above")
    return minus_signs(f"{arrow} {name}  {_three_digits(value)} ({where} the axis)")


def _height(axes: Axes, value: float) -> float:
    """Height of a value on the axis, 0 to 1."""
    display = axes.transData.transform((0.0, value))
    return float(axes.transAxes.inverted().transform(display)[1])


def _three_digits(value: float) -> str:
    """Three digits, the last one also where it is 0: -7.50 without it looks cut off."""
    return f"{value:#.3g}".rstrip(".")

"""A search for settings: what its trials reached, and which settings mattered."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dss_marl.grid.state import Array
from dss_marl.plots.learning_curves import set_range
from dss_marl.plots.style import (
    GREY,
    INK,
    PAGE_IN,
    PALETTE,
    figure_title,
    mixed,
    new_figure,
    plain_axes,
)


def search_figure(
    numbers: Array, returns: Array, pruned: Array, importances: Mapping[str, float], title: str = ""
) -> Figure:
    """Validation return of each trial with the best so far, and beside it the importance of each setting.

    Args:
        numbers: (T) of the trials, rising.
        returns: (T) objective of each trial; of a pruned one, its best evaluation.
        pruned: (T) whether the trial was pruned.
        importances: setting to its share of the variance; empty for none, which leaves the panel out.
        title: of the figure.

    Raises:
        ValueError: no trial, or arrays of different length.
    """
    numbers, returns, pruned = np.asarray(numbers, int), np.asarray(returns, float), np.asarray(pruned, bool)
    if not len(numbers) or not numbers.shape == returns.shape == pruned.shape:
        raise ValueError(
            f"a search has (T) numbers, returns and pruned, T >= 1; got {numbers.shape}, {returns.shape} and "
            f"{pruned.shape}"
        )
    figure = new_figure(PAGE_IN, 2.8)
    figure.set_layout_engine("constrained", h_pad=0.05, w_pad=0.05)
    ratios = [2.0, 1.0] if importances else [1.0]
    panels = figure.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0]
    _draw_trials(panels[0], numbers, returns, pruned)
    if importances:
        _draw_importances(panels[1], importances)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=7, labelcolor=INK)
    figure_title(figure, title)
    return figure


def _draw_trials(axes: Axes, numbers: Array, returns: Array, pruned: Array) -> None:
    whole = np.logical_not(pruned)
    if whole.any():
        best = np.maximum.accumulate(np.where(whole, returns, -np.inf))
        known = np.isfinite(best)
        axes.step(
            numbers[known], best[known], where="post", color=PALETTE[0], linewidth=1.4, label="best so far", zorder=3
        )
        axes.scatter(numbers[whole], returns[whole], s=18, color=PALETTE[0], label="complete trial", zorder=4)
    if pruned.any():
        axes.scatter(
            numbers[pruned], returns[pruned], s=18, facecolors="none", edgecolors=GREY, zorder=2,
            label="pruned trial: its best evaluation",
        )  # fmt: skip
    set_range(axes, returns[np.newaxis], np.empty(0))
    plain_axes(axes)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6, zorder=0)
    axes.set_xlabel("trial", fontsize=8, color=INK)
    scale = " (log scale)" if axes.get_yscale() == "symlog" else ""
    axes.set_ylabel(f"team return of a day,\nvalidation days{scale}", fontsize=8, color=INK)


def _draw_importances(axes: Axes, importances: Mapping[str, float]) -> None:
    names = list(importances)[::-1]
    axes.barh(
        range(len(names)), [importances[name] for name in names], color=mixed(PALETTE[0], "white", 0.35), height=0.6
    )
    axes.set_yticks(range(len(names)), [name.removeprefix("training.") for name in names])
    plain_axes(axes)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the variance\nof complete trials", fontsize=8, color=INK)

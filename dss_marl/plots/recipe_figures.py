"""Recipes of learning side by side: their learning curves on each scenario, and aggregate scores with intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dss_marl.grid.state import Array
from dss_marl.mdp.return_statistics import iqm_interval
from dss_marl.mdp.score_statistics import Interval
from dss_marl.plots.learning_curves import set_range
from dss_marl.plots.style import GREY, INK, PAGE_IN, PALETTE, figure_title, mixed, new_figure, plain_axes

Curves = Mapping[str, tuple[Array, Array]]  # recipe to (E) agent-steps and (seeds, E) returns
_ACROSS = 3  # panels in a row
_STYLES = ("-", "--", "-.", ":")
_MARKS = "osD^vPX*"


def recipe_curves_figure(curves: Mapping[str, Curves], title: str = "") -> Figure:
    """Return on validation days over agent-steps, a panel for each scenario and a colour for each recipe.

    The line is the interquartile mean over seeds, the band its 95 % bootstrap interval; of one seed, the line alone.
    Returns that are all negative and span more than a factor of 20 get a logarithmic axis, labelled as such.

    Args:
        curves: scenario to recipe to (E) agent-steps and (seeds, E) returns.
        title: of the figure.

    Raises:
        ValueError: no scenario, or one without a curve; steps and returns of different length.
    """
    if not curves or not all(curves.values()):
        raise ValueError("learning curves need at least one scenario, and a recipe for each; got none")
    recipes = list(dict.fromkeys(recipe for own in curves.values() for recipe in own))
    across = min(_ACROSS, len(curves))
    down = -(-len(curves) // across)
    figure = new_figure(PAGE_IN, 2.2 * down + 0.5)
    figure.set_layout_engine("constrained", h_pad=0.05, w_pad=0.05)
    panels = figure.subplots(down, across, squeeze=False)
    for k, axes in enumerate(panels.flat):
        if k >= len(curves):
            axes.set_visible(False)
            continue
        name = list(curves)[k]
        _draw_panel(axes, curves[name], recipes)
        axes.set_title(name, fontsize=8, color=INK)
        if k % across == 0:
            axes.set_ylabel("team return of a day,\nvalidation days", fontsize=7.5, color=INK)
        if k + across >= len(curves):
            axes.set_xlabel("agent-steps [thousand]", fontsize=7.5, color=INK)
    handles = {label: one for axes in panels.flat for one, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=min(5, len(handles)),
                  frameon=False, fontsize=7, labelcolor=INK)  # fmt: skip
    figure_title(figure, title)
    return figure


def _draw_panel(axes: Axes, curves: Curves, recipes: list[str]) -> None:
    every = []
    for recipe, (steps, returns) in curves.items():
        runs = np.atleast_2d(np.asarray(returns, float))
        if runs.shape[1] != len(steps):
            raise ValueError(
                f"recipe {recipe!r}: steps must be (E) and returns (seeds, E); got {np.shape(steps)} and {runs.shape}"
            )
        k = recipes.index(recipe)
        mean, low, high = iqm_interval(runs.T)
        x, colour = np.asarray(steps, float) / 1000, PALETTE[k % len(PALETTE)]
        axes.fill_between(x, low, high, color=mixed(colour, "white", 0.55), alpha=0.5, linewidth=0, zorder=2)
        axes.plot(x, mean, color=colour, linewidth=1.4, linestyle=_STYLES[k % len(_STYLES)], label=recipe, zorder=3)
        every.append(np.concatenate([mean, low, high]))
    set_range(axes, np.concatenate(every), np.empty(0))
    if axes.get_yscale() == "symlog":
        axes.annotate("log scale", (0.98, 0.04), xycoords="axes fraction", ha="right", fontsize=6.5, color=GREY)
    plain_axes(axes)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6, zorder=0)
    axes.margins(x=0.02)


def score_intervals_figure(aggregates: Mapping[str, Mapping[str, Interval]], title: str = "") -> Figure:
    """Aggregate scores of recipes, a panel for each aggregate, with their 95 % intervals.

    Args:
        aggregates: name of an aggregate to recipe to value, lower and upper end.
        title: of the figure.

    Raises:
        ValueError: nothing to draw.
    """
    recipes = list(dict.fromkeys(recipe for own in aggregates.values() for recipe in own))
    if not recipes:
        raise ValueError("aggregate scores need at least one recipe; got none")
    figure = new_figure(PAGE_IN, 0.7 + 0.3 * len(recipes))
    figure.set_layout_engine("constrained", h_pad=0.04, w_pad=0.06)
    panels = figure.subplots(1, len(aggregates), sharey=True, squeeze=False)[0]
    for axes, (name, own) in zip(panels, aggregates.items(), strict=True):
        for recipe, (value, low, high) in own.items():
            k = recipes.index(recipe)
            colour = PALETTE[k % len(PALETTE)]
            axes.plot([low, high], [k, k], color=mixed(colour, "white", 0.45), linewidth=5, solid_capstyle="butt")
            axes.plot([value], [k], color=colour, marker=_MARKS[k % len(_MARKS)], markersize=5.5,
                      markeredgecolor="white", markeredgewidth=0.5)  # fmt: skip
        plain_axes(axes)
        axes.grid(axis="x", color="#e6e6e6", linewidth=0.6, zorder=0)
        axes.set_axisbelow(True)
        axes.margins(x=0.08)
        axes.locator_params(axis="x", nbins=4)
        axes.set_title(name.replace(" (", "\n("), fontsize=7.5, color=INK)
        axes.set_yticks(range(len(recipes)), recipes)
        axes.tick_params(axis="y", length=0)
    panels[0].set_ylim(len(recipes) - 0.5, -0.5)  # the first recipe on top
    figure.supxlabel("normalised score", fontsize=7.5, color=INK)
    figure_title(figure, title)
    return figure

"""Controllers compared over many days or runs: trade-off of two figures, and performance profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dss_marl.grid.state import Array
from dss_marl.mdp.return_statistics import mean_interval, score_distribution
from dss_marl.plots.style import GREY, INK, PAGE_IN, PALETTE, figure_title, mixed, new_figure, plain_axes

Point = tuple[tuple[float, float, float], tuple[float, float, float]]  # mean, lower and upper end, across and up
WIDE = 30.0  # figures that differ by more than this factor get a logarithmic axis
MARKS = "osD^vPX*"
LABELS = {"loss_kwh": "losses [kWh per day]", "violation_node_h": "voltage violation [node h per day]"}


def pareto_figure(
    figures: Mapping[str, Sequence[Mapping[str, float]]],
    x: str = "loss_kwh",
    y: str = "violation_node_h",
    labels: tuple[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Two key figures of each controller, both better when lower: mean over days and 95 % bootstrap interval.

    A line joins the controllers that no other one surpasses in both figures.

    Args:
        figures: controller to its key figures of each day, as ``ComparisonTable.figures`` has them.
        x, y: names of two of them.
        labels: of both axes; None: the names, with units where they are known.
        title: of the figure.

    Raises:
        ValueError: no controller, or one without these figures.
    """
    for name, days in figures.items():
        if not days or {x, y} - {*days[0]}:
            raise ValueError(f"controller {name!r} needs at least one day with the figures {x!r} and {y!r}")
    if not figures:
        raise ValueError("a trade-off needs at least one controller; got none")
    points: dict[str, Point] = {
        name: (mean_interval(np.array([day[x] for day in days])), mean_interval(np.array([day[y] for day in days])))
        for name, days in figures.items()
    }
    figure = new_figure(PAGE_IN, 3.2)
    figure.set_layout_engine("constrained", h_pad=0.04, w_pad=0.04)
    axes = figure.subplots()
    for k, (name, point) in enumerate(points.items()):
        _draw_point(axes, point, MARKS[k % len(MARKS)], PALETTE[k % len(PALETTE)], name)
    best = [points[name] for name in not_surpassed({name: (p[0][0], p[1][0]) for name, p in points.items()})]
    if len(best) > 1:
        line = [[point[place][0] for point in best] for place in (0, 1)]
        axes.plot(*line, color=GREY, linewidth=0.9, linestyle=(0, (4, 2)), zorder=2, label="not surpassed")
    plain_axes(axes)
    names = labels or (LABELS.get(x, x), LABELS.get(y, y))
    wide = [_is_wide(np.array([point[place] for point in points.values()])) for place in (0, 1)]
    for place, (name, values) in enumerate(zip(names, wide, strict=True)):
        if values:
            (axes.set_xscale, axes.set_yscale)[place]("symlog", linthresh=values)
        (axes.set_xlabel, axes.set_ylabel)[place](name + " (log scale)" * bool(values), fontsize=8, color=INK)
    axes.legend(frameon=False, fontsize=7, labelcolor=INK, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure_title(figure, title)
    return figure


def not_surpassed(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The names for which no other point is at least as low in both figures and lower in one; by the first figure."""
    found = []
    for name, own in points.items():
        others = [other for key, other in points.items() if key != name]
        if not any(other[0] <= own[0] and other[1] <= own[1] and other != own for other in others):
            found.append(name)
    return sorted(found, key=lambda name: points[name])


def _draw_point(axes: Axes, point: Point, mark: str, colour: str, name: str) -> None:
    ends = [[[mean - low], [high - mean]] for mean, low, high in point]
    axes.errorbar(point[0][0], point[1][0], xerr=ends[0], yerr=ends[1], fmt=mark, markersize=5.5, color=colour,
                  elinewidth=0.9, markeredgecolor="white", markeredgewidth=0.4, label=name, zorder=3)  # fmt: skip


def _is_wide(values: Array) -> float:
    """0 for a linear axis, else up to which value a logarithmic one is linear; zeros lie there."""
    positive = values[values > 0]
    if (values < 0).any() or positive.size < 2 or positive.max() < WIDE * positive.min():
        return 0.0
    return float(10 ** np.floor(np.log10(max(positive.min(), 1e-4 * positive.max()))))


# --- performance profiles -------------------------------------------------------------------------------------------


def performance_profile_figure(
    scores: Mapping[str, np.ndarray],
    thresholds: np.ndarray | None = None,
    xlabel: str = "score \N{GREEK SMALL LETTER TAU}",
    title: str = "",
) -> Figure:
    """Share of runs that score above each threshold, with 95 % bootstrap bands (Agarwal et al. 2021).

    The runs of each task are resampled, so that tasks weigh the same in every draw. A curve above another one at all
    thresholds is better whatever score is asked for; its area is the mean score.

    Args:
        scores: method to (runs, tasks) scores, such as the normalised scores of seeds on scenarios; with one task
            (runs, 1) or (runs,).
        thresholds: (n), rising; None: 201 over all scores.
        xlabel: what the scores are.
        title: of the figure.

    Raises:
        ValueError: no method, or scores of another shape, or not finite.
    """
    arrays = {name: _checked(name, values) for name, values in scores.items()}
    if not arrays:
        raise ValueError("performance profiles need at least one method; got none")
    every = np.concatenate([values.ravel() for values in arrays.values()])
    pad = 0.02 * max(float(np.ptp(every)), 1e-9)
    tau = (
        np.linspace(every.min() - pad, every.max() + pad, 201) if thresholds is None else np.asarray(thresholds, float)
    )
    figure = new_figure(PAGE_IN, 3.0)
    figure.set_layout_engine("constrained", h_pad=0.04, w_pad=0.04)
    axes = figure.subplots()
    for k, (name, values) in enumerate(arrays.items()):
        share, low, high = score_distribution(values, tau)
        colour = PALETTE[k % len(PALETTE)]
        axes.fill_between(tau, low, high, color=mixed(colour, "white", 0.6), alpha=0.5, linewidth=0)
        axes.plot(tau, share, color=colour, linewidth=1.4, linestyle=("-", "--", "-.")[k % 3], label=name)
    plain_axes(axes)
    axes.set(ylim=(0, 1.02), xlim=(tau[0], tau[-1]))
    axes.axhline(0.5, color="#d8d8d8", linewidth=0.7, zorder=0)
    axes.set_xlabel(xlabel, fontsize=8, color=INK)
    counts = {values.shape for values in arrays.values()}
    runs, tasks = next(iter(counts))
    many = f"{runs} runs of {tasks} task{'s' * (tasks > 1)}" if len(counts) == 1 else "runs"
    axes.set_ylabel(f"share of {many}\nwith a higher score", fontsize=8, color=INK)
    axes.legend(frameon=False, fontsize=7, labelcolor=INK, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure_title(figure, title)
    return figure


def _checked(name: str, scores: np.ndarray) -> Array:
    values = np.asarray(scores, float)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"the scores of {name!r} must be (runs, tasks), finite; got {np.shape(scores)}")
    return values

"""What a step costs beside the bare power flows, part by part."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from dss_marl.plots.style import GREY, INK, PAGE_IN, PALETTE, figure_title, new_figure, plain_axes

FLOOR = "power flows"
_BAR_IN, _AROUND_IN = 0.27, 1.15  # height of a bar, and of title, axis and legend


def step_cost_figure(costs: Mapping[str, Mapping[str, float]], title: str = "") -> Figure:
    """A bar for each task, made of the parts of its step in units of the floor: its bare power flows.

    Args:
        costs: label to cost by part, in units of the floor; the part ``engine`` contains the floor itself. All have
            the same parts.
        title: of the figure.

    Raises:
        ValueError: nothing to draw, or a task without the part ``engine`` or with other parts than the first.
    """
    if not costs:
        raise ValueError("the figure needs the costs of at least one task; got none")
    parts = list(next(iter(costs.values())))
    for label, own in costs.items():
        if "engine" not in own or list(own) != parts:
            raise ValueError(f"the costs of {label!r} must have the parts {parts}, engine among them; got {list(own)}")
    order = ["engine", *(part for part in parts if part != "engine")]
    figure = new_figure(PAGE_IN, _AROUND_IN + _BAR_IN * len(costs))
    figure.set_layout_engine("constrained", h_pad=0.04, w_pad=0.04)
    axes = figure.subplots()
    labels = list(costs)
    left = [0.0] * len(labels)
    for k, part in enumerate([FLOOR, *order]):
        widths = [_width(costs[label], part) for label in labels]
        colour = GREY if part == FLOOR else PALETTE[(k - 1) % len(PALETTE)]
        name = "engine around them" if part == "engine" else part
        axes.barh(labels, widths, left=left, height=0.72, color=colour, label=name, edgecolor="white", linewidth=0.4)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for y, end in enumerate(left):
        axes.text(end + 0.01 * max(left), y, f"{end:.2f}", fontsize=7, color=INK, va="center")
    plain_axes(axes)
    axes.set_xlim(0, 1.08 * max(left))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("CPU time of a step over that of its bare power flows", fontsize=8, color=INK)
    figure.legend(frameon=False, fontsize=7, labelcolor=INK, loc="outside lower center", ncols=5)
    figure_title(figure, title)
    return figure


def _width(own: Mapping[str, float], part: str) -> float:
    """Length of a part's piece of the bar; the engine's is what it takes beyond the floor."""
    if part == FLOOR:
        return min(1.0, own["engine"])
    return max(own["engine"] - 1.0, 0.0) if part == "engine" else own[part]

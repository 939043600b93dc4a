"""A day as operated: voltages, power, devices and switches over the day, one column per controller."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dss_marl.grid.state import V_HIGH, V_LOW, Array
from dss_marl.plots.operation_panels import Lines, Panel, activity, panels_of, worth_drawing
from dss_marl.plots.recorded_day import DayTables, RecordedDays
from dss_marl.plots.style import (
    ALARM,
    GREY,
    INK,
    PAGE_IN,
    PALETTE,
    clock_axis,
    figure_title,
    integer_axis,
    minus_signs,
    mixed,
    new_figure,
    plain_axes,
)

MOST = 8  # devices named in a panel
ROW_IN, BAR_IN = 0.98, 0.135  # height of a row of panels, and of a bar in it [inch]
BAND = mixed(PALETTE[0], "white", 0.6)
CLOSED = mixed(PALETTE[0], "white", 0.35)
SOURCES = {"import": INK, "load": PALETTE[0], "PV": PALETTE[1], "batteries": PALETTE[2], "EV charging": PALETTE[3]}
CLASS = {"critical": PALETTE[7], "important": PALETTE[1], "normal": PALETTE[0], "all loads": PALETTE[0]}


def operation_figure(
    recordings: RecordedDays | Sequence[RecordedDays], day: int | None = None, title: str | None = None
) -> Figure:
    """One day under one or several controllers: panels stacked, a column for each controller.

    What neither varies over the day nor between the controllers has no panel. Of many devices the eight that vary most
    are drawn and named; the legend says how many are left out. Times beyond midnight read as the next day's clock.

    Args:
        recordings: of the same scenario, from ``dss_marl.record``; their controllers head the columns.
        day: its number; None: the first day recorded.
        title: of the figure; None: scenario, split and day. "" for none.

    Raises:
        ValueError: no recording, recordings of several scenarios, or a day that is not recorded.
    """
    given = list(recordings) if isinstance(recordings, Sequence) else [recordings]
    if not given or len({one.scenario.name for one in given}) > 1:
        raise ValueError(
            f"a figure of a day needs recordings of one scenario; got {[str(x.scenario.name) for x in given]}"
        )
    days = [DayTables(one, day) for one in given]
    every = [panels_of(one) for one in days]
    labels = [label for label in dict.fromkeys(name for own in every for name in own)
              if worth_drawing([own[label] for own in every if label in own])]  # fmt: skip
    rows = {label: _chosen([own.get(label) for own in every]) for label in labels}
    heights = [_height(panels) for panels, _ in rows.values()]
    width = max(PAGE_IN, 2.0 + 1.6 * len(days))
    figure = new_figure(width, 1.0 + sum(heights) + 0.08 * len(rows))
    figure.set_layout_engine("constrained", h_pad=0.02, w_pad=0.03, hspace=0.0, wspace=0.0)
    grid = figure.subplots(len(rows), len(days), sharex=True, sharey="row", squeeze=False, height_ratios=heights)
    for axes, (label, (panels, left)) in zip(grid, rows.items(), strict=True):
        for place, panel, own in zip(axes, panels, days, strict=True):
            _draw(place, panel, own)
        axes[0].set_ylabel(_broken(label), fontsize=7.5, color=INK)
        _legend(axes[-1], next(panel for panel in panels if panel is not None), left)
    for axes, own in zip(grid[0], days, strict=True):
        axes.set_title(_head(own), fontsize=8, color=INK, loc="left", linespacing=1.3)
    _time_axes(grid, max((own.hours for own in days), key=len))
    figure.align_ylabels(grid[:, 0].tolist())
    first = days[0]
    name = f"{first.scenario.name}, {first.recording.split} day {first.number}"
    figure_title(figure, name if title is None else title)
    return figure


def _chosen(panels: Sequence[Panel | None]) -> tuple[list[Panel | None], str]:
    """The panels of a row with the same devices, those that vary most, and a line on what is left out."""
    present = [panel for panel in panels if panel is not None]
    if not present[0].devices:
        return list(panels), ""
    vary = activity(present)
    moving = [name for name, range_ in vary.items() if range_ > 1e-3]
    first = sorted(moving, key=lambda name: -vary[name])[:MOST]
    kept = [name for name in moving if name in first]  # in the order of the feeder
    parts = [f"+ {len(moving) - len(kept)} more"] if len(moving) > len(kept) else []
    parts += [f"{len(vary) - len(moving)} constant"] if len(vary) > len(moving) else []
    rows: list[Panel | None] = [
        None if panel is None
        else Panel(panel.label, panel.style, {name: panel.lines[name] for name in kept if name in panel.lines},
                   True, panel.texts)
        for panel in panels
    ]  # fmt: skip
    return rows, "\n".join(parts)


def _height(panels: Sequence[Panel | None]) -> float:
    """Of a row [inch]."""
    panel = next(one for one in panels if one is not None)
    bars = panel.style in ("states", "places")
    return max(0.24 + BAR_IN * len(panel.lines) * (1.4 if panel.style == "places" else 1.0), 0.5) if bars else ROW_IN


def _head(day: DayTables) -> str:
    """Controller, its return, and how much it switches."""
    figures = day.figures
    earned = minus_signs(f"{figures['team_return']:.4g}")
    text = f"{day.recording.controller}\nreturn {earned}"
    for figure, noun in (("switch_moves", "switch"), ("tap_moves", "tap")):
        moves = round(figures.get(figure, 0.0))
        if moves:
            return f"{text}, {moves:,} {noun} move{'s' if moves > 1 else ''}"
    return text


# --- panels ---------------------------------------------------------------------------------------------------------


def _draw(axes: Axes, panel: Panel | None, day: DayTables) -> None:
    plain_axes(axes)
    if panel is None:
        axes.text(0.5, 0.5, "has none", transform=axes.transAxes, ha="center", va="center", fontsize=7, color=GREY)
        return
    hours = day.hours
    if panel.style == "states":
        _draw_states(axes, panel.lines, hours)
    elif panel.style == "places":
        _draw_places(axes, panel, hours)
    elif panel.style == "band":
        _draw_band(axes, panel.lines, hours)
    else:
        for name, style in _styles(panel).items():
            axes.step(hours, _held(panel.lines[name]), where="post", **style)
        if panel.style == "counts":
            integer_axis(axes)
    _draw_faults(axes, day)


def _held(values: Array) -> Array:
    """Values hold over their interval: the last one once more, at its end."""
    return np.append(values, values[-1])


def _styles(panel: Panel) -> dict[str, dict[str, Any]]:
    """Line style of each name; demand is dotted in the colour of what is served."""
    styles: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(panel.lines):
        base = name.partition(", demand")[0]
        known = SOURCES | CLASS
        colour = known.get(name, PALETTE[k % len(PALETTE)]) if not panel.devices else PALETTE[k % len(PALETTE)]
        styles[name] = {"color": colour, "linewidth": 1.0}
        if name.endswith(", demand"):
            styles[name] = {"color": CLASS[base], "linewidth": 0.9, "linestyle": (0, (1, 1.2))}
    return styles


def _draw_band(axes: Axes, lines: Lines, hours: Array) -> None:
    low, middle, high = (_held(lines[name]) for name in ("lowest", "median", "highest"))
    axes.fill_between(hours, low, high, step="post", color=BAND, linewidth=0, zorder=1)
    axes.step(hours, middle, where="post", color=mixed(PALETTE[0], "black", 0.3), linewidth=1.0, zorder=2)
    for limit in (V_LOW, V_HIGH):
        axes.axhline(limit, color=ALARM, linewidth=0.8, linestyle=(0, (4, 2)), zorder=3)


def _draw_states(axes: Axes, lines: Lines, hours: Array) -> None:
    """A bar where a state is 1, a row for each name, the first on top."""
    for row, values in enumerate(lines.values()):
        spans = [(hours[a], hours[b] - hours[a]) for a, b, value in _runs(values) if value == 1]
        axes.broken_barh(spans, (row - 0.36, 0.72), facecolors=CLOSED, linewidth=0)
        for a, _, _ in _runs(values)[1:]:
            axes.plot([hours[a]] * 2, [row - 0.46, row + 0.46], color=INK, linewidth=0.9)
    _name_rows(axes, list(lines))


def _draw_places(axes: Axes, panel: Panel, hours: Array) -> None:
    """A bar for each loop, divided where its open point moves; each part is named where there is room."""
    tints = [mixed(colour, "white", 0.6) for colour in PALETTE]
    for row, values in enumerate(panel.lines.values()):
        for a, b, value in _runs(values):
            if not np.isfinite(value):
                continue
            text = panel.texts[int(value)]
            axes.broken_barh([(hours[a], hours[b] - hours[a])], (row - 0.42, 0.84),
                             facecolors=tints[int(value) % len(tints)], edgecolors="white", linewidth=0.5)  # fmt: skip
            if (b - a) / len(values) > 0.032 * len(text):
                middle = (hours[a] + hours[b]) / 2
                axes.text(middle, row, text, ha="center", va="center", fontsize=6, color=INK, clip_on=True)
    _name_rows(axes, list(panel.lines))


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names, fontsize=6.5)
    axes.tick_params(axis="y", length=0)


def _runs(values: Array) -> list[tuple[int, int, float]]:
    """(first, end, value) of each run of equal values."""
    edges = [0, *(np.flatnonzero(np.diff(np.nan_to_num(values, nan=-1.0))) + 1).tolist(), len(values)]
    return [(a, b, float(values[a])) for a, b in pairwise(edges)]


def _draw_faults(axes: Axes, day: DayTables) -> None:
    """A dotted line where a fault begins or ends during the day."""
    for first, end, _ in fault_times(day):
        for k in {first, end} - {0, len(day.hours) - 1}:
            axes.axvline(day.hours[k], color=ALARM, linewidth=0.9, linestyle=(0, (1, 1.5)), zorder=4)


def fault_times(day: DayTables) -> list[tuple[int, int, list[str]]]:
    """(first interval, interval after the last, branches) of each fault of the day."""
    found: dict[tuple[int, int], list[str]] = {}
    for column, values in zip(day.columns("faults"), day.values("faults").T, strict=True):
        for first, end, value in _runs(values):
            if value == 1:
                found.setdefault((first, end), []).append(column.name)
    return [(first, end, names) for (first, end), names in sorted(found.items())]


# --- legends and axes -----------------------------------------------------------------------------------------------


def _legend(axes: Axes, panel: Panel, left: str) -> None:
    """What is drawn in a row, to its right, and what is left out."""
    handles: list[tuple[Any, str]] = []
    if panel.style == "band":
        handles = [
            (Patch(color=BAND), "lowest to highest"),
            (Line2D([], [], color=mixed(PALETTE[0], "black", 0.3), linewidth=1.0), "median node"),
            (Line2D([], [], color=ALARM, linewidth=0.8, linestyle=(0, (4, 2))), f"{V_LOW:g} and {V_HIGH:g}"),
        ]
    elif panel.style == "states":
        handles = [(Patch(color=CLOSED), "closed"), (Line2D([], [], color=INK, linewidth=0.9), "moves")]
    elif panel.style in ("lines", "counts"):
        handles = [(Line2D([], [], **style), name) for name, style in _styles(panel).items()
                   if not name.endswith(", demand")]  # fmt: skip
        if any(name.endswith(", demand") for name in panel.lines):
            handles.append((Line2D([], [], color=GREY, linewidth=0.9, linestyle=(0, (1, 1.2))), "demand"))
    for text in left.splitlines():
        handles.append((Line2D([], [], linestyle="none"), text))
    if handles:
        axes.legend(
            *zip(*handles, strict=True), loc="upper left", bbox_to_anchor=(1.02, 1.06), frameon=False, fontsize=6.5,
            labelcolor=INK, handlelength=1.1, labelspacing=0.12, borderpad=0.1, borderaxespad=0.0, handletextpad=0.5,
        )  # fmt: skip


def _broken(label: str) -> str:
    """The unit of a label on a line of its own."""
    name, bracket, unit = label.partition(" [")
    words = name.replace(" and ", "\nand ", 1) if len(name) > 18 else name
    return f"{words}\n[{unit}" if bracket else words.replace(" ", "\n", 1)


def _time_axes(grid: np.ndarray, hours: Array) -> None:
    for axes in grid[-1]:
        clock_axis(axes, float(hours[0]), float(hours[-1]))
    for axes in grid.ravel():
        axes.grid(axis="x", color="#ececec", linewidth=0.5)
        axes.set_axisbelow(True)

"""A day as operated: voltages, power, devices and switches over the day, one column per controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dss_marl.grid.state import Array
from dss_marl.grid.voltage_band import VoltageBand
from dss_marl.plots.operation_panels import STILL, Lines, Panel, activity, panels_of, worth_drawing
from dss_marl.plots.recorded_day import DayTables, RecordedDays, plain_name
from dss_marl.plots.style import (
    ALARM,
    GREY,
    INK,
    PAGE_IN,
    PALETTE,
    clock,
    clock_axis,
    figure_title,
    integer_axis,
    minus_signs,
    mixed,
    new_figure,
    plain_axes,
)

MOST, BARS = 8, 12  # devices named in a panel, and where each has a bar
ROW_IN, BAR_IN, LEGEND_IN = (0.66, 0.92), 0.135, 0.118  # height of a row of panels, a bar, a legend's line [inch]
PAGE_HIGH = 8.4  # for all rows [inch], unless they would be lower than a row may be
SHORT = 6  # letters of a name, up to which a legend may have two columns
BAND, MEDIAN = mixed(PALETTE[0], "white", 0.6), mixed(PALETTE[0], "black", 0.3)
CLOSED = mixed(PALETTE[0], "white", 0.35)
COLOUR = {"import": INK, "load": PALETTE[0], "PV": PALETTE[1], "batteries": PALETTE[2], "EV charging": PALETTE[3]}
COLOUR |= {"critical": PALETTE[7], "important": PALETTE[1], "normal": PALETTE[0], "generators": PALETTE[4]}
LIMITS = ("import limit", "rating")
DOTS, DASHES = (0, (1, 1.2)), (0, (4, 2))


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
    labels = [
        label
        for label in dict.fromkeys(name for own in every for name in own)
        if worth_drawing([own[label] for own in every if label in own])
    ]
    labels = labels or list(every[0])[:1]  # the voltages, of a day of one interval
    rows = [Row.of([own.get(label) for own in every], len(labels)) for label in labels]
    figure = new_figure(max(PAGE_IN, 2.0 + 1.6 * len(days)), 1.0 + sum(row.height + 0.08 for row in rows))
    figure.set_layout_engine("constrained", h_pad=0.02, w_pad=0.05, hspace=0.0, wspace=0.0)
    heights = [row.height for row in rows]
    grid = figure.subplots(len(rows), len(days), sharex=True, sharey="row", squeeze=False, height_ratios=heights)
    for axes, row in zip(grid, rows, strict=True):
        for place, panel, own in zip(axes, row.panels, days, strict=True):
            _draw(place, panel, own, _styles(row))
        if row.first.style == "counts":
            integer_axis(axes[0])  # the row shares it
        axes[0].set_ylabel(_broken(row.first.label), fontsize=7.5, color=INK)
        _legend(axes[-1], row, days[0].task.band)
    for axes, head in zip(grid[0], _heads(days), strict=True):
        axes.set_title(head, fontsize=7.5, color=INK, loc="left", linespacing=1.25)
    _time_axes(grid, max((own.hours for own in days), key=len))
    figure.supxlabel("time of day [h]", fontsize=7.5, color=INK)
    figure.align_ylabels(grid[:, 0].tolist())
    first = days[0]
    name = f"{first.scenario.name}, {first.recording.split} day {first.number}{_fault_note(days)}"
    figure_title(figure, name if title is None else title)
    return figure


def _fault_note(days: Sequence[DayTables]) -> str:
    """What is faulted when, for the title; "" without faults."""
    longest = max(days, key=lambda day: len(day.hours))  # a failed power flow ends a day
    last, notes = len(longest.hours) - 1, []
    for first, end, names in fault_times(longest):
        start, stop = (clock(float(longest.hours[k]), 0.25, longest.hours[0] == 0) for k in (first, end))
        when = "throughout" if (first, end) == (0, last) else f"{start} to {stop}"
        notes.append(f"{' and '.join(names)} faulted {when}")
    return "".join(f"; {note}" for note in notes)


@dataclass(frozen=True)
class Row:
    """The panels of one quantity, with the devices chosen, the height [inch], and a note on what is left out."""

    panels: tuple[Panel | None, ...]
    height: float
    columns: int  # of its legend
    note: str

    @property
    def first(self) -> Panel:
        """The first controller's panel that there is."""
        return next(panel for panel in self.panels if panel is not None)

    @property
    def names(self) -> list[str]:
        """Of all lines of the row."""
        return list(dict.fromkeys(name for panel in self.panels if panel is not None for name in panel.lines))

    @classmethod
    def of(cls, panels: Sequence[Panel | None], rows: int) -> Row:
        """The lines that matter, of panels of one quantity; lower where there are many rows."""
        present = [panel for panel in panels if panel is not None]
        vary, bars = activity(present), present[0].style in ("states", "places")
        height = float(np.clip(PAGE_HIGH / rows, *ROW_IN))
        if present[0].devices:
            moving = [name for name, span in vary.items() if span > STILL]
        else:  # what is zero everywhere is not there
            moving = [name for name in vary if any(abs(np.nan_to_num(p.lines[name])).max() > STILL for p in present)]
        fits = int(height / LEGEND_IN)
        twice = max(map(len, moving)) <= SHORT
        most = BARS if bars else min(MOST, (2 if twice else 1) * fits - 1)
        first = sorted(moving, key=lambda name: -vary[name])[: most if present[0].devices else None]
        kept = [name for name in moving if name in first]  # in the order of the feeder
        notes = [f"+ {len(moving) - len(kept)} more"] * (len(moving) > len(kept))
        notes += [f"+ {len(vary) - len(moving)} constant"] * (present[0].devices and len(vary) > len(moving))
        if bars:
            height = max(0.2 + BAR_IN * len(kept) * (1.4 if present[0].style == "places" else 1.0), ROW_IN[0])
        chosen = [None if one is None else _with_lines(one, kept) for one in panels]
        return cls(tuple(chosen), height, 2 if twice and len(kept) + len(notes) > fits else 1, "\n".join(notes))


def _with_lines(panel: Panel, names: Sequence[str]) -> Panel:
    return replace(panel, lines={name: panel.lines[name] for name in names if name in panel.lines})


def _heads(days: Sequence[DayTables]) -> list[str]:
    """Controller, its return, and how often it switches, where any of them does."""
    figures = [day.figures for day in days]
    kinds = {"switch_moves": "switch", "tap_moves": "tap", "capacitor_moves": "capacitor"}
    moved = [kind for kind in kinds if any(own.get(kind) for own in figures)][:1]
    heads = []
    for day, own in zip(days, figures, strict=True):
        earned = minus_signs(f"{own['team_return']:.4g}")
        lines = [day.recording.controller, f"return {earned}"]
        lines += [f"{own[kind]:,.0f} {kinds[kind]} move{'s' * (own[kind] != 1)}" for kind in moved]
        heads.append("\n".join(lines))
    return heads


# --- panels ---------------------------------------------------------------------------------------------------------


def _draw(axes: Axes, panel: Panel | None, day: DayTables, styles: Mapping[str, dict[str, Any]]) -> None:
    plain_axes(axes)
    if panel is None:
        axes.text(0.5, 0.5, "has none", transform=axes.transAxes, ha="center", va="center", fontsize=7, color=GREY)
        return
    hours = day.hours
    if panel.style == "states":
        _draw_states(axes, panel, hours)
    elif panel.style == "places":
        _draw_places(axes, panel, hours)
    elif panel.style == "band":
        _draw_band(axes, panel.lines, hours, day.task.band)
    else:
        for name, values in panel.lines.items():
            axes.step(hours, _held(values), where="post", **styles[name])
    _draw_faults(axes, day)


def _held(values: Array) -> Array:
    """Values hold over their interval: the last one once more, at its end."""
    return np.append(values, values[-1])


def _styles(row: Row) -> dict[str, dict[str, Any]]:
    """Line style of each name: thinner and thinner, so that lines of equal values are all seen."""
    styles: dict[str, dict[str, Any]] = {}
    names, devices = row.names, row.first.devices
    count = max(len(names) - 1, 1)
    for k, name in enumerate(names):
        base, _, demand = name.partition(", ")
        colour = PALETTE[k % len(PALETTE)] if devices else COLOUR.get(base, PALETTE[k % len(PALETTE)])
        styles[name] = {"color": colour, "linewidth": 1.5 - 0.7 * k / count if devices and len(names) > 1 else 1.0}
        if demand:
            styles[name] |= {"linewidth": 0.9, "linestyle": DOTS}
        if name in LIMITS:
            styles[name] = {"color": ALARM, "linewidth": 0.8, "linestyle": DASHES}
    return styles


def _draw_band(axes: Axes, lines: Lines, hours: Array, band: VoltageBand) -> None:
    low, middle, high = (_held(lines[name]) for name in ("lowest", "median", "highest"))
    axes.fill_between(hours, low, high, step="post", color=BAND, linewidth=0, zorder=1)
    axes.step(hours, middle, where="post", color=MEDIAN, linewidth=1.0, zorder=2)
    for limit in band.limits:
        axes.axhline(limit, color=ALARM, linewidth=0.8, linestyle=DASHES, zorder=3)


def _draw_states(axes: Axes, panel: Panel, hours: Array) -> None:
    """A bar where a state is 1, a row for each name, the first on top; a mark where it changes."""
    for row, (name, values) in enumerate(panel.lines.items()):
        spans = [(hours[a], hours[b] - hours[a]) for a, b, value in _runs(values) if value == 1]
        axes.broken_barh(spans, (row - 0.36, 0.72), facecolors=CLOSED, linewidth=0)
        for a, _, _ in _runs(values)[0 if name in panel.closed_at_once else 1 :]:
            mark = axes.plot([hours[a]] * 2, [row - 0.46, row + 0.46], color=INK, linewidth=0.9 if a else 2.2)
            mark[0].set_clip_on(False)  # at the start it lies on the axis
    _name_rows(axes, list(panel.lines))


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
                found.setdefault((first, end), []).append(plain_name(column.name))
    return [(first, end, names) for (first, end), names in sorted(found.items())]


# --- legends and axes -----------------------------------------------------------------------------------------------


def _legend(axes: Axes, row: Row, band: VoltageBand) -> None:
    """What is drawn in a row, to its right, and what is left out."""
    handles: list[tuple[Any, str]] = []
    if row.first.style == "band":
        handles = [
            (Patch(color=BAND), "lowest to highest"),
            (Line2D([], [], color=MEDIAN, linewidth=1.0), "median node"),
            (Line2D([], [], color=ALARM, linewidth=0.8, linestyle=DASHES), band.limits_text),
        ]
    elif row.first.style == "states":
        handles = [(Patch(color=CLOSED), "closed"), (Line2D([], [], color=INK, linewidth=0.9), "moves")]
    elif row.first.style in ("lines", "counts"):
        styles = _styles(row)
        handles = [(Line2D([], [], **style), name) for name, style in styles.items() if not name.endswith(", demand")]
        if len(handles) < len(styles):
            handles.append((Line2D([], [], color=GREY, linewidth=0.9, linestyle=DOTS), "demand"))
    handles += [(Line2D([], [], linestyle="none"), text) for text in row.note.splitlines()]
    if handles:
        axes.legend(
            *zip(*handles, strict=True), loc="upper left", bbox_to_anchor=(1.02, 1.06), frameon=False, fontsize=6.5,
            labelcolor=INK, handlelength=1.1, labelspacing=0.12, borderpad=0.1, borderaxespad=0.0, handletextpad=0.5,
            ncols=row.columns, columnspacing=0.8,
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

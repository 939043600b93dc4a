"""The feeder's map: zones, branches, devices, and the voltages of a state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dss_marl.envs.task import Task
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, BoolArray, GridState
from dss_marl.grid.voltage_band import VoltageBand
from dss_marl.plots.map_canvas import MapCanvas, new_chart
from dss_marl.plots.map_devices import draw_series, draw_shunts
from dss_marl.plots.map_labels import label_zones, name_buses
from dss_marl.plots.style import ALARM, GREY, INK, drawn_size, mixed
from dss_marl.plots.symbols import OPEN_SWITCH, SERIES, SHUNT
from dss_marl.zones import Zone

NAMED = 150  # up to this many buses, names are drawn
COLOURS = LinearSegmentedColormap.from_list(
    "voltage", ["#1b2a6b", "#2f6fb5", "#9cc7e4", "#f7f7f4", "#f2c27f", "#d9741d", "#7d2f04"]
)
LOWEST, HIGHEST = 0.92, 1.08  # limits of the colour bar [pu]; fixed, so that figures are comparable


def feeder_figure(task: Task, state: GridState | None = None, title: str = "") -> Figure:
    """The feeder's map: zones as colours, line width by number of phases, devices as symbols.

    Bus names and symbols of a kind are omitted where there are too many to read.

    Args:
        task: whose feeder and zones.
        state: colours each bus by its voltage in the phase farthest from 1 pu, circles those with a phase outside the
            band, and shows switches and capacitors as they are; without one, as they are at reset.
        title: above the map.

    Raises:
        ValueError: the state is a batch.
    """
    if state is not None and state.solution.v_pu.ndim != 1:
        raise ValueError(f"a map shows one state; this one is a batch {state.solution.v_pu.shape[:-1]}")
    closed = task.start.closed if state is None else state.solution.closed
    chart = new_chart(task.feeder, task.zones, closed, state is not None, title)
    return _drawn(chart, state)


def zones_figure(feeder: Feeder, zones: Sequence[Zone], title: str = "") -> Figure:
    """The map of a feeder with zones but without a task; switches and capacitors as in the circuit's file.

    Raises:
        ValueError: no zone.
    """
    if not zones:
        raise ValueError("a map of zones needs at least one zone; got none")
    return _drawn(new_chart(feeder, tuple(zones), feeder.setpoints().closed, False, title), None)


def _drawn(chart: MapCanvas, state: GridState | None) -> Figure:
    """Everything on the map."""
    draw_zones(chart)
    _draw_branches(chart)
    if state is None:
        _draw_buses(chart)
    else:
        _draw_voltages(chart, state)
    draw_series(chart)
    draw_shunts(chart)
    label_zones(chart)
    if len(chart.sheet.xy) <= NAMED:
        name_buses(chart)
    _draw_legend(chart)
    return chart.figure


def feeder_image(task: Task, state: GridState) -> np.ndarray:
    """(H, W, 3) uint8: the feeder's map of the state, with the scenario's name and the hour, at 100 dpi."""
    minutes = round(60 * state.hour)
    figure = feeder_figure(task, state, f"{task.scenario.name}  {minutes // 60:02d}:{minutes % 60:02d}")
    assert isinstance(figure.canvas, FigureCanvasAgg)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def worst_voltages(feeder: Feeder, state: GridState) -> Array:
    """(B) voltage of each bus in its energised phase farthest from 1 pu [pu]; NaN where no phase is energised."""
    v = np.where(state.solution.energised, state.solution.v_pu, np.nan)
    alive = np.flatnonzero(~np.isnan(v))
    order = alive[np.argsort(np.abs(v[alive] - 1), kind="stable")]
    worst = np.full(len(feeder.buses), np.nan)
    worst[feeder.node_bus[order]] = v[order]  # of a bus's phases the last one stays
    return worst


def outside_band(chart: MapCanvas, state: GridState) -> BoolArray:
    """(B) buses with an energised phase outside the band."""
    v = np.where(state.solution.energised, state.solution.v_pu, np.nan)
    return chart.band.buses_outside(chart.feeder, v)


# --- zones, branches, buses -----------------------------------------------------------------------------------------


def draw_zones(chart: MapCanvas) -> None:
    """A tint under the buses and closed branches of each zone."""
    sheet, zone = chart.sheet, chart.zone
    tints = [mixed(colour, "white", 0.72) for colour in chart.colours]
    inside = [i for i, e in enumerate(sheet.edges) if chart.live[i] and zone[e.a] == zone[e.b]]
    chart.axes.add_collection(
        LineCollection(
            [sheet.lines[i] for i in inside],
            colors=[tints[zone[sheet.edges[i].a]] for i in inside],
            linewidths=chart.halo,
            capstyle="round",
            zorder=1,
        )
    )
    x, y = sheet.xy.T
    chart.axes.scatter(x, y, s=chart.halo**2, c=[tints[z] for z in zone], linewidths=0, zorder=1)


def _draw_branches(chart: MapCanvas) -> None:
    sheet, zone = chart.sheet, chart.zone
    unit = float(np.clip(0.14 * sheet.dot, 0.3, 0.75))
    ink = [
        "#444444" if chart.coloured or zone[e.a] != zone[e.b] else mixed(chart.colours[zone[e.a]], "black", 0.15)
        for e in sheet.edges
    ]
    for live, style in ((True, "solid"), (False, (0, (3, 2)))):
        chosen = np.flatnonzero(chart.live == live)
        chart.axes.add_collection(
            LineCollection(
                [sheet.lines[i] for i in chosen],
                colors=[ink[i] if live else GREY for i in chosen],
                linewidths=[unit * min(sheet.edges[i].phases, 3) if live else unit for i in chosen],
                linestyles=style,
                capstyle="round" if live else "butt",
                zorder=2,
            )
        )
    for phases in sorted({min(e.phases, 3) for e in sheet.edges}):
        label = f"{phases} phase{'s' if phases > 1 else ''}"
        chart.legend[label] = Line2D([], [], color="#444444", linewidth=max(unit, 0.6) * phases)
    if any(edge.can_open for edge in sheet.edges):
        chart.legend["open branch"] = Line2D([], [], color=GREY, linewidth=unit, linestyle=(0, (3, 2)))


def _draw_buses(chart: MapCanvas) -> None:
    sheet = chart.sheet
    x, y = sheet.xy.T
    chart.axes.scatter(
        x,
        y,
        s=sheet.dot**2,
        c=[mixed(chart.colours[z], "black", 0.15) for z in chart.zone],
        edgecolors="white",
        linewidths=0.08 * sheet.dot,
        zorder=4,
    )


def _draw_voltages(chart: MapCanvas, state: GridState) -> None:
    """Buses coloured by their worst voltage, the worst on top; those outside the band circled."""
    sheet, axes = chart.sheet, chart.axes
    v = worst_voltages(chart.feeder, state)
    dead = np.isnan(v)
    order = np.argsort(np.where(dead, 0, np.abs(v - 1)), kind="stable")
    order = order[~dead[order]]
    edge = float(np.clip(0.1 * sheet.dot, 0.1, 0.7))
    x, y = sheet.xy[order].T
    style: dict[str, Any] = {"s": sheet.dot**2, "edgecolors": INK, "linewidths": edge, "zorder": 4}
    points = axes.scatter(x, y, c=v[order], cmap=COLOURS, norm=Normalize(LOWEST, HIGHEST), **style)
    if dead.any():
        axes.scatter(sheet.xy[dead, 0], sheet.xy[dead, 1], c="white", marker="X", **style)
        chart.legend["de-energised"] = legend_sample("X", "white", INK, 6)
    beyond = np.flatnonzero(outside_band(chart, state))
    size, line = 1.55 * sheet.dot + 1, float(np.clip(0.24 * sheet.dot, 0.5, 1.5))
    x, y = sheet.xy[beyond].T
    rings = axes.scatter(x, y, s=size**2, facecolors="none", edgecolors=ALARM, linewidths=line, zorder=3.5)
    rings.set_gid("outside")
    if beyond.size:
        chart.legend[f"outside {chart.band.text}"] = legend_sample("o", "none", ALARM, 7, 1.4)
    draw_voltage_bar(chart, points, v[~dead])
    note = f"{len(beyond):,} of {len(v):,}\nbuses outside"
    chart.figure.axes[-1].set_title(note, fontsize=7.5, color=ALARM if len(beyond) else INK, pad=10, loc="left")


def draw_voltage_bar(chart: MapCanvas, points: ScalarMappable, v: Array) -> None:
    """The colour bar, with the band's limits."""
    figure, box = chart.figure, chart.axes.get_position()
    inch_w, inch_h = figure.get_size_inches()
    height = min(0.8 * box.height, 3.0 / inch_h)
    axes = figure.add_axes((box.x1 + 8 / 72 / inch_w, box.y0 + (box.height - height) / 2, 0.13 / inch_w, height))
    below, above = bool((v < LOWEST).any()), bool((v > HIGHEST).any())
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}.get((below, above), "both")
    bar = figure.colorbar(points, cax=axes, extend=extend)
    mark_band(bar, chart.band, 1.5)
    bar.ax.tick_params(labelsize=7.5, colors=INK, length=2.5)
    bar.set_label("bus voltage, worst phase [pu]", fontsize=8, color=INK)
    bar.outline.set_linewidth(0.5)


def mark_band(bar: Colorbar, band: VoltageBand, width: float) -> None:
    """The limits that lie within the colours, as red lines with red numbers, and other ticks where there is room."""
    limits = [limit for limit in band.limits if LOWEST <= limit <= HIGHEST]
    others = [tick for tick in (LOWEST, 1.0, HIGHEST) if all(abs(tick - limit) > 0.01 for limit in limits)]
    ticks = sorted([*limits, *others])
    digits = 2 if all(round(tick, 2) == round(tick, 9) for tick in ticks) else 3
    bar.set_ticks(ticks, labels=[f"{tick:.{digits}f}" for tick in ticks])
    for limit in limits:
        bar.ax.axhline(limit, color=ALARM, linewidth=width)
        bar.ax.get_yticklabels()[ticks.index(limit)].set_color(ALARM)


# --- legend ---------------------------------------------------------------------------------------------------------


def legend_sample(marker: str, face: str, edge: str, size: float, line: float = 0.8) -> Line2D:
    """A marker for the legend."""
    sample = Line2D([], [], linestyle="none", marker=marker, markersize=size, markeredgewidth=line)
    sample.set(markerfacecolor=face, markeredgecolor=edge)
    return sample


_ORDER = [s.label for s in (SHUNT["source"], *SERIES.values(), OPEN_SWITCH, *SHUNT.values())]
_ORDER.insert(_ORDER.index("capacitor") + 1, "capacitor, off")


def map_order(name: str) -> int:
    """Place of an entry in a map's legend: symbols first."""
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _draw_legend(chart: MapCanvas) -> None:
    """All symbols, in rows below the map; the figure grows by their height."""
    names = sorted(chart.legend, key=map_order)
    figure = chart.figure
    width, height = figure.get_size_inches() * 72
    for columns in range(min(7, -(-len(names) // 2)), 0, -1):
        legend = figure.legend(
            [chart.legend[name] for name in names],
            names,
            loc="lower center",
            ncols=columns,
            frameon=False,
            fontsize=7.5,
            labelcolor=INK,
            handletextpad=0.4,
            columnspacing=1.4,
            labelspacing=0.65,
        )
        wide, foot = drawn_size(legend)
        if columns == 1 or wide < width:
            break
        legend.remove()
    places = [axes.get_position().bounds for axes in figure.axes]
    grown = 2 * np.ceil((height + foot + 4) / 72 * 50) / 100  # an even number of pixels, as films need
    figure.set_size_inches(2 * np.ceil(width / 72 * 50) / 100, grown)
    share = height / 72 / grown
    for axes, (x, y, w, h) in zip(figure.axes, places, strict=True):
        axes.set_position((x, 1 - share + share * y, w, share * h))

"""The feeder's map: zones, branches, devices, and the voltages of a state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dss_marl.plots.layout import free_direction
from dss_marl.plots.page import ALARM, GREY, INK, mixed, new_figure, text_size, zone_colours
from dss_marl.plots.room import Room
from dss_marl.plots.sheet import Sheet, sheet_of
from dss_marl.plots.symbols import OPEN_SWITCH, SERIES, SHUNT, shunt_symbol
from dss_marl.rewards import V_HIGH, V_LOW, excursion
from dss_marl.scenario import Task
from dss_marl.state import Array, GridState

FEW = 60  # elements of a kind that are drawn one by one
NAMED = 150  # buses that get their names
COLOURS = LinearSegmentedColormap.from_list(
    "voltage", ["#1b2a6b", "#2f6fb5", "#9cc7e4", "#f7f7f4", "#f2c27f", "#d9741d", "#7d2f04"]
)
LOWEST, HIGHEST = 0.92, 1.08  # of the colour bar [pu]; fixed, so that pictures compare
NAME, OFF = "#4d4d4d", "#a8a8a8"
BAR, TITLE = 80.0, 22.0  # beside and above the map [pt]


def feeder_figure(task: Task, state: GridState | None = None, title: str = "") -> Figure:
    """The feeder's map: zones as colours, branches as wide as they have phases, devices as symbols.

    Bus names and symbols of a kind are left out where there are too many to read.

    Args:
        task: whose feeder and zones.
        state: colours each bus by its voltage in the phase farthest from 1 pu, rings those outside 0.95 to 1.05 pu,
            and shows switches and capacitors as they are; without one, as they are at reset.
        title: above the map.

    Raises:
        ValueError: the state is a batch.
    """
    if state is not None and state.solution.v_pu.ndim != 1:
        raise ValueError(f"a map shows one state; this one is a batch {state.solution.v_pu.shape[:-1]}")
    chart = _chart(task, state, title)
    _draw_zones(chart)
    _draw_branches(chart)
    if state is None:
        _draw_buses(chart)
    else:
        _draw_voltages(chart, state)
    _draw_series(chart)
    _draw_shunts(chart)
    _label_zones(chart)
    if len(chart.sheet.xy) <= NAMED:
        _name_buses(chart)
    _draw_legend(chart)
    return chart.figure


def feeder_image(task: Task, state: GridState) -> np.ndarray:
    """(H, W, 3) uint8: the feeder's map of the state, with the scenario's name and the hour, at 100 dpi."""
    minutes = round(60 * state.hour)
    figure = feeder_figure(task, state, f"{task.scenario.name}  {minutes // 60:02d}:{minutes % 60:02d}")
    assert isinstance(figure.canvas, FigureCanvasAgg)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def worst_voltages(task: Task, state: GridState) -> Array:
    """(B) voltage of each bus in its energised phase farthest from 1 pu [pu]; NaN where no phase is energised."""
    v = np.where(state.solution.energised, state.solution.v_pu, np.nan)
    worst = np.full(len(task.feeder.buses), np.nan)
    for bus, value in zip(task.feeder.node_bus, v, strict=True):
        if not abs(value - 1) <= abs(worst[bus] - 1) and not np.isnan(value):
            worst[bus] = value
    return worst


# --- the page -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chart:
    """A map being drawn: data coordinates of its axes are points on the sheet."""

    task: Task
    sheet: Sheet
    figure: Figure
    axes: Axes
    room: Room
    zone: np.ndarray  # (B) zone of each bus
    colours: list[str]
    live: np.ndarray  # (E) which edges conduct
    closed: np.ndarray  # (S)
    coloured: bool  # buses show voltages, not zones
    legend: dict[str, Line2D] = field(default_factory=dict)

    @property
    def halo(self) -> float:
        """Width of the tint under a zone's branches [pt]."""
        return float(np.clip(3.0 * self.sheet.dot, 7, 19))


def _chart(task: Task, state: GridState | None, title: str) -> _Chart:
    sheet = sheet_of(task.feeder)
    bar, head = BAR if state is not None else 0.0, TITLE if title else 0.0
    width, height = max(sheet.width + bar, 430.0), sheet.height + head
    figure = new_figure(width / 72, height / 72)
    left = (width - sheet.width - bar) / 2
    axes = figure.add_axes((left / width, 0.0, sheet.width / width, sheet.height / height))
    axes.set(xlim=(0, sheet.width), ylim=(0, sheet.height))
    axes.axis("off")
    axes.set_title(title, fontsize=11, color=INK, pad=4)
    zone = np.zeros(len(sheet.xy), int)
    for z, part in enumerate(task.zones):
        zone[[task.feeder.bus_index[bus] for bus in part.buses]] = z
    closed = task.start.closed if state is None else state.solution.closed
    live = np.array([edge.closed(closed) for edge in sheet.edges], bool)
    room = Room(sheet.width, sheet.height)
    room.take_lines(*(np.concatenate([line[part] for line in sheet.lines]) for part in (slice(-1), slice(1, None))))
    room.take_boxes(sheet.xy, sheet.dot + 2, sheet.dot + 2)
    colours = zone_colours(len(task.zones))
    return _Chart(task, sheet, figure, axes, room, zone, colours, live, closed, state is not None)


# --- zones, branches, buses -----------------------------------------------------------------------------------------


def _draw_zones(chart: _Chart) -> None:
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


def _draw_branches(chart: _Chart) -> None:
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


def _draw_buses(chart: _Chart) -> None:
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


def _draw_voltages(chart: _Chart, state: GridState) -> None:
    """Buses coloured by their worst voltage, the worst on top; those outside the band ringed."""
    sheet, axes = chart.sheet, chart.axes
    v = worst_voltages(chart.task, state)
    dead = np.isnan(v)
    order = np.argsort(np.where(dead, 0, np.abs(v - 1)), kind="stable")
    order = order[~dead[order]]
    edge = float(np.clip(0.1 * sheet.dot, 0.1, 0.7))
    x, y = sheet.xy[order].T
    style: dict[str, Any] = {"s": sheet.dot**2, "edgecolors": INK, "linewidths": edge, "zorder": 4}
    points = axes.scatter(x, y, c=v[order], cmap=COLOURS, norm=Normalize(LOWEST, HIGHEST), **style)
    if dead.any():
        axes.scatter(sheet.xy[dead, 0], sheet.xy[dead, 1], c="white", marker="X", **style)
    if dead.any() or any(edge.can_open for edge in sheet.edges):
        chart.legend["de-energised"] = _sample("X", "white", INK, 6)
    outside = np.flatnonzero(excursion(np.nan_to_num(v, nan=1.0)) > 0)
    size, line = 1.55 * sheet.dot + 1, float(np.clip(0.24 * sheet.dot, 0.5, 1.5))
    x, y = sheet.xy[outside].T
    rings = axes.scatter(x, y, s=size**2, facecolors="none", edgecolors=ALARM, linewidths=line, zorder=3.5)
    rings.set_gid("outside")
    chart.legend[f"outside {V_LOW:g} to {V_HIGH:g} pu"] = _sample("o", "none", ALARM, 7, 1.4)
    _draw_bar(chart, points, v[~dead])
    note = f"{len(outside):,} of {len(v):,}\nbuses outside"
    chart.figure.axes[-1].set_title(note, fontsize=7.5, color=ALARM if len(outside) else INK, pad=10, loc="left")


def _draw_bar(chart: _Chart, points: object, v: Array) -> None:
    """The colour bar, with the band's limits."""
    figure, box = chart.figure, chart.axes.get_position()
    inch_w, inch_h = figure.get_size_inches()
    height = min(0.8 * box.height, 3.0 / inch_h)
    axes = figure.add_axes((box.x1 + 8 / 72 / inch_w, box.y0 + (box.height - height) / 2, 0.13 / inch_w, height))
    below, above = bool((v < LOWEST).any()), bool((v > HIGHEST).any())
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}.get((below, above), "both")
    bar = figure.colorbar(points, cax=axes, extend=extend)  # type: ignore[arg-type]
    ticks = [LOWEST, V_LOW, 1.0, V_HIGH, HIGHEST]
    bar.set_ticks(ticks, labels=[f"{tick:.2f}" for tick in ticks])
    bar.ax.tick_params(labelsize=7.5, colors=INK, length=2.5)
    bar.set_label("bus voltage, worst phase [pu]", fontsize=8, color=INK)
    bar.outline.set_linewidth(0.5)
    for limit, label in ((V_LOW, 1), (V_HIGH, 3)):
        axes.axhline(limit, color=ALARM, linewidth=1.5)
        axes.get_yticklabels()[label].set_color(ALARM)


# --- devices --------------------------------------------------------------------------------------------------------


def _draw_series(chart: _Chart) -> None:
    """Transformers, regulators, switches and reactors in the middle of their branches."""
    sheet = chart.sheet
    count = Counter(edge.kind for edge in sheet.edges)
    for i, edge in enumerate(sheet.edges):
        if edge.kind not in SERIES or count[edge.kind] > FEW:
            continue
        symbol = OPEN_SWITCH if edge.kind == "switch" and not chart.live[i] else SERIES[edge.kind]
        (x, y), angle = sheet.middle(i)
        chart.axes.add_line(symbol.marker(x, y, sheet.symbol, angle)).set_zorder(6)
        chart.room.take_boxes(np.array([[x, y]]), sheet.symbol * symbol.scale, sheet.symbol * symbol.scale)
        for entry in (symbol,) if edge.kind != "switch" else (SERIES["switch"], OPEN_SWITCH):
            chart.legend[entry.label] = entry.marker(0, 0, 10)
    for kind in sorted(set(SERIES) & set(count)):
        if count[kind] > FEW:
            chart.legend[f"{count[kind]:,} {SERIES[kind].label.split(',')[0]}s not drawn"] = Line2D([], [], alpha=0)


def _shunts(chart: _Chart) -> Iterable[tuple[str, str, bool]]:
    """(bus, kind, on) of the source and of the devices at buses; one for all steps of a capacitor bank."""
    feeder = chart.task.feeder
    yield feeder.source_bus, "source", True
    banks: dict[tuple[str, str], bool] = {}
    for s, row in enumerate(feeder.switches):
        if row.kind == "capacitor":
            banks[row.bus, row.element] = banks.get((row.bus, row.element), False) or bool(chart.closed[s])
    yield from ((bus, "capacitor", on) for (bus, _), on in banks.items())
    yield from dict.fromkeys((row.bus, row.kind, True) for row in feeder.injections if row.kind != "load")


def _draw_shunts(chart: _Chart) -> None:
    """The source, capacitors and devices beside their buses, where they cover nothing."""
    shunts = list(_shunts(chart))
    count = Counter(kind for _, kind, _ in shunts)
    for bus, kind, on in shunts:
        if count[kind] > FEW:
            continue
        symbol, place = shunt_symbol(kind), chart.sheet.xy[chart.task.feeder.bus_index[bus]]
        ink = INK if on else OFF
        spot = _beside(chart, bus, chart.sheet.symbol * symbol.scale)
        angle = float(np.arctan2(*(spot - place)[::-1]))
        chart.axes.plot(*np.stack([place, spot]).T, color=ink, linewidth=0.8, zorder=3)
        chart.axes.add_line(symbol.marker(spot[0], spot[1], chart.sheet.symbol, angle, ink)).set_zorder(6)
        chart.room.take_lines(place[None], spot[None])
        chart.room.take_boxes(spot[None], chart.sheet.symbol * symbol.scale, chart.sheet.symbol * symbol.scale)
        chart.legend[symbol.label] = symbol.marker(0, 0, 10)
        if kind == "capacitor":
            chart.legend["capacitor, off"] = symbol.marker(0, 0, 10, ink=OFF)
    for kind in count:
        if count[kind] > FEW:
            chart.legend[f"{count[kind]:,} {shunt_symbol(kind).label}s not drawn"] = Line2D([], [], alpha=0)


def _beside(chart: _Chart, bus: str, size: float) -> Array:
    """The place near a bus where a symbol of this size [pt] and the line to it cover least."""
    feeder, xy = chart.task.feeder, chart.sheet.xy
    here = feeder.bus_index[bus]
    others = [xy[e.b if e.a == here else e.a] for e in chart.sheet.edges if here in (e.a, e.b)]
    free = free_direction(xy[here], others)
    angles = np.arctan2(free[1], free[0]) + np.deg2rad(np.arange(0, 360, 15))
    turn = np.minimum(np.arange(24), 24 - np.arange(24)) * 15 / 180
    best, least = xy[here], np.inf
    for reach in (1.25, 1.6, 2.1, 2.8):
        ray = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        spots = xy[here] + (reach * size + chart.sheet.dot / 2) * ray
        line = chart.room.covered((xy[here] + spots) / 2 + ray * chart.sheet.dot / 2, 2, 2)
        cost = chart.room.covered(spots, size + 2, size + 2) + 8 * line + 6 * turn + 10 * (reach - 1.25)
        if cost.min() < least:
            best, least = spots[int(cost.argmin())], cost.min()
    return best


# --- labels ---------------------------------------------------------------------------------------------------------


def _label_zones(chart: _Chart) -> None:
    """Each zone's name in its colour, where it covers nothing, as near to the zone's buses as possible."""
    sheet = chart.sheet
    size = 10.0 if len(chart.task.zones) <= 12 else 7.5 if len(chart.task.zones) <= 30 else 6.0
    x, y = np.meshgrid(np.arange(8, sheet.width - 8, 4), np.arange(6, sheet.height - 6, 4))
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    for z, zone in enumerate(chart.task.zones):
        own = sheet.xy[chart.zone == z]
        near = own[:: max(1, len(own) // 250)]
        ink = mixed(chart.colours[z], "black", 0.35)
        text = chart.axes.text(0, 0, zone.name.replace("_", " "), ha="center", va="center", fontsize=size, zorder=8)
        text.set(color=ink, weight="bold")
        width, height = text_size(text)
        covered = chart.room.covered(grid, width + chart.halo, height + chart.halo)
        centres = grid[covered <= covered.min()]
        gap = np.maximum(np.abs(centres[:, None] - near) - np.array([width, height]) / 2, 0)
        reach = np.hypot(gap[..., 0], gap[..., 1]).min(1)
        best = int(np.argmin(reach + 0.08 * np.hypot(*(centres - own.mean(0)).T)))
        spot = centres[best]
        text.set_position((float(spot[0]), float(spot[1])))
        chart.room.take_boxes(spot[None], width + 2, height + 2)
        if reach[best] > 2.2 * chart.halo:
            _draw_leader(chart, spot, np.array([width, height]), near, ink)


def _draw_leader(chart: _Chart, spot: Array, size: Array, near: Array, ink: str) -> None:
    """A thin line from a label to the nearest of the points."""
    target = near[int(np.argmin(np.hypot(*(near - spot).T)))]
    start = np.clip(target, spot - size / 2 - 1, spot + size / 2 + 1)
    chart.axes.plot(*np.stack([start, target]).T, color=ink, linewidth=0.7, zorder=3)
    chart.room.take_lines(start[None], target[None])


def _name_buses(chart: _Chart) -> None:
    """Bus names where there is room, junctions and ends first."""
    sheet, buses = chart.sheet, chart.task.feeder.buses
    degree = np.bincount([bus for e in sheet.edges for bus in (e.a, e.b)], minlength=len(buses))
    angles = np.deg2rad([90, -90, 0, 180, 45, -45, 135, -135])
    ray = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    size = 6.8 if len(buses) <= 80 else 5.5
    for bus in np.argsort(degree == 2, kind="stable"):
        text = chart.axes.text(0, 0, buses[bus].name, ha="center", va="center", fontsize=size, color=NAME, zorder=7)
        width, height = text_size(text)
        box = np.array([width, 0.8 * height])
        spots = sheet.xy[bus] + ray * (0.5 * sheet.dot + 4) + ray.round() * box / 2
        free = np.flatnonzero(chart.room.covered(spots, *(box + 1)) == 0)
        if not len(free):
            text.remove()
            continue
        text.set_position((float(spots[free[0], 0]), float(spots[free[0], 1])))
        chart.room.take_boxes(spots[free[:1]], *box)


# --- legend ---------------------------------------------------------------------------------------------------------


def _sample(marker: str, face: str, edge: str, size: float, line: float = 0.8) -> Line2D:
    style: Callable[..., Line2D] = Line2D
    return style(
        [], [], linestyle="none", marker=marker, markerfacecolor=face, markeredgecolor=edge, markersize=size,
        markeredgewidth=line,
    )  # fmt: skip


def _draw_legend(chart: _Chart) -> None:
    """All symbols, in rows below the map; the figure grows by their height."""
    order = [s.label for s in (SHUNT["source"], *SERIES.values(), OPEN_SWITCH, *SHUNT.values())]
    order.insert(order.index("capacitor") + 1, "capacitor, off")
    names = sorted(chart.legend, key=lambda name: order.index(name) if name in order else len(order))
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
        )
        assert isinstance(figure.canvas, FigureCanvasAgg)
        box = legend.get_window_extent(figure.canvas.get_renderer())
        if columns == 1 or box.width * 72 / figure.dpi < width - 8:
            break
        legend.remove()
    foot = box.height * 72 / figure.dpi
    places = [axes.get_position().bounds for axes in figure.axes]
    grown = 2 * np.ceil((height + foot) / 72 * 50) / 100  # an even number of pixels, as films need
    figure.set_size_inches(2 * np.ceil(width / 72 * 50) / 100, grown)
    share = height / 72 / grown
    for axes, (x, y, w, h) in zip(figure.axes, places, strict=True):
        axes.set_position((x, 1 - share + share * y, w, share * h))

"""Devices on the map: on their branches, or next to their buses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from matplotlib.lines import Line2D

from dss_marl.grid.state import Array
from dss_marl.plots.bus_layout import free_direction
from dss_marl.plots.map_canvas import MapCanvas
from dss_marl.plots.style import INK
from dss_marl.plots.symbols import OPEN_SWITCH, SERIES, shunt_symbol

FEW = 60  # up to this many elements of a kind are drawn individually
OFF = "#a8a8a8"
SAMPLE = 9.0  # size of a symbol in the legend [pt]


def draw_series(chart: MapCanvas) -> dict[int, Line2D]:
    """Transformers, regulators, switches and reactors in the middle of their branches; index of the edge to symbol."""
    sheet = chart.sheet
    drawn: dict[int, Line2D] = {}
    count = Counter(edge.kind for edge in sheet.edges)
    for i, edge in enumerate(sheet.edges):
        if edge.kind not in SERIES or count[edge.kind] > FEW:
            continue
        symbol = OPEN_SWITCH if edge.kind == "switch" and not chart.live[i] else SERIES[edge.kind]
        (x, y), angle = sheet.middle(i)
        drawn[i] = symbol.marker(x, y, sheet.symbol, angle)
        chart.axes.add_line(drawn[i]).set_zorder(6)
        chart.room.take_boxes(np.array([[x, y]]), sheet.symbol * symbol.scale, sheet.symbol * symbol.scale)
        for entry in (symbol,) if edge.kind != "switch" else (SERIES["switch"], OPEN_SWITCH):
            chart.legend[entry.label] = entry.marker(0, 0, SAMPLE)
    for kind in sorted(set(SERIES) & set(count)):
        if count[kind] > FEW:
            chart.legend[f"{count[kind]:,} {SERIES[kind].label.split(',')[0]}s not drawn"] = Line2D([], [], alpha=0)
    return drawn


def _shunts(chart: MapCanvas) -> Iterable[tuple[str, str, bool]]:
    """(bus, kind, on) of the source and the devices at buses; one entry per capacitor bank."""
    feeder = chart.feeder
    yield feeder.source_bus, "source", True
    banks: dict[tuple[str, str], bool] = {}
    for s, row in enumerate(feeder.switches):
        if row.kind == "capacitor":
            banks[row.bus, row.element] = banks.get((row.bus, row.element), False) or bool(chart.closed[s])
    yield from ((bus, "capacitor", on) for (bus, _), on in banks.items())
    yield from dict.fromkeys((row.bus, row.kind, True) for row in feeder.injections if row.kind != "load")


def draw_shunts(chart: MapCanvas) -> dict[tuple[str, str], Line2D]:
    """The source, capacitors and devices next to their buses, without overlap; (bus, kind) to symbol."""
    drawn: dict[tuple[str, str], Line2D] = {}
    shunts = list(_shunts(chart))
    count = Counter(kind for _, kind, _ in shunts)
    for bus, kind, on in shunts:
        if count[kind] > FEW:
            continue
        symbol, place = shunt_symbol(kind), chart.sheet.xy[chart.feeder.bus_index[bus]]
        ink = INK if on else OFF
        spot = _beside(chart, bus, chart.sheet.symbol * symbol.scale)
        angle = float(np.arctan2(*(spot - place)[::-1]))
        chart.axes.plot(*np.stack([place, spot]).T, color=ink, linewidth=0.8, zorder=3)
        drawn[bus, kind] = symbol.marker(spot[0], spot[1], chart.sheet.symbol, angle, ink)
        chart.axes.add_line(drawn[bus, kind]).set_zorder(6)
        chart.room.take_lines(place[None], spot[None])
        chart.room.take_boxes(spot[None], chart.sheet.symbol * symbol.scale, chart.sheet.symbol * symbol.scale)
        chart.legend[symbol.label if on else f"{symbol.label}, off"] = symbol.marker(0, 0, SAMPLE, ink=ink)
    for kind in count:
        if count[kind] > FEW:
            chart.legend[f"{count[kind]:,} {shunt_symbol(kind).label}s not drawn"] = Line2D([], [], alpha=0)
    return drawn


def _beside(chart: MapCanvas, bus: str, size: float) -> Array:
    """The position near a bus where a symbol of this size [pt] and its leader line cover least."""
    feeder, xy = chart.feeder, chart.sheet.xy
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

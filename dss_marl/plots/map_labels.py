"""Names of zones and buses on the map, placed without overlap."""

from __future__ import annotations

import numpy as np
from matplotlib.patheffects import withStroke

from dss_marl.grid.state import Array
from dss_marl.plots.map_canvas import MapCanvas
from dss_marl.plots.style import drawn_size, mixed

NAME = "#4d4d4d"


def label_zones(chart: MapCanvas) -> None:
    """Each zone's name in its colour, without overlap, as near to the zone's buses as possible."""
    sheet = chart.sheet
    size = 10.0 if len(chart.zones) <= 12 else 7.5 if len(chart.zones) <= 30 else 6.0
    x, y = np.meshgrid(np.arange(8, sheet.width - 8, 5), np.arange(6, sheet.height - 6, 5))
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    for z, zone in enumerate(chart.zones):
        own = sheet.xy[chart.zone == z]
        near = own[:: max(1, len(own) // 100)]
        ink = mixed(chart.colours[z], "black", 0.35)
        text = chart.axes.text(0, 0, zone.name.replace("_", " "), ha="center", va="center", fontsize=size, zorder=8)
        text.set(color=ink, weight="bold", path_effects=[withStroke(linewidth=2.5, foreground="white")])
        width, height = drawn_size(text)
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


def _draw_leader(chart: MapCanvas, spot: Array, size: Array, near: Array, ink: str) -> None:
    """A thin line from a label to the nearest of the points."""
    target = near[int(np.argmin(np.hypot(*(near - spot).T)))]
    start = np.clip(target, spot - size / 2 - 1, spot + size / 2 + 1)
    chart.axes.plot(*np.stack([start, target]).T, color=ink, linewidth=0.7, zorder=3)
    chart.room.take_lines(start[None], target[None])


def name_buses(chart: MapCanvas) -> None:
    """Bus names where space permits, junctions and ends first."""
    sheet, buses = chart.sheet, chart.feeder.buses
    degree = np.bincount([bus for e in sheet.edges for bus in (e.a, e.b)], minlength=len(buses))
    angles = np.deg2rad([90, -90, 0, 180, 45, -45, 135, -135])
    ray = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    size = 6.8 if len(buses) <= 80 else 5.5
    for bus in np.argsort(degree == 2, kind="stable"):
        text = chart.axes.text(0, 0, buses[bus].name, ha="center", va="center", fontsize=size, color=NAME, zorder=7)
        width, height = drawn_size(text)
        box = np.array([width, 0.8 * height])
        spots = sheet.xy[bus] + ray * (0.5 * sheet.dot + 4) + ray.round() * box / 2
        free = np.flatnonzero(chart.room.covered(spots, *(box + 1)) == 0)
        if not len(free):
            text.remove()
            continue
        text.set_position((float(spots[free[0], 0]), float(spots[free[0], 1])))
        chart.room.take_boxes(spots[free[:1]], *box)

"""Map canvas: a feeder's map while it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import BoolArray
from dss_marl.grid.voltage_band import VoltageBand
from dss_marl.plots.colours import zone_colours
from dss_marl.plots.label_placement import OccupancyGrid
from dss_marl.plots.map_geometry import MapGeometry, sheet_of
from dss_marl.plots.style import INK, fit_width, new_figure
from dss_marl.zones import Zone

BAR, TITLE = 80.0, 22.0  # next to the map and above it [pt]


@dataclass(frozen=True)
class MapCanvas:
    """A map being drawn; the data coordinates of its axes are page points [pt]."""

    feeder: Feeder
    zones: tuple[Zone, ...]
    sheet: MapGeometry
    figure: Figure
    axes: Axes
    room: OccupancyGrid
    zone: np.ndarray  # (B) zone of each bus
    colours: list[str]
    live: np.ndarray  # (E) which edges conduct
    closed: np.ndarray  # (S)
    coloured: bool  # buses show voltages, not zones
    band: VoltageBand
    legend: dict[str, Line2D] = field(default_factory=dict)

    @property
    def halo(self) -> float:
        """Width of the tint under a zone's branches [pt]."""
        return float(np.clip(3.0 * self.sheet.dot, 7, 19))


def new_chart(feeder: Feeder, zones: tuple[Zone, ...], closed: BoolArray, coloured: bool, title: str) -> MapCanvas:
    """The page for a map, with nothing on it yet."""
    sheet = sheet_of(feeder)
    bar, head = BAR if coloured else 0.0, TITLE if title else 0.0
    width, height = max(sheet.width + bar, 430.0), sheet.height + head
    figure = new_figure(width / 72, height / 72)
    left = (width - sheet.width - bar) / 2
    axes = figure.add_axes((left / width, 0.0, sheet.width / width, sheet.height / height))
    fit_width(axes.set_title(title, fontsize=11, color=INK, pad=4), sheet.width)
    return empty_chart(axes, sheet, zones, closed, coloured)


def empty_chart(
    axes: Axes, sheet: MapGeometry, zones: tuple[Zone, ...], closed: BoolArray, coloured: bool
) -> MapCanvas:
    """A map with nothing on it yet, on axes of the sheet's size."""
    feeder, figure = sheet.feeder, axes.get_figure(root=True)
    assert figure is not None
    axes.set(xlim=(0, sheet.width), ylim=(0, sheet.height))
    axes.axis("off")
    zone = np.zeros(len(sheet.xy), int)
    for z, part in enumerate(zones):
        zone[[feeder.bus_index[bus] for bus in part.buses]] = z
    live = np.array([edge.closed(closed) for edge in sheet.edges], bool)
    room = OccupancyGrid(sheet.width, sheet.height)
    room.take_lines(*(np.concatenate([line[part] for line in sheet.lines]) for part in (slice(-1), slice(1, None))))
    room.take_boxes(sheet.xy, sheet.dot + 2, sheet.dot + 2)
    colours = zone_colours(len(zones), sheet.borders(zone))
    return MapCanvas(feeder, zones, sheet, figure, axes, room, zone, colours, live, closed, coloured, zones[0].band)

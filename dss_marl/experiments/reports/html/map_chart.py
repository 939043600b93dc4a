"""The map: buses coloured by a quantity, with the data that the page's slider puts on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dss_marl.envs.task import Task
from dss_marl.experiments.reports.html.charts import GREY, styled
from dss_marl.experiments.reports.html.text import clock, safe
from dss_marl.experiments.reports.html.where import Quantity, slots_of
from dss_marl.grid.state import Array

SCALE = [[0.0, "#fde3b3"], [0.25, "#f3b25e"], [0.5, "#de7223"], [0.75, "#a83c12"], [1.0, "#5b1a08"]]
NONE, UNKNOWN = "#c9d3d9", "#ffffff"  # colour of a bus at zero, and of one that is not scored
_MOST_LABELS = 12  # zones with a name on the map
_LARGE = 400  # buses from which dots are small


def map_figure(task: Task) -> go.Figure:
    """The feeder with its zones' names; the last three traces are the buses: not scored, at zero, and coloured."""
    from dss_marl.plots.map_geometry import sheet_of  # needs matplotlib

    sheet = sheet_of(task.feeder)
    figure = go.Figure()
    for tie, dash in ((False, "solid"), (True, "dot")):
        lines = [line for edge, line in zip(sheet.edges, sheet.lines, strict=True) if edge.tie == tie]
        xy = np.concatenate([np.append(line, [[np.nan, np.nan]], axis=0) for line in lines]) if lines else None
        if xy is not None:
            figure.add_scatter(x=xy[:, 0], y=xy[:, 1], mode="lines", hoverinfo="skip", showlegend=False,
                               line={"color": "#9aa5ab", "width": 1.4, "dash": dash})  # fmt: skip
    large = len(sheet.xy) > _LARGE
    for size, colour, edge in ((4, UNKNOWN, "#b5bdc1"), (5, NONE, "#8c979d"), (11, "#de7223", "#3a1a0c")):
        figure.add_scatter(
            x=[], y=[], mode="markers", text=[], hovertemplate="%{text}<extra></extra>", showlegend=False,
            marker={"size": 0.7 * size if large else size, "color": colour, "line": {"color": edge, "width": 0.8}},
        )  # fmt: skip
    _color_bar(figure)
    height = float(np.clip(900 * sheet.height / sheet.width, 320, 620))
    styled(figure, height, margin={"l": 0, "r": 0, "t": 4, "b": 4}, hovermode="closest", dragmode="pan")
    _add_zone_names(figure, task, sheet.xy)
    figure.update_xaxes(visible=False, range=[0, sheet.width])
    figure.update_yaxes(visible=False, range=[0, sheet.height])
    return figure


def _color_bar(figure: go.Figure) -> None:
    figure.data[-1].marker.update(
        color=[], colorscale=SCALE, cmin=0, cmax=1, showscale=True,
        colorbar={"thickness": 12, "len": 0.8, "title": {"text": "", "side": "right"}, "outlinewidth": 0},
    )  # fmt: skip


def _add_zone_names(figure: go.Figure, task: Task, xy: Array) -> None:
    from dss_marl.plots.bus_layout import free_direction

    if len(task.zones) > _MOST_LABELS:
        return
    graph = task.feeder.graph()
    for zone in task.zones:
        own = xy[[task.feeder.bus_index[bus] for bus in zone.buses]]
        bus = zone.buses[int(np.argmin(np.hypot(*(own - own.mean(0)).T)))]  # one of the zone, not a place in another
        place = xy[task.feeder.bus_index[bus]]
        aside = free_direction(place, [xy[task.feeder.bus_index[other]] for other in graph[bus]])
        figure.add_annotation(x=place[0], y=place[1], text=safe(zone.name), showarrow=False, xshift=32 * aside[0],
                              yshift=15 * aside[1], font={"size": 12, "color": GREY})  # fmt: skip


def map_data(task: Task, found: Sequence[Quantity], controllers: Sequence[str]) -> dict[str, Any]:
    """What the slider shows, as plain data: places, names, and values by quantity, controller and slot."""
    from dss_marl.plots.map_geometry import sheet_of

    hours, _ = slots_of(task)
    length = max(task.scenario.dt_h, 1.0)
    zone = {bus: one.name for one in task.zones for bus in one.buses}
    buses = [bus.name for bus in task.feeder.buses]
    return {
        "xy": np.round(sheet_of(task.feeder).xy, 1).tolist(),
        "buses": [f"{safe(bus)}, {safe(zone.get(bus, 'no zone'))}" for bus in buses],
        "slots": [f"{clock(hour)} to {clock(hour + length)}" for hour in hours],
        "controllers": list(controllers),
        "quantities": [
            {
                "title": one.title,
                "unit": one.unit,
                "values": {name: [_plain(one.times[name].in_all), *map(_plain, one.times[name].by_slot)]
                           for name in controllers},
            }
            for one in found
        ],
    }  # fmt: skip


def _plain(values: Array) -> list[float | None]:
    """Numbers of four digits; None where a bus has none."""
    return [None if not np.isfinite(value) else float(f"{value:.4g}") for value in values]

"""Graph of zones: who borders on whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array
from dss_marl.plots.bus_layout import bus_positions
from dss_marl.plots.colours import zone_colours
from dss_marl.plots.feeder_map import legend_sample
from dss_marl.plots.style import GREY, INK, PAGE_IN, drawn_size, figure_title, mixed, new_figure
from dss_marl.zones import Zone
from dss_marl.zones.neighbours import zone_graph

NAMED = 9  # zones, up to which they lie as on the map, with their contents and the branches between them
APART = 0.16  # least distance of zones, as a share of the picture's width


def zone_graph_figure(feeder: Feeder, zones: Sequence[Zone], title: str = "") -> Figure:
    """Zones as dots, sized by their load, and lines between those that border on each other.

    A dashed line is a border that only open switches cross, a square the zone of the source. Up to nine zones lie about
    where they are on the map; each line names its branches, and each zone its buses, load and devices. More zones are
    laid out so that lines cross as little as possible.

    Args:
        feeder: the circuit.
        zones: of a task, or from ``build_zones``.
        title: of the figure.

    Raises:
        ValueError: no zone, or a bus in none.
    """
    if not zones:
        raise ValueError("a graph of zones needs at least one zone; got none")
    missing = {bus.name for bus in feeder.buses}.difference(*(zone.buses for zone in zones))
    if missing:
        raise ValueError(f"every bus must be in a zone; {len(missing)} of {feeder.name!r} are in none: {min(missing)}")
    graph = zone_graph(feeder.graph(), zones)
    names = list(graph)
    borders = [(names.index(a), names.index(b)) for a, b in graph.edges]
    few = len(zones) <= NAMED
    spots = _places(feeder, zones) if few else _untangled(graph)
    places = dict(zip(names, spots, strict=True))
    figure = new_figure(PAGE_IN, 4.2)
    figure.set_layout_engine("constrained", h_pad=0.04, w_pad=0.04)
    axes = figure.subplots()
    axes.axis("off")
    axes.set(xlim=(-0.08, 1.08), ylim=(-0.1, 0.66))
    _draw_borders(axes, graph, places, few)
    colours = dict(zip(names, zone_colours(len(names), borders), strict=True))
    _draw_zones(axes, graph, places, colours, next((z.name for z in zones if feeder.source_bus in z.buses), ""))
    for zone in zones if few else ():
        _say_contents(axes, zone, places[zone.name], graph.nodes[zone.name])
    _draw_legend(axes, graph)
    figure_title(figure, title)
    return figure


def _places(feeder: Feeder, zones: Sequence[Zone]) -> Array:
    """(Z, 2) middles of the zones, in the picture's width 0 to 1 and height 0 to 0.55, moved apart where too close."""
    positions = bus_positions(feeder)
    middle = np.array([positions[[feeder.bus_index[bus] for bus in zone.buses]].mean(0) for zone in zones])
    span = np.maximum(np.ptp(middle, axis=0), 1e-9)
    places: Array = (
        (middle - middle.min(0)) / span * np.array([1.0, 0.55]) if len(zones) > 1 else np.array([[0.5, 0.3]])
    )
    least = min(APART, 0.9 / np.sqrt(len(zones)))
    for _ in range(200):
        away = places[:, None] - places[None]
        distance = np.hypot(*np.moveaxis(away, -1, 0))
        np.fill_diagonal(distance, np.inf)
        push = np.clip(least - distance, 0, None)[..., None] * away / np.maximum(distance, 1e-6)[..., None]
        if not push.any():
            break
        places = np.clip(places + 0.5 * push.sum(1), [0.0, 0.0], [1.0, 0.55])
    return places


def _untangled(graph: nx.Graph) -> Array:
    """(Z, 2) a layout whose distances follow the number of borders between zones."""
    found = np.array(list(nx.kamada_kawai_layout(graph).values()))
    low, span = found.min(0), np.maximum(np.ptp(found, axis=0), 1e-9)
    return (found - low) / span * np.array([1.0, 0.55])


def _draw_borders(axes: Axes, graph: nx.Graph, places: dict[str, Array], few: bool) -> None:
    for a, b, border in graph.edges(data=True):
        (x1, y1), (x2, y2) = places[a], places[b]
        style = "solid" if border["closed"] else (0, (4, 3))
        axes.plot([x1, x2], [y1, y2], color=GREY, linewidth=1.2, linestyle=style, zorder=1)
        if few:
            names = [name.partition(".")[2] or name for name in border["branches"]]
            text = ", ".join(names[:2]) + (f" + {len(names) - 2}" if len(names) > 2 else "")
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
            axes.text((x1 + x2) / 2, (y1 + y2) / 2, text, fontsize=6.5, color=GREY, ha="center", va="center",
                      zorder=2, bbox=box)  # fmt: skip


def _draw_zones(axes: Axes, graph: nx.Graph, places: dict[str, Array], colours: dict[str, str], source: str) -> None:
    most = max(*(graph.nodes[name]["load_kw"] for name in graph), 1e-9)
    for name, (x, y) in places.items():
        size = 14 + 16 * np.sqrt(max(graph.nodes[name]["load_kw"], 0.0) / most)
        face, edge = mixed(colours[name], "white", 0.5), mixed(colours[name], "black", 0.3)
        axes.plot(x, y, "s" if name == source else "o", markersize=size, markerfacecolor=face, markeredgecolor=edge,
                  zorder=3)  # fmt: skip
        text = axes.text(x, y, name.removeprefix("zone_"), fontsize=8, color=INK, ha="center", va="center", zorder=4)
        text.set_fontsize(min(8.0, 8.0 * 0.9 * size / max(drawn_size(text)[0], 1e-9)))


def _say_contents(axes: Axes, zone: Zone, place: Array, node: dict[str, float]) -> None:
    parts = [f"{node['buses']:,} buses, {node['load_kw']:,.0f} kW load"]
    things = [(len(zone.units), "unit"), (len(zone.taps), "tap"), (len(zone.switches), "switch")]
    endings = {"unit": "s", "tap": "s", "switch": "es"}
    parts.append(", ".join(f"{count} {noun}{endings[noun] * (count > 1)}" for count, noun in things if count))
    below: dict[str, Any] = {"xytext": (0, -19), "textcoords": "offset points", "ha": "center", "va": "top"}
    below["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
    text = "\n".join(part for part in parts if part)
    axes.annotate(text, (float(place[0]), float(place[1])), fontsize=6.5, color=INK, zorder=5, **below)


def _draw_legend(axes: Axes, graph: nx.Graph) -> None:
    """Only what is drawn."""
    kinds = {bool(border["closed"]) for _, _, border in graph.edges(data=True)}
    handles = [
        (legend_sample("o", "white", INK, 7), "zone, larger with more load"),
        (legend_sample("s", "white", INK, 7), "zone of the source"),
    ]
    if True in kinds:
        handles.append((Line2D([], [], color=GREY, linewidth=1.2), "border"))
    if False in kinds:
        handles.append((Line2D([], [], color=GREY, linewidth=1.2, linestyle=(0, (4, 3))), "border of open switches"))
    axes.legend(*zip(*handles, strict=True), loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4, frameon=False,
                fontsize=7, labelcolor=INK, columnspacing=1.4)  # fmt: skip

"""Voltages along the feeder: over the distance from the source by phase, and bus by hour."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, BoolArray, IntArray
from dss_marl.grid.voltage_band import VoltageBand
from dss_marl.plots.bus_layout import spanning_tree
from dss_marl.plots.feeder_map import COLOURS, HIGHEST, LOWEST, mark_band
from dss_marl.plots.recorded_day import DayTables, RecordedDays
from dss_marl.plots.style import ALARM, INK, PAGE_IN, PALETTE, clock_axis, figure_title, new_figure, plain_axes

PHASES = {"1": PALETTE[0], "2": PALETTE[7], "3": PALETTE[2]}
DEAD = "#c8c8c8"
NAMES = 28  # buses named beside the heat map, at most


def distances_km(feeder: Feeder, closed: BoolArray | None = None) -> Array:
    """(B) length of the shortest closed path from the source to each bus [km]; NaN where there is none.

    Args:
        feeder: its lines give the lengths; transformers and switches have none.
        closed: (S) states of the switches; None: as in the circuit.
    """
    closed = feeder.setpoints().closed if closed is None else np.asarray(closed, bool)
    graph = nx.Graph()
    graph.add_nodes_from(bus.name for bus in feeder.buses)
    for branch in feeder.branches:
        if branch.switch < 0 or closed[branch.switch]:
            length = max(float(branch.length_km), 0.0)
            known = graph.get_edge_data(branch.bus1, branch.bus2, {"km": np.inf})
            graph.add_edge(branch.bus1, branch.bus2, km=min(length, known["km"]))
    reached: dict[str, float] = nx.single_source_dijkstra_path_length(graph, feeder.source_bus, weight="km")
    return np.array([reached.get(bus.name, np.nan) for bus in feeder.buses])


def voltage_profile_figure(
    feeder: Feeder,
    v_pu: np.ndarray,
    closed: np.ndarray | None = None,
    title: str = "",
    band: VoltageBand | None = None,
) -> Figure:
    """Node voltages over the distance from the source, a colour for each phase.

    Lines follow the branches; vertical ones are regulators and transformers. De-energised nodes are left out.

    Args:
        feeder: the circuit.
        v_pu: (N) voltage of each node [pu]; 0 or NaN where de-energised.
        closed: (S) states of the switches; None: as in the circuit.
        title: of the figure.
        band: whose limits are drawn, such as ``task.band``; None: 0.95 to 1.05 pu.

    Raises:
        ValueError: another number of nodes or switches.
    """
    v: Array = np.asarray(v_pu, float)
    _check_shapes(feeder, v, closed)
    shut = feeder.setpoints().closed if closed is None else np.asarray(closed, bool)
    km = distances_km(feeder, shut)[feeder.node_bus]
    live = np.isfinite(km) & np.isfinite(v) & (v > 0)
    phase = np.array([node.rsplit(".", 1)[1] for node in feeder.nodes])
    figure = new_figure(PAGE_IN, 3.0)
    figure.set_layout_engine("constrained", h_pad=0.04, w_pad=0.04)
    axes = figure.subplots()
    for name, colour in PHASES.items():
        own = live & (phase == name)
        if own.any():
            _draw_phase(axes, feeder, shut, (km, v), own, colour)
    band = band or VoltageBand()
    _band_lines(axes, band)
    plain_axes(axes)
    axes.set_xlabel("distance from the source [km]", fontsize=8, color=INK)
    axes.set_ylabel("node voltage [pu]", fontsize=8, color=INK)
    axes.set_xlim(left=0)
    drawn = [name for name in PHASES if (live & (phase == name)).any()]
    handles = [Line2D([], [], color=PHASES[name], marker="o", markersize=2.5, linewidth=1.0) for name in drawn]
    handles.append(Line2D([], [], color=ALARM, linewidth=0.8, linestyle=(0, (4, 2))))
    names = [*(f"phase {name}" for name in drawn), f"{band.limits_text} pu"]
    axes.legend(handles, names, frameon=False, fontsize=7, labelcolor=INK, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure_title(figure, title)
    return figure


def _check_shapes(feeder: Feeder, v: Array, closed: np.ndarray | None) -> None:
    if v.shape != (len(feeder.nodes),):
        raise ValueError(f"feeder {feeder.name!r} has {len(feeder.nodes)} nodes; got voltages of shape {v.shape}")
    if closed is not None and np.shape(closed) != (len(feeder.switches),):
        raise ValueError(
            f"feeder {feeder.name!r} has {len(feeder.switches)} switches; got states of shape {np.shape(closed)}"
        )


def _draw_phase(
    axes: Axes, feeder: Feeder, closed: BoolArray, places: tuple[Array, Array], own: BoolArray, colour: str
) -> None:
    """Dots for the nodes of one phase, and lines for the closed branches between them."""
    x, y = places
    first, second, switch = feeder.joints
    joined = own[first] & own[second] & np.append(closed, True)[switch]
    ends = np.stack([first[joined], second[joined]])
    gaps = np.full(ends.shape[1], np.nan)
    many: dict[str, Any] = {"linewidth": 0.7 if own.sum() < 500 else 0.4, "zorder": 2}
    lines = [np.stack([values[ends[0]], values[ends[1]], gaps], axis=1).ravel() for values in (x, y)]
    axes.plot(lines[0], lines[1], color=colour, **many)
    axes.plot(x[own], y[own], "o", color=colour, markersize=2.2 if own.sum() < 500 else 1.0, linestyle="none", zorder=3)


def _band_lines(axes: Axes, band: VoltageBand) -> None:
    for limit in band.limits:
        axes.axhline(limit, color=ALARM, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)


# --- bus by hour ----------------------------------------------------------------------------------------------------


def buses_along(feeder: Feeder) -> IntArray:
    """(B) bus indices from the source outward, lateral by lateral, the longest path from each bus last."""
    tree = spanning_tree(feeder.graph(), feeder.source_bus)
    order: list[str] = []
    for top in [bus for bus in tree if tree.in_degree(bus) == 0]:
        waiting = [top]
        while waiting:
            bus = waiting.pop()
            order.append(bus)
            waiting += sorted(tree[bus], key=lambda child: -tree.nodes[child]["height"])  # the lowest is taken first
    return np.array([feeder.bus_index[bus] for bus in order])


def voltage_heat_map_figure(recording: RecordedDays, day: int | None = None, title: str | None = None) -> Figure:
    """Voltages bus by hour: buses from the source outward, each in its phase farthest from 1 pu.

    Args:
        recording: from ``dss_marl.record``.
        day: its number; None: the first day recorded.
        title: of the figure; None: scenario, controller, split and day. "" for none.

    Raises:
        ValueError: the day is not recorded.
    """
    own = DayTables(recording, day)
    feeder = own.task.feeder
    order = buses_along(feeder)
    values = np.ma.masked_invalid(worst_by_bus(feeder, own.alive())[:, order].T)
    figure = new_figure(PAGE_IN, float(np.clip(0.03 * len(order), 3.0, 5.0)))
    figure.set_layout_engine("constrained", h_pad=0.04, w_pad=0.04)
    axes = figure.subplots()
    colours = COLOURS.with_extremes(bad=DEAD)
    edges = np.arange(len(order) + 1)
    mesh = axes.pcolormesh(own.hours, edges, values, cmap=colours, norm=Normalize(LOWEST, HIGHEST), rasterized=True)
    axes.set_ylim(len(order), 0)
    shown = np.arange(0, len(order), -(-len(order) // NAMES))  # evenly, so that no two names overlap
    axes.set_yticks((shown + 0.5).tolist(), [feeder.buses[order[k]].name for k in shown])
    plain_axes(axes)
    axes.tick_params(axis="y", labelsize=6)
    axes.set_ylabel("bus, from the source outward", fontsize=8, color=INK)
    clock_axis(axes, float(own.hours[0]), float(own.hours[-1]))
    axes.set_xlabel("time of day [h]", fontsize=8, color=INK)
    _voltage_bar(figure, axes, mesh, values.compressed(), own.task.band)
    if np.ma.is_masked(values):
        handle = Patch(facecolor=DEAD)
        axes.legend([handle], ["de-energised"], frameon=False, fontsize=7, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    name = f"{own.scenario.name}, {recording.controller}, {recording.split} day {own.number}"
    figure_title(figure, name if title is None else title)
    return figure


def worst_by_bus(feeder: Feeder, v_pu: Array) -> Array:
    """(T, B) voltage of each bus in its phase farthest from 1 pu [pu], from (T, N); NaN where all are NaN."""
    worst = np.full((len(v_pu), len(feeder.buses)), np.nan)
    far = np.full(worst.shape, -1.0)
    for n, bus in enumerate(feeder.node_bus):
        off = np.abs(v_pu[:, n] - 1)
        better = off > far[:, bus]  # False for NaN
        worst[better, bus], far[better, bus] = v_pu[better, n], off[better]
    return worst


def _voltage_bar(figure: Figure, axes: Axes, mesh: Any, values: Array, band: VoltageBand) -> None:
    below, above = bool((values < LOWEST).any()), bool((values > HIGHEST).any())
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}.get((below, above), "both")
    bar = figure.colorbar(mesh, ax=axes, extend=extend, pad=0.02, aspect=30)
    mark_band(bar, band, 1.2)
    bar.ax.tick_params(labelsize=7, colors=INK, length=2.5)
    bar.set_label("bus voltage, worst phase [pu]", fontsize=8, color=INK)
    bar.outline.set_linewidth(0.5)

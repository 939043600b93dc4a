"""The map of a running environment: drawn once, then its artists follow the state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, GridState
from dss_marl.plots.feeder_map import (
    COLOURS,
    HIGHEST,
    LOWEST,
    NAMED,
    draw_voltage_bar,
    draw_zones,
    legend_sample,
    outside_band,
    worst_voltages,
)
from dss_marl.plots.live_readings import DeviceReadings, TapReadings, place_of
from dss_marl.plots.map_canvas import MapCanvas, empty_chart
from dss_marl.plots.map_devices import OFF, SAMPLE, draw_series, draw_shunts
from dss_marl.plots.map_geometry import sheet_of
from dss_marl.plots.map_labels import label_zones, name_buses
from dss_marl.plots.style import ALARM, GREY, INK
from dss_marl.plots.symbols import shunt_symbol

MOVED, LIVE, DEAD = "#ffd84d", "#444444", "#b4b4b4"
THIN, FULL, MOST = 0.6, 3.6, 1.25  # line widths at no load and at the rating [pt]; loading drawn as widest [1]
LARGEST = 1.35  # enlargement of a small map at most


class LiveMap:
    """Zones, branches as wide as they are loaded, voltages, devices with their readings, faults, and what just moved.

    Attributes:
        legend: name to sample of what the map shows.
        zone_colours: of each zone.
        moving: artists that change, lowest first.
        above: artists that stay and lie above those.
    """

    def __init__(self, axes: Axes, task: Task, width: float, height: float) -> None:
        sheet = sheet_of(task.feeder).fitted(width, height, LARGEST)
        figure = axes.get_figure(root=True)
        assert figure is not None
        box, (inch_w, inch_h) = axes.get_position(), figure.get_size_inches()
        w, h = sheet.width / 72 / inch_w, sheet.height / 72 / inch_h
        axes.set_position((box.x0 + (box.width - w) / 2, box.y0 + (box.height - h) / 2, w, h))
        self._task = task
        chart = self._chart = empty_chart(axes, sheet, task.zones, task.start.closed, True)
        self.legend, self.zone_colours = chart.legend, chart.colours
        draw_zones(chart)
        series, shunts = draw_series(chart), draw_shunts(chart)
        self._switches = _Switches(chart, series)
        self._banks = _Banks(chart, shunts)
        self._taps = TapReadings(chart, series)
        self._devices = DeviceReadings(chart, task, shunts)
        label_zones(chart)
        if len(sheet.xy) <= NAMED:
            name_buses(chart)
        self._branches, self._buses = _Branches(chart), _Buses(chart)
        self._moved = _points(chart, "o", 1.9 * sheet.symbol, 2.5, facecolors=MOVED, linewidths=0)
        self._faults = _Faults(chart, bool(task.scenario.faults))
        if self._switches.artists or self._banks.artists or self._taps.artists:
            chart.legend["just moved"] = legend_sample("o", MOVED, MOVED, 8)
        readings = (*self._taps.artists, *self._devices.artists)
        self.moving: tuple[Artist, ...] = (
            self._branches.lines, self._moved, *self._buses.artists, *self._switches.artists, *self._banks.artists,
            *readings, *self._faults.artists,
        )  # fmt: skip
        changing = set(self.moving)
        self.above = [artist for artist in (*axes.lines, *axes.texts) if artist not in changing]

    def update(self, before: GridState | None, state: GridState) -> int:
        """Show a state, and in bold what moved since the one before it; returns how many buses are outside the band."""
        chart = self._chart
        alive = np.zeros(len(chart.sheet.xy), bool)
        alive[chart.feeder.node_bus[state.solution.energised]] = True
        self._branches.update(state, alive)
        count = self._buses.update(worst_voltages(chart.feeder, state), outside_band(chart, state))
        last = state if before is None else before
        switched = last.solution.closed != state.solution.closed
        moved = [
            *self._switches.update(state.solution.closed, switched),
            *self._banks.update(state.solution.closed, switched),
            *self._taps.update(state.setpoints.tap, last.setpoints.tap),
        ]
        self._moved.set_offsets(np.reshape(moved, (-1, 2)))
        self._devices.update(state, last)
        self._faults.update(state.faulted)
        return count

    def draw_bar(self) -> None:
        """The colour bar, to the right of the map, and a text above it."""
        draw_voltage_bar(self._chart, ScalarMappable(Normalize(LOWEST, HIGHEST), COLOURS), np.ones(1))


def _points(chart: MapCanvas, marker: str, size: float, zorder: float, **style: object) -> PathCollection:
    """Markers of a size [pt] on the map, none yet."""
    return chart.axes.scatter([], [], s=size**2, marker=marker, zorder=zorder, clip_on=False, **style)  # type: ignore[arg-type]


class _Branches:
    """Lines as wide as they are loaded; open ones dashed, dead ones grey, overloaded ones red."""

    def __init__(self, chart: MapCanvas) -> None:
        sheet = self._sheet = chart.sheet
        index = {frozenset((edge.a, edge.b)): e for e, edge in enumerate(sheet.edges)}
        bus = chart.feeder.bus_index
        self._edge = np.array(
            [index.get(frozenset((bus[row.bus1], bus[row.bus2])), -1) for row in chart.feeder.branches], np.int64
        )
        self._ends = np.array([(edge.a, edge.b) for edge in sheet.edges], np.int64).reshape(-1, 2)
        self._openable = [e for e, edge in enumerate(sheet.edges) if edge.can_open]
        self._shut: BoolArray | None = None
        self.lines = LineCollection(sheet.lines, zorder=2, capstyle="round")
        chart.axes.add_collection(self.lines)
        chart.legend["branch, unloaded"] = Line2D([], [], color=LIVE, linewidth=THIN)
        chart.legend["at its rating"] = Line2D([], [], color=LIVE, linewidth=FULL)
        chart.legend["overloaded"] = Line2D([], [], color=ALARM, linewidth=FULL + 0.6)
        if self._openable:
            chart.legend["open branch"] = Line2D([], [], color=GREY, linewidth=0.8, linestyle=(0, (3, 2)))

    def update(self, state: GridState, alive: BoolArray) -> None:
        """Widths and colours of a state; ``alive`` (B) tells which buses are energised."""
        edges = self._sheet.edges
        shut = np.ones(len(edges), bool)
        for e in self._openable:
            shut[e] = edges[e].closed(state.solution.closed)
        loading = np.zeros(len(edges) + 1)  # the last is for branches that the map does not show
        np.maximum.at(loading, self._edge, state.solution.loading)
        loading = np.where(shut, loading[:-1], 0.0)
        if self._shut is None or (shut != self._shut).any():
            self._shut = shut
            self.lines.set_linestyle(["solid" if one else (0, (3, 2)) for one in shut])
        self.lines.set_linewidth(np.where(shut, THIN + (FULL - THIN) * np.minimum(loading, MOST), 0.8).tolist())
        live = alive[self._ends].all(1)
        self.lines.set_color(np.select([~shut, ~live, loading > 1], [GREY, DEAD, ALARM], LIVE).tolist())


class _Buses:
    """Buses coloured by voltage, ringed outside the band, crossed out where dead."""

    def __init__(self, chart: MapCanvas) -> None:
        sheet = chart.sheet
        self._xy = sheet.xy
        edge = float(np.clip(0.1 * sheet.dot, 0.1, 0.7))
        line = float(np.clip(0.24 * sheet.dot, 0.5, 1.5))
        self._rings = _points(
            chart, "o", 1.55 * sheet.dot + 1, 3.5, facecolors="none", edgecolors=ALARM, linewidths=line
        )
        self._dots = _points(chart, "o", sheet.dot, 4, c=[], cmap=COLOURS, edgecolors=INK, linewidths=edge)
        self._dots.set_norm(Normalize(LOWEST, HIGHEST))
        self._dead = _points(chart, "X", sheet.dot, 4, c="white", edgecolors=GREY, linewidths=edge)
        self._rings.set_gid("outside")
        self.artists = (self._rings, self._dots, self._dead)
        chart.legend[f"outside {chart.band.text}"] = legend_sample("o", "none", ALARM, 7, 1.4)
        if any(edge.can_open for edge in sheet.edges):
            chart.legend["de-energised"] = legend_sample("X", "white", GREY, 6)

    def update(self, v_pu: Array, beyond: BoolArray) -> int:
        """Voltages (B), NaN where dead [pu], and which are outside the band; returns how many."""
        alive = ~np.isnan(v_pu)
        self._dots.set_offsets(self._xy[alive])
        self._dots.set_array(v_pu[alive])
        self._dead.set_offsets(self._xy[~alive])
        self._rings.set_offsets(self._xy[beyond])
        return int(beyond.sum())


class _Switches:
    """Switches as squares, filled where closed."""

    def __init__(self, chart: MapCanvas, series: dict[int, Line2D]) -> None:
        edges = chart.sheet.edges
        self._edges = [edges[e] for e in series if edges[e].kind == "switch"]
        self._rows = [list(edge.switches) for edge in self._edges]
        squares = []
        for e, marker in series.items():
            if edges[e].kind == "switch":
                middle, angle = chart.sheet.middle(e)
                turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
                half = 0.3 * chart.sheet.symbol
                squares.append(middle + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) @ turn)
                marker.remove()
        self._middle = np.array([square.mean(0) for square in squares]).reshape(-1, 2)
        self._squares = PolyCollection(squares, edgecolors=INK, linewidths=0.9, zorder=6)
        self._squares.set_gid("switches")
        chart.axes.add_collection(self._squares)
        self.artists: Sequence[Artist] = (self._squares,) if squares else ()

    def update(self, closed: BoolArray, switched: BoolArray) -> list[Array]:
        """States (S) and which of them have changed; returns where."""
        if not self._edges:
            return []
        self._squares.set_facecolor([INK if edge.closed(closed) else "white" for edge in self._edges])
        return [place for place, rows in zip(self._middle, self._rows, strict=True) if switched[rows].any()]


class _Banks:
    """Capacitor banks, grey where off."""

    def __init__(self, chart: MapCanvas, shunts: dict[tuple[str, str], Line2D]) -> None:
        rows: dict[str, list[int]] = {}
        for s, row in enumerate(chart.feeder.switches):
            if row.kind == "capacitor":
                rows.setdefault(row.bus, []).append(s)
        self._banks = [(shunts[bus, "capacitor"], own) for bus, own in rows.items() if (bus, "capacitor") in shunts]
        self.artists: Sequence[Artist] = tuple(marker for marker, _ in self._banks)
        for name, ink in (("capacitor", INK), ("capacitor, off", OFF)) if self._banks else ():
            chart.legend[name] = shunt_symbol("capacitor").marker(0, 0, SAMPLE, ink=ink)  # a later frame may have both

    def update(self, closed: BoolArray, switched: BoolArray) -> list[Array]:
        """States (S) and which of them have changed; returns where."""
        for marker, rows in self._banks:
            marker.set_markeredgecolor(INK if closed[rows].any() else OFF)
        return [place_of(marker) for marker, rows in self._banks if switched[rows].any()]


class _Faults:
    """Red crosses on the branches that are broken."""

    def __init__(self, chart: MapCanvas, possible: bool) -> None:
        feeder, sheet = chart.feeder, chart.sheet
        index = {frozenset((edge.a, edge.b)): e for e, edge in enumerate(sheet.edges)}
        self._branches = []
        for row in feeder.branches:
            edge = index.get(frozenset((feeder.bus_index[row.bus1], feeder.bus_index[row.bus2])))
            if edge is not None:
                self._branches.append(([*row.nodes1, *row.nodes2], sheet.middle(edge)[0]))
        size = 1.3 * sheet.symbol
        self._halo = _points(chart, "x", size, 9, c="white", linewidths=5.5)
        self._cross = _points(chart, "x", size, 9, c=ALARM, linewidths=2.8)
        self._cross.set_gid("faults")
        self.artists = (self._halo, self._cross)
        if possible:
            chart.legend["fault"] = legend_sample("x", ALARM, ALARM, 7, 2.2)

    def update(self, faulted: BoolArray | None) -> None:
        """Crosses where all nodes (N) at both ends of a branch are faulted."""
        at = [] if faulted is None or not faulted.any() else self._at(faulted)
        for artist in self.artists:
            artist.set_offsets(np.reshape(at, (-1, 2)))

    def _at(self, faulted: BoolArray) -> list[Array]:
        return [place for nodes, place in self._branches if faulted[nodes].all()]

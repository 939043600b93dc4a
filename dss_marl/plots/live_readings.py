"""What devices show on the map of a running environment: taps as numbers, power, and gauges of kvar and charge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.text import Text

from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, GridState, IntArray
from dss_marl.plots.map_canvas import MapCanvas
from dss_marl.plots.style import GREY, INK, PALETTE, drawn_size, minus_signs

SIZE = 7.0  # of readings [pt]
GAUGE, HIGH = 4.2, 15.0  # width and height of a gauge [pt]
GIVEN, TAKEN, CHARGE = PALETTE[0], PALETTE[7], PALETTE[2]  # kvar into the grid, kvar out of it, charge
CHARGE_LABEL = "state of charge [1]"
OFF_KW = 0.05  # below this a unit counts as off
TIGHT = 0.06  # share of a reading that may lie on something


def kilowatts(kw: float) -> str:
    """A power as a reading [kW]: a decimal below 10, a real minus sign."""
    text = f"{kw:.0f}" if abs(kw) >= 9.95 or abs(kw) < 0.05 else f"{kw:.1f}"
    return minus_signs(text.replace("-0", "0") if abs(kw) < 0.05 else text) + " kW"


class TapReadings:
    """Tap positions next to each regulator, in the order of phases; bold where one just moved."""

    def __init__(self, chart: MapCanvas, series: dict[int, Line2D]) -> None:
        rows: dict[frozenset[int], list[int]] = {}
        bus = chart.feeder.bus_index
        for r, tap in enumerate(chart.feeder.taps):
            rows.setdefault(frozenset((bus[tap.bus1], bus[tap.bus2])), []).append(r)
        self._readings: list[tuple[Text, IntArray, Array]] = []
        for e, marker in series.items():
            edge = chart.sheet.edges[e]
            own = rows.get(frozenset((edge.a, edge.b)), [])
            if own:
                own.sort(key=lambda r: chart.feeder.taps[r].phases)
                text = _reading(chart, minus_signs(" ".join(["-16"] * len(own))))
                box, place = np.array(drawn_size(text)), place_of(marker)
                spot = chart.room.place_beside(place, 0.6 * chart.sheet.symbol + 1, box, 1.0)
                if spot is not None:
                    text.set_position((float(spot[0]), float(spot[1])))
                    self._readings.append((text, np.array(own), place))
                else:
                    text.remove()
        self.artists: Sequence[Artist] = tuple(text for text, _, _ in self._readings)

    def update(self, tap: IntArray, last: IntArray) -> list[Array]:
        """Positions (R) and those before; returns where one has moved."""
        moved = []
        for text, rows, place in self._readings:
            text.set_text(minus_signs(" ".join(f"{one:+d}" if one else "0" for one in tap[rows])))
            changed = bool((tap[rows] != last[rows]).any())
            text.set_fontweight("bold" if changed else "normal")
            if changed:
                moved.append(place)
        return moved


@dataclass(frozen=True)
class _Device:
    """The units of one kind at a bus: their injections, their reading, and the middle of the gauge's foot."""

    kind: str
    rows: IntArray
    text: Text | None
    foot: Array


class DeviceReadings:
    """Active power of each device as a number, reactive power of inverters and charge of batteries as gauges.

    A gauge of kvar is filled from its middle, upwards where reactive power goes into the grid, by its share of the
    rating. What finds no room is left out.
    """

    def __init__(self, chart: MapCanvas, task: Task, shunts: dict[tuple[str, str], Line2D]) -> None:
        self._rating, self._charge = _ratings(task), _charge_rows(task)
        rows: dict[tuple[str, str], list[int]] = {}
        for j, row in enumerate(task.feeder.injections):
            rows.setdefault((row.bus, row.kind), []).append(j)
        self._devices = []
        for (bus, kind), marker in shunts.items():
            if (bus, kind) in rows:
                device = self._placed(chart, kind, np.array(rows[bus, kind]), place_of(marker))
                if device is not None:
                    self._devices.append(device)
        self._source = self._import_reading(chart, task, shunts)
        self._fills = LineCollection([], linewidths=GAUGE - 1.4, capstyle="butt", zorder=7)
        chart.axes.add_collection(self._fills)
        self._gauged = [device for device in self._devices if device.kind in self._gauges]
        for device in self._gauged:
            _frame(chart, device.foot, self._gauges[device.kind])
        if any(device.kind != "battery" for device in self._gauged):
            chart.legend["kvar into the grid"] = Line2D([], [], color=GIVEN, linewidth=GAUGE)
            chart.legend["kvar drawn"] = Line2D([], [], color=TAKEN, linewidth=GAUGE)
        if any(device.kind == "battery" for device in self._gauged):
            chart.legend["charge"] = Line2D([], [], color=CHARGE, linewidth=GAUGE)
        texts = [device.text for device in self._devices if device.text is not None]
        self.artists: Sequence[Artist] = (
            *([self._fills] if self._gauged else []), *texts, *([self._source] if self._source else []),
        )  # fmt: skip

    @property
    def _gauges(self) -> dict[str, float]:
        """Kind to where its gauge is empty, from the foot [1]."""
        return {"inverter": 0.5, "battery": 0.0}

    def _placed(self, chart: MapCanvas, kind: str, rows: IntArray, place: Array) -> _Device | None:
        """A reading with its gauge on the side of the device; the gauge alone, or None, where there is no room."""
        gauge = GAUGE + 3.5 if kind in self._gauges else 0.0
        text = _reading(chart, kilowatts(-float(self._rating[rows].sum())))
        box = np.array(drawn_size(text))
        whole = np.array([box[0] + gauge, max(box[1], HIGH + 2 if gauge else 0.0)])
        reach = 0.6 * chart.sheet.symbol + 1.5
        spot = chart.room.place_beside(place, reach, whole, TIGHT)
        if spot is None:
            text.remove()
            alone = np.array([GAUGE + 1, HIGH + 2])
            spot = chart.room.place_beside(place, reach, alone, TIGHT) if gauge else None
            return None if spot is None else _Device(kind, rows, None, spot - np.array([0, HIGH / 2]))
        side = -1 if spot[0] < place[0] - whole[0] / 2 else 1  # of the device on which the reading lies
        near = float(spot[0] - side * whole[0] / 2)
        text.set(x=near + side * gauge, y=float(spot[1]), ha="left" if side > 0 else "right")
        return _Device(kind, rows, text, np.array([near + side * GAUGE / 2, spot[1] - HIGH / 2]))

    def _import_reading(self, chart: MapCanvas, task: Task, shunts: dict[tuple[str, str], Line2D]) -> Text | None:
        """What the feeder imports, next to the source."""
        text = _reading(chart, kilowatts(-max(1.0, float(-task.feeder.nominal_kw[task.feeder.loads].sum()))))
        place = place_of(shunts[task.feeder.source_bus, "source"])
        spot = chart.room.place_beside(place, 0.7 * chart.sheet.symbol + 1, np.array(drawn_size(text)), 0.3)
        if spot is None:
            text.remove()
            return None
        text.set(x=float(spot[0]), y=float(spot[1]), fontweight="normal")
        return text

    def update(self, state: GridState, last: GridState) -> None:
        """Readings of a state; bold where a unit has come on or gone off since the last one."""
        kw, was = state.solution.served_kw, last.solution.served_kw
        for device in self._devices:
            if device.text is not None:
                power = float(kw[device.rows].sum())
                device.text.set_text(kilowatts(power))
                turned = device.kind != "inverter" and (abs(power) < 0.05) != (
                    abs(float(was[device.rows].sum())) < 0.05
                )
                device.text.set_fontweight("bold" if turned else "normal")
        if self._source is not None:
            self._source.set_text(kilowatts(float(state.solution.source_kw)))
        if self._gauged:
            levels = [self._level(device, state) for device in self._gauged]
            self._fills.set_segments([one for one, _ in levels])
            self._fills.set_color([colour for _, colour in levels])

    def _level(self, device: _Device, state: GridState) -> tuple[Array, str]:
        """The filled part of a gauge (2, 2), and its colour."""
        empty = self._gauges[device.kind]
        if device.kind == "battery":
            share = float(np.mean([state.telemetry[self._charge[j]] for j in device.rows if j in self._charge] or [0]))
            colour = CHARGE
        else:
            share = float(state.setpoints.kvar[device.rows].sum() / max(self._rating[device.rows].sum(), 1e-9)) / 2
            colour = GIVEN if share > 0 else TAKEN
        ends = device.foot + HIGH * np.array([[0, empty], [0, np.clip(empty + share, 0, 1)]])
        return ends, colour


def place_of(marker: Line2D) -> Array:
    """(2) where a symbol stands."""
    return np.asarray(marker.get_xydata(), float)[0]


def _reading(chart: MapCanvas, widest: str) -> Text:
    """A text on the map, sized by the widest that it will show, in bold."""
    style = {"ha": "center", "va": "center", "fontsize": SIZE, "color": INK, "zorder": 8, "fontweight": "bold"}
    return chart.axes.text(0, 0, widest, **style)  # type: ignore[arg-type]


def _frame(chart: MapCanvas, foot: Array, empty: float) -> None:
    """The outline of a gauge, and a tick where it is empty."""
    half = GAUGE / 2
    x, y = foot
    corners = np.array([(-half, 0), (half, 0), (half, HIGH), (-half, HIGH), (-half, 0)]) + foot
    chart.axes.plot(*corners.T, color=GREY, linewidth=0.6, zorder=6)
    if empty:
        level = y + empty * HIGH
        chart.axes.plot([x - half - 1.2, x + half + 1.2], [level, level], color=INK, linewidth=0.8, zorder=8)


def _ratings(task: Task) -> Array:
    """(J) rating of each injection [kVA], or [kW] where there is none."""
    rating = np.abs(task.feeder.nominal_kw)
    for group in task.device_groups:
        if hasattr(group, "kva") and hasattr(group, "injections") and np.shape(group.kva) == np.shape(group.injections):
            rating[group.injections] = group.kva
    return rating


def _charge_rows(task: Task) -> dict[int, int]:
    """Injection to the entry of the telemetry that holds its state of charge."""
    rows: dict[int, int] = {}
    start = 0
    for group in task.device_groups:
        labels = list(group.telemetry_labels)
        if CHARGE_LABEL in labels and hasattr(group, "injections"):
            first = start + labels.index(CHARGE_LABEL)
            rows |= {int(j): first + d * len(labels) for d, j in enumerate(group.injections)}
        start += group.size * len(labels)
    return rows

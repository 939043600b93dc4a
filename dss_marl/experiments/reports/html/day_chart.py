"""The picture of a day: a column for each controller, a row for each quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dss_marl.envs.task import Task
from dss_marl.experiments.recording import Recording
from dss_marl.experiments.reports.html.charts import GREY, INK, LINE, PALETTE, TITLE_PX, styled
from dss_marl.experiments.reports.html.day_panels import Panel, band, panels
from dss_marl.experiments.reports.html.text import clock, number, safe, shortened
from dss_marl.grid.state import Array

_GAP, _HEAD, _FOOT = 44.0, 34.0, 40.0  # between rows of panels, above and below them [px]
_ROW, _LINES = 17.0, 150.0  # height of a device's row and of a panel of lines [px]
_DIVERGING = [[0.0, "#a6561b"], [0.25, "#e3b06b"], [0.5, "#f4f4f2"], [0.75, "#7db0d4"], [1.0, "#1f5a94"]]
_RISING = [[0.0, "#f4f4f2"], [0.3, "#f3c98b"], [0.65, "#d9782d"], [1.0, "#7a2d0c"]]
_BINARY = [[0.0, "#D55E00"], [0.5, "#D55E00"], [0.5, "#cfe0ec"], [1.0, "#cfe0ec"]]  # open, closed


@dataclass(frozen=True)
class _Row:
    """Where a row of panels lies: its place from above, its top and bottom as shares of the plot."""

    number: int
    top: float
    bottom: float


def day_figure(task: Task, day: Mapping[str, Recording], colours: Mapping[str, str]) -> go.Figure:
    """A day as operated under several controllers.

    Args:
        task: of the policy.
        day: controller to its recording of the day.
        colours: controller to its colour.
    """
    found = panels(task, day)
    heights = [_LINES, *(_LINES if one.look == "lines" else max(_ROW * len(one.names), 34.0) for one in found)]
    plot = sum(heights) + _GAP * (len(heights) - 1)
    figure = make_subplots(
        len(heights), len(day), shared_xaxes="all", shared_yaxes="rows", row_heights=heights,
        vertical_spacing=_GAP / plot if len(heights) > 1 else 0, horizontal_spacing=0.02,
    )  # fmt: skip
    rows, top = [], 1.0
    for k, height in enumerate(heights):
        rows.append(_Row(k + 1, top, top - height / plot))
        top -= (height + _GAP) / plot
    styled(figure, plot + _HEAD + _GAP + _FOOT, margin={"l": 10, "r": 74, "t": _HEAD + _GAP / 2, "b": _FOOT})
    figure.update_layout(legend={"y": rows[1].top, "x": 1, "xanchor": "right", "yanchor": "bottom"})
    _add_heads(figure, day, colours, plot)
    _add_bands(figure, task, day, colours, rows[0])
    for row, panel in zip(rows[1:], found, strict=True):
        add = _add_lines if panel.look == "lines" else _add_colours
        add(figure, task, day, panel, row)
    _set_clock(figure, task)
    return figure


def _edges(task: Task) -> Array:
    """(T + 1) hours after midnight at which intervals begin and end."""
    scenario = task.scenario
    return np.asarray(scenario.start_hour + np.arange(scenario.steps + 1) * scenario.dt_h)


def _add_heads(figure: go.Figure, day: Mapping[str, Recording], colours: Mapping[str, str], plot: float) -> None:
    for column, (name, recording) in enumerate(day.items(), start=1):
        failed = ", failed" if recording.figures[0]["failed"] else ""
        figure.add_annotation(
            text=f'<span style="color:{colours[name]}">\N{BLACK SQUARE}</span> <b>{safe(shortened(name, 18))}</b>'
            f"{failed}", showarrow=False, x=0,
            xanchor="left", xref=_domain("x", column), y=1 + (_GAP / 2 - 2) / plot, yref="paper", yanchor="bottom",
            font={"size": 14, "color": INK},
        )  # fmt: skip


def _domain(axis: str, number_: int) -> str:
    return f"{axis}{number_ if number_ > 1 else ''} domain"


def _title(figure: go.Figure, row: _Row, text: str) -> None:
    figure.add_annotation(
        text=text, showarrow=False, x=0, xanchor="left", xref="paper", y=row.top, yref="paper", yanchor="bottom",
        yshift=3, font={"size": TITLE_PX, "color": INK},
    )  # fmt: skip


def _add_bands(
    figure: go.Figure, task: Task, day: Mapping[str, Recording], colours: Mapping[str, str], row: _Row
) -> None:
    edges = _edges(task)
    for column, (name, recording) in enumerate(day.items(), start=1):
        lines = band(task, recording)
        x = edges[: len(lines["mean"]) + 1]
        lines = {key: np.append(line, line[-1:]) for key, line in lines.items()}
        common: dict[str, Any] = {"row": row.number, "col": column}
        plain, thick = ({"width": width, "color": colours[name], "shape": "hv"} for width in (0.8, 2))
        figure.add_scatter(x=x, y=_short(lines["lowest"]), line=plain, mode="lines", name="lowest", showlegend=False,
                           hovertemplate="lowest %{y:.4f} pu<extra></extra>", **common)  # fmt: skip
        figure.add_scatter(x=x, y=_short(lines["highest"]), line=plain, mode="lines", name="highest", showlegend=False,
                           fill="tonexty", fillcolor=_tint(colours[name]),
                           hovertemplate="highest %{y:.4f} pu<extra></extra>", **common)  # fmt: skip
        figure.add_scatter(x=x, y=_short(lines["mean"]), line=thick, mode="lines",
                           showlegend=False, name="mean", hovertemplate="mean %{y:.4f} pu<extra></extra>",
                           **common)  # fmt: skip
        for limit in task.band.limits:
            figure.add_scatter(x=edges[[0, -1]], y=[limit, limit], mode="lines", hoverinfo="skip", showlegend=False,
                               line={"color": GREY, "width": 1, "dash": "dash"}, **common)  # fmt: skip
    bands = [line for recording in day.values() for line in band(task, recording).values()]
    _set_range(figure, row, [np.array(task.band.limits), *bands])
    _title(figure, row, "Voltage [pu]: lowest, mean and highest scored node; limits dashed")


def _tint(colour: str) -> str:
    r, g, b = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({r},{g},{b},0.18)"


def _add_lines(figure: go.Figure, task: Task, day: Mapping[str, Recording], panel: Panel, row: _Row) -> None:
    edges = _edges(task)
    for column, name in enumerate(day, start=1):
        for k, line in enumerate(panel.names):
            values = panel.values[name].get(line)
            if values is None:
                continue
            figure.add_scatter(
                x=edges[: len(values) + 1], y=_short(np.append(values, values[-1:])), mode="lines", name=safe(line),
                legendgroup=line, showlegend=not _drawn(figure, line), row=row.number, col=column,
                line={"shape": "hv", "width": 1.8, "color": PALETTE[k % len(PALETTE)]},
                hovertemplate=f"{safe(line)} %{{y:,.4g}} {panel.unit}<extra></extra>",
            )  # fmt: skip
    _set_range(figure, row, [line for rows in panel.values.values() for line in rows.values()])
    _title(figure, row, panel.title)


def _drawn(figure: go.Figure, group: str) -> bool:
    return any(trace.legendgroup == group for trace in figure.data)


def _add_colours(figure: go.Figure, task: Task, day: Mapping[str, Recording], panel: Panel, row: _Row) -> None:
    edges, labels = _edges(task), _labels(panel.names)
    axis = f"coloraxis{row.number}"
    whole = [safe(name) for name in panel.names]
    for column, name in enumerate(day, start=1):
        rows = panel.values[name]
        length = max((len(values) for values in rows.values()), default=0)
        z = np.array([_padded(rows.get(own), length) for own in panel.names])
        figure.add_heatmap(
            x=edges[: length + 1], y=np.arange(len(labels) + 1) - 0.5, z=_short(z), coloraxis=axis, row=row.number,
            col=column, customdata=np.repeat(np.array(whole, object)[:, None], length, axis=1),
            hovertemplate="%{customdata}<br>%{z:.4g} " + panel.unit + "<extra></extra>", hoverongaps=False,
        )  # fmt: skip
    figure.update_yaxes(tickvals=list(range(len(labels))), ticktext=labels, row=row.number, tickfont={"size": 10.5})
    figure.update_yaxes(range=[len(labels) - 0.5, -0.5], showgrid=False, row=row.number)
    figure.update_layout({axis: _scale(panel, row)})
    _title(figure, row, panel.title + (f" \N{EN DASH} {panel.note}" if panel.note else ""))


def _labels(names: Sequence[str]) -> list[str]:
    """Short names of rows: the device alone where that tells rows apart."""
    devices = [name.split(": ")[0] for name in names]
    chosen = devices if len(set(devices)) == len(devices) else list(names)
    return [safe(name if len(name) <= 28 else f"{name[:27]}\N{HORIZONTAL ELLIPSIS}") for name in chosen]


def _set_range(figure: go.Figure, row: _Row, values: Sequence[Array]) -> None:
    """Range of a panel of lines, the same under all controllers."""
    every = np.concatenate([np.ravel(one) for one in values])
    low, high = float(np.nanmin(every, initial=np.inf)), float(np.nanmax(every, initial=-np.inf))
    if low <= high:
        pad = 0.06 * max(high - low, 1e-3)
        figure.update_yaxes(range=[low - pad, high + pad], nticks=5, row=row.number)


def _padded(values: Array | None, length: int) -> Array:
    return np.full(length, np.nan) if values is None else np.append(values, np.full(length - len(values), np.nan))


def _scale(panel: Panel, row: _Row) -> dict[str, Any]:
    """Colours of a panel, the same under all controllers, and their bar on the right."""
    every = np.concatenate([row_ for own in panel.values.values() for row_ in own.values()])
    largest = float(np.nanmax(np.abs(every), initial=0.0)) or 1.0
    if panel.unit == "1":
        largest = 1.0
    bar = {"thickness": 9, "len": row.top - row.bottom, "y": row.bottom, "yanchor": "bottom", "x": 1.01,
           "tickfont": {"size": 10}, "outlinewidth": 0, "ypad": 0}  # fmt: skip
    if panel.look == "binary":
        bar |= {"tickvals": [0.25, 0.75], "ticktext": ["open", "closed"]}
        return {"colorscale": _BINARY, "cmin": 0, "cmax": 1, "colorbar": bar}
    low = -largest if panel.look == "diverging" else 0.0
    ticks = [low, 0.0, largest] if low else [0.0, largest]
    bar |= {"tickvals": ticks, "ticktext": [number(tick, 0 if tick == round(tick) else None) for tick in ticks]}
    colours = _DIVERGING if panel.look == "diverging" else _RISING
    return {"colorscale": colours, "cmin": low, "cmax": largest, "colorbar": bar}


def _short(values: Array) -> Array:
    """Values to six digits, as files of single precision: the report stays small."""
    return np.asarray(values, np.float32)


def _set_clock(figure: go.Figure, task: Task) -> None:
    edges = _edges(task)
    step = next(step for step in (1, 2, 3, 6) if (edges[-1] - edges[0]) / step <= 4.5 or step == 6)
    ticks = np.arange(
        np.ceil(edges[0] / step) * step, edges[-1] - 0.1 * step, step
    )  # the last would touch the next panel's first
    figure.update_xaxes(
        range=edges[[0, -1]].tolist(), tickvals=ticks.tolist(), ticktext=_clocks(ticks.tolist()), gridcolor=LINE,
        showticklabels=True, tickfont={"size": 10.5},
    )  # fmt: skip


def _clocks(hours: Sequence[float]) -> list[str]:
    return ["24:00" if hour == 24 else clock(hour) for hour in hours]

"""What the report's figures share, and its plain charts: learning curves, reward terms by zone, stress splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dss_marl.experiments.reports.html.runs import ReportRun
from dss_marl.experiments.reports.html.terms import ZoneTerms
from dss_marl.experiments.reports.html.text import number, safe, shortened
from dss_marl.grid.state import Array
from dss_marl.mdp.return_statistics import mean_interval

INK, GREY, LINE = "#222222", "#6b6b6b", "#e4e4e4"
# Okabe and Ito's palette without black and yellow, with two of Paul Tol's; all safe for colour-blind readers
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#882255", "#999933", "#D55E00")
DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star-triangle-down", "pentagon")
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
TITLE_PX = 13


def styled(figure: go.Figure, height: float, **layout: Any) -> go.Figure:
    """The figure with the report's fonts, colours and margins, as wide as its place."""
    figure.update_layout(
        template="none",
        height=height,
        font={"family": FONT, "size": 12, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        hoverlabel={"font": {"family": FONT, "size": 12}},
        separators=".,",
        legend={"bgcolor": "rgba(255,255,255,0)", "orientation": "h", "y": -0.15, "x": 0, "yanchor": "top"},
    )
    figure.update_layout(**layout)
    axis = {"gridcolor": LINE, "zeroline": False, "automargin": True, "linecolor": GREY, "ticks": "outside"}
    figure.update_xaxes(**axis, tickcolor=GREY, title_standoff=8)
    figure.update_yaxes(**axis, tickcolor=GREY, title_standoff=8)
    return figure


def below(height: float, offset: float, left: float = 0.0) -> dict[str, Any]:
    """A legend this far below the plot [px], of a figure of this height with the usual margins."""
    return {
        "bgcolor": "rgba(255,255,255,0)",
        "orientation": "h",
        "y": -offset / max(height - 40 - offset, 1.0),
        "x": left,
        "yanchor": "top",
    }


# --- learning -------------------------------------------------------------------------------------------------------


def learning_figure(runs: Sequence[ReportRun], references: Mapping[str, float]) -> go.Figure:
    """Return on the validation days over agent-steps: a line for each run, a star at what it kept, references dashed.

    Args:
        runs: with a history.
        references: name to mean return on the same days.
    """
    figure = go.Figure()
    for k, run in enumerate(runs):
        steps = np.array([row["agent_steps"] for row in run.record.history])
        scores = np.array([row["score"] for row in run.record.history])
        colour, name = PALETTE[k % len(PALETTE)], f"{safe(run.label)}, seed {run.record.seed}"
        best = int(scores.argmax())
        figure.add_scatter(
            x=steps, y=scores, mode="lines+markers", name=name, legendgroup=str(k), line={"color": colour, "width": 2},
            marker={"size": 6, "symbol": SYMBOLS[k % len(SYMBOLS)]},
            hovertemplate="%{x:,.0f} agent-steps<br>return %{y:.3f}<extra>" + name + "</extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[steps[best]], y=[scores[best]], mode="markers", name=f"kept policy of {name}", legendgroup=str(k),
            showlegend=False,
            marker={"size": 15, "symbol": "star", "color": colour, "line": {"color": INK, "width": 1}},
            hovertemplate="kept: %{x:,.0f} agent-steps<br>return %{y:.3f}<extra></extra>",
        )  # fmt: skip
    every = [np.array([row["score"] for row in run.record.history]) for run in runs]
    close, whole = _ranges(every, list(references.values()))
    last = max(row["agent_steps"] for run in runs for row in run.record.history)
    _add_references(figure, references, last)
    styled(
        figure, 400, xaxis={"title": "agent-steps", "rangemode": "tozero"}, hovermode="closest",
        yaxis={"title": "mean team return per day", "range": close}, margin={"l": 10, "r": 10, "t": 44, "b": 10},
    )  # fmt: skip
    if whole[0] < close[0]:
        _add_zoom(figure, close, whole)
    return figure


def _ranges(scores: Sequence[Array], references: Sequence[float]) -> tuple[list[float], list[float]]:
    """Two ranges of the return axis: around what is reached in the end, and of everything."""
    late = np.concatenate([row[len(row) // 3 :] if len(row) > 2 else row for row in scores])
    low, high = float(late.min()), float(max(row.max() for row in scores))
    span = max(high - low, 0.2 * abs(high), 1e-6)
    near = [value for value in references if low - 2 * span < value < high + 2 * span]
    low, high = min([low, *near]), max([high, *near])
    every = np.concatenate([*scores, references])
    pad = 0.08 * max(high - low, 1e-6)
    wide = 0.05 * max(float(np.ptp(every)), 1e-6)
    return [low - pad, high + pad], [float(every.min()) - wide, float(every.max()) + wide]


def _add_references(figure: go.Figure, references: Mapping[str, float], last: float) -> None:
    for k, (name, value) in enumerate(references.items()):
        figure.add_scatter(
            x=[0, last], y=[value, value], mode="lines", name=f"{safe(name)} ({number(value)})",
            line={"color": GREY, "width": 1.5, "dash": DASHES[k % len(DASHES)]},
            hovertemplate=f"{safe(name)}: {number(value)}<extra></extra>",
        )  # fmt: skip


def _add_zoom(figure: go.Figure, close: list[float], whole: list[float]) -> None:
    """Buttons at the left: plotly's own are at the right."""
    buttons = [
        {"label": label, "method": "relayout", "args": [{"yaxis.range": limits}]}
        for label, limits in (("later evaluations", close), ("all evaluations", whole))
    ]
    figure.update_layout(
        updatemenus=[
            {"type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom",
             "buttons": buttons, "bgcolor": "white", "bordercolor": "#bbbbbb", "font": {"size": 12}, "pad": {"b": 4}}
        ]
    )  # fmt: skip


# --- terms ----------------------------------------------------------------------------------------------------------


def terms_figure(terms: Mapping[str, ZoneTerms], zones: Sequence[str]) -> go.Figure:
    """Reward terms by zone: a bar for each zone, a panel for each controller, a colour for each term.

    Args:
        terms: controller to the weighted reward terms.
        zones: those to show, in order.
    """
    names = list(terms)
    figure = make_subplots(1, len(names), shared_yaxes=True, shared_xaxes="all", horizontal_spacing=0.03)
    every = list(dict.fromkeys(term for one in terms.values() for term in one.terms))
    for column, name in enumerate(names, start=1):
        one, mean = terms[name], terms[name].mean()
        rows = [one.zones.index(zone) for zone in zones]
        for k, term in enumerate(every):
            figure.add_bar(
                x=mean[rows, one.terms.index(term)], y=list(range(len(zones))), orientation="h", name=safe(term),
                legendgroup=term, showlegend=column == 1, row=1, col=column,
                marker={"color": PALETTE[k % len(PALETTE)], "line": {"color": "white", "width": 0.5}},
                customdata=[safe(zone) for zone in zones],
                hovertemplate="%{customdata}: %{x:.4g} per day<extra>" + safe(term) + "</extra>",
            )  # fmt: skip
        total = float(mean.sum())
        figure.add_annotation(
            text=f"<b>{safe(shortened(name, 26))}</b>  {number(total)}", showarrow=False, x=0, xanchor="left", y=1,
            yanchor="bottom", xref=f"x{column if column > 1 else ''} domain", yref="paper", font={"size": TITLE_PX},
        )  # fmt: skip
    height = 130 + 22 * len(zones)
    styled(figure, height, barmode="relative", margin={"l": 10, "r": 16, "t": 30, "b": 10}, bargap=0.3)
    figure.update_layout(legend=below(height, 56))
    figure.update_yaxes(
        autorange="reversed", tickvals=list(range(len(zones))), ticktext=[safe(shortened(z, 22)) for z in zones]
    )
    figure.update_xaxes(title={"text": "team reward per day", "font": {"size": 12}}, nticks=5)
    return figure


# --- stress ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StressRow:
    """Returns on the days of a split, of each controller that played them (days)."""

    split: str
    days: tuple[int, ...]
    returns: Mapping[str, Array]
    in_band: Mapping[str, Array]


def stress_figure(rows: Sequence[StressRow], colours: Mapping[str, str]) -> go.Figure:
    """Mean return and 95 % interval of each controller on each split, as points with bars."""
    figure = go.Figure()
    names = list(dict.fromkeys(name for row in rows for name in row.returns))
    for k, name in enumerate(names):
        found = [(place, mean_interval(row.returns[name])) for place, row in enumerate(rows) if name in row.returns]
        shift = (k - (len(names) - 1) / 2) * 0.22
        x = np.array([mean for _, (mean, _, _) in found])
        figure.add_scatter(
            x=x, y=[place + shift for place, _ in found], mode="markers", name=safe(name),
            marker={"color": colours[name], "size": 10, "symbol": SYMBOLS[k % len(SYMBOLS)]},
            error_x={"type": "data", "symmetric": False, "array": np.array([high for _, (_, _, high) in found]) - x,
                     "arrayminus": x - np.array([low for _, (_, low, _) in found]), "thickness": 1.6, "width": 4},
            hovertemplate="%{x:.3f}<extra>" + safe(name) + "</extra>",
        )  # fmt: skip
    height = 100 + 56 * len(rows)
    styled(figure, height, legend=below(height, 56))
    figure.update_xaxes(title="mean team return per day")
    figure.update_yaxes(
        autorange="reversed", tickvals=list(range(len(rows))), ticktext=[safe(row.split) for row in rows]
    )
    return figure

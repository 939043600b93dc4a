"""Figures of days: load, PV, price and temperature, and the usual curves for a plausibility check."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dss_marl.grid.state import Array
from dss_marl.plots.recorded_day import plain_name
from dss_marl.plots.style import GREY, INK, PALETTE, fit_width, mixed, new_figure
from dss_marl.profiles.statistics import Statistics

SHOWN, SINGLE = 4, 3  # days in columns; loads and units drawn individually
LOAD, SUN, PRICE, AIR = PALETTE[0], PALETTE[1], PALETTE[2], PALETTE[7]
_WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def days_figure(of: Statistics, title: str = "") -> Figure:
    """Single days side by side, and statistics over all days.

    A column for each of up to four days, spread over those given: load and PV of the feeder, single loads, single
    inverters, price and temperature. Below: load and PV of all days by time of day, duration curves, ramps, and daily
    energies.

    Args:
        of: the days, from ``statistics``.
        title: of the figure.
    """
    columns = np.unique(np.linspace(0, len(of.days) - 1, min(SHOWN, len(of.days))).round().astype(int))
    kinds = [(_draw_totals, "feeder [kW]"), (_draw_loads, "load / nominal")]
    kinds += [(_draw_units, "PV / rated")] if of.pv_kw.size else []
    figure = new_figure(11.0, 10.4)
    shape = {"left": 0.065, "right": 0.955, "top": 0.915, "bottom": 0.40, "hspace": 0.33, "wspace": 0.1}
    upper = figure.add_gridspec(len(kinds) + 1, len(columns), **shape)
    rows = [[figure.add_subplot(upper[r, c]) for c in range(len(columns))] for r in range(len(kinds) + 1)]
    for c, d in enumerate(columns):
        for row, (draw_row, _) in zip(rows, kinds, strict=False):
            draw_row(row[c], of, int(d))
        _draw_market(rows[-1][c], of, int(d), c == len(columns) - 1)
        rows[0][c].set_title(_name(of, d), fontsize=9, color=INK, loc="left", pad=15)
    for row, label in zip(rows, [*(label for _, label in kinds), "price [per kWh]"], strict=True):
        row[0].set_ylabel(label, fontsize=8.5, color=INK)
        _align(row, of.dt_h, last=row is rows[-1])
        _legend(row[0])
    lower = figure.add_gridspec(1, 4, left=0.065, right=0.985, top=0.325, bottom=0.055, wspace=0.32)
    draws = (_draw_hours, _draw_duration, _draw_ramps, _draw_energies)
    for c, draw in enumerate(draws):
        axes = figure.add_subplot(lower[0, c])
        draw(axes, of)
        _plain(axes)
    if title:
        fit_width(figure.text(0.5, 0.975, title, ha="center", va="top", fontsize=11, color=INK), 700)
    return figure


def _legend(axes: Axes) -> None:
    """What is drawn in a row of days, above its first panel."""
    handles, names = axes.get_legend_handles_labels()
    figure = axes.get_figure(root=True)
    assert figure is not None
    for other in figure.axes:  # an axis on the right of the same panel
        if other is not axes and other.get_position().bounds == axes.get_position().bounds:
            more = other.get_legend_handles_labels()
            handles, names = [*handles, *more[0]], [*names, *more[1]]
    if names:
        axes.legend(handles, names, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, fontsize=7.5,
                    handlelength=1.4, columnspacing=1.2, borderpad=0.1, borderaxespad=0.2)  # fmt: skip


def _line_name(names: tuple[str, ...], k: int, kw: float) -> str:
    """An element and its nominal power, for a legend."""
    return f"{plain_name(names[k])}, {_kw(kw)} kW" if names else f"{_kw(kw)} kW"


def _kw(kw: float) -> str:
    """Three significant digits, never as a power of ten."""
    return f"{kw:.0f}" if kw >= 100 else f"{kw:.3g}"


def _name(of: Statistics, d: int) -> str:
    """A measured day by its date, another by its number; with the day of the week."""
    number, at = of.days[d], of.dates[d] if of.dates else None
    if at is not None:
        return f"day {number}, {_WEEK[at.weekday()]} {at}"
    day = number % 1000
    return f"day {number}, {_WEEK[day % 7]}"


def _steps(axes: Axes, values: Array, dt_h: float, **style: Any) -> None:
    """Step lines: means hold over their interval."""
    hour = np.arange(len(values) + 1) * dt_h
    style["linewidth"] *= min(1.0, (300 / len(values)) ** 0.5)  # one-minute steps would blend into each other
    axes.step(hour, np.append(values, values[-1]), where="post", **style)


def _draw_totals(axes: Axes, of: Statistics, d: int) -> None:
    load, sun = of.total_kw[d], of.pv_kw[d].sum(-1)
    hour = np.arange(len(load) + 1) * of.dt_h
    if of.pv_kw.size:
        axes.fill_between(
            hour, np.append(sun, sun[-1]), step="post", color=mixed(SUN, "white", 0.55), linewidth=0, label="PV"
        )
    _steps(axes, load, of.dt_h, color=LOAD, linewidth=1.3, label="load")


def _draw_loads(axes: Axes, of: Statistics, d: int) -> None:
    """The smallest, a medium and the largest load, over nominal."""
    order = np.argsort(of.nominal_kw, kind="stable")
    picks = order[np.unique(np.linspace(0, len(order) - 1, SINGLE).astype(int))]
    for shade, j in zip((0.55, 0.0, 0.5), picks, strict=False):
        colour = mixed(LOAD, "white" if shade == 0.55 else "black", shade)
        share = of.load_kw[d, :, j] / max(of.nominal_kw[j], 1e-9)
        _steps(
            axes, share, of.dt_h, color=colour, linewidth=0.9, label=_line_name(of.load_names, int(j), of.nominal_kw[j])
        )


def _draw_units(axes: Axes, of: Statistics, d: int) -> None:
    """Up to three inverters, over their peak power."""
    count = of.pv_kw.shape[-1]
    for k, u in enumerate(np.unique(np.linspace(0, count - 1, SINGLE).astype(int))):
        style: dict[str, Any] = {"color": mixed(SUN, "black", 0.3 * k), "linewidth": 0.9}
        name = _line_name(of.unit_names, int(u), of.rated_kw[u])
        _steps(axes, of.pv_kw[d, :, u] / max(of.rated_kw[u], 1e-9), of.dt_h, label=name, **style)


def _draw_market(axes: Axes, of: Statistics, d: int, last: bool) -> None:
    """Price at the left, temperature at the right."""
    _steps(axes, of.price[d], of.dt_h, color=PRICE, linewidth=1.2, label="price")
    other = axes.twinx()
    hour = (np.arange(of.temperature_c.shape[1]) + 0.5) * of.dt_h
    other.plot(
        hour, of.temperature_c[d], color=AIR, linewidth=1.1, linestyle=(0, (4, 1.5)), label="temperature (right)"
    )
    low, high = float(of.temperature_c.min()), float(of.temperature_c.max())
    other.set_ylim(low - 1, high + 1)
    other.tick_params(labelsize=8, colors=AIR, length=2.5, labelright=last)
    other.spines[["top", "left"]].set_visible(False)
    if last:
        other.set_ylabel("temperature [\N{DEGREE SIGN}C]", fontsize=8.5, color=AIR)


def _align(row: list[Axes], dt_h: float, last: bool) -> None:
    """One scale for a row of days."""
    top = max(axes.get_ylim()[1] for axes in row)
    low = min(0.0, *(float(axes.dataLim.y0) for axes in row))
    for c, axes in enumerate(row):
        axes.set(xlim=(0, 24), ylim=(1.05 * low, top))
        axes.set_xticks([0, 6, 12, 18, 24])
        axes.tick_params(labelbottom=last, labelleft=c == 0)
        _plain(axes)
        axes.grid(axis="x", color="#ececec", linewidth=0.6)
    if last:
        for axes in row:
            axes.set_xlabel("time of day [h]", fontsize=8, color=INK, labelpad=1)


def _draw_hours(axes: Axes, of: Statistics) -> None:
    """Median and 90 % range of the days, by time of day."""
    hour = (np.arange(of.total_kw.shape[1]) + 0.5) * of.dt_h
    for values, colour, name in ((of.pv_kw.sum(-1), SUN, "PV"), (of.total_kw, LOAD, "load")):
        if not values.any():
            continue
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95], axis=0)
        axes.fill_between(hour, low, high, color=mixed(colour, "white", 0.7), linewidth=0, alpha=0.8)
        axes.plot(hour, middle, color=colour, linewidth=1.3, label=name)
    axes.set(xlim=(0, 24), ylim=(0, None), xticks=[0, 6, 12, 18, 24])
    _say(axes, f"{len(of.days)} day{'s' * (len(of.days) > 1)}: median and 90 % range", "time of day [h]", "kW")
    axes.legend(frameon=False, fontsize=7.5, loc="upper left", handlelength=1.2)


def _name_lines(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize=7.5, loc="upper right", handlelength=1.2)


def _draw_duration(axes: Axes, of: Statistics) -> None:
    share = np.linspace(0, 1, 201)
    axes.plot(100 * share, of.duration(share.tolist()), color=LOAD, linewidth=1.3, label="load")
    sun = of.pv_kw.sum(-1)
    if sun.any():
        axes.plot(100 * share, np.quantile(sun, 1 - share) / of.rated_kw.sum(), color=SUN, linewidth=1.3, label="PV")
    axes.set(xlim=(0, 100), ylim=(0, 1.05))
    _name_lines(axes)
    _say(axes, "duration curves", "share of time [%]", "load / peak, PV / rated")


def _draw_ramps(axes: Axes, of: Statistics) -> None:
    """Exceedance curve of the change between intervals."""
    for values, base, colour, name in (
        (of.total_kw, float(of.total_kw.max()), LOAD, "load"),
        (of.pv_kw.sum(-1), float(of.rated_kw.sum()), SUN, "PV"),
    ):
        if base and values.any():
            step = np.sort(np.abs(np.diff(values, axis=1)).ravel())[::-1] / base
            axes.plot(100 * step, 100 * (np.arange(len(step)) + 1) / len(step), color=colour, linewidth=1.3, label=name)
    axes.set_yscale("log")
    axes.set(xlim=(0, None), ylim=(0.02, 100))
    _name_lines(axes)
    _say(axes, "ramps: exceedance", f"change in {60 * of.dt_h:g} min [%]", "share of intervals [%]")


def _draw_energies(axes: Axes, of: Statistics) -> None:
    """A dot for each day: load and PV energy; load over temperature where there is no PV."""
    load, sun = (24 / 1000 * values.mean(1) for values in (of.total_kw, of.pv_kw.sum(-1)))
    warm = of.temperature_c.mean(1)
    if not sun.any():
        axes.scatter(warm, load, color=LOAD, s=13, linewidths=0.3, edgecolors=GREY)
        axes.set(ylim=(0, None))
        _say(axes, "daily energy", "mean temperature [\N{DEGREE SIGN}C]", "load [MWh]")
        return
    dots = axes.scatter(load, sun, c=warm, cmap="coolwarm", s=13, linewidths=0.3, edgecolors=GREY)
    axes.set(xlim=(0, 1.06 * load.max() or 1.0), ylim=(0, 1.06 * sun.max()))
    _say(axes, "daily energy", "load [MWh]", "PV [MWh]")
    figure = axes.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(dots, ax=axes, fraction=0.05, pad=0.03)
    bar.ax.set_title("\N{DEGREE SIGN}C", fontsize=7.5, color=INK, pad=3)
    bar.ax.tick_params(labelsize=7, colors=INK, length=2)
    bar.outline.set_visible(False)


def _say(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    axes.set_xlabel(across, fontsize=8, color=INK, labelpad=2)
    axes.set_ylabel(up, fontsize=8, color=INK, labelpad=2)


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=8, colors=INK, length=2.5)
    axes.spines[["top", "right"]].set_visible(False)

"""Panels beside the map of a running environment: the day so far, and a column of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, MultipleLocator

from dss_marl.envs.task import Task
from dss_marl.grid.state import Array
from dss_marl.plots.style import ALARM, GREY, INK, PALETTE, fit_width, minus_signs, mixed

BAND, BEYOND, CURSOR = mixed(PALETTE[0], "white", 0.55), mixed(ALARM, "white", 0.35), INK
LOWEST, HIGHEST = 0.93, 1.07  # of the strip, unless a day goes beyond [pu]
GROWTH = 0.1  # then its limits are multiples of this, as everything that stays is drawn again [pu]
ROW, LEAST = 62.0, 15.0  # height of an agent's row at most and at least [pt]
TALL = 33.0  # from this height a row has its action below its name [pt]
ZERO = 0.8  # height of a bar at 0 [pt]
BAR = 18.0  # width of an action's bar at most [pt]


def clock(hour: float) -> str:
    """Time of day as on a clock, past midnight too."""
    minutes = round(60 * hour) % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


class DayStrip:
    """Lowest and highest scored voltage of the day so far, with the band and a cursor; red outside the band.

    Where the levels of the grid have different bands, red is what lies beyond all of them.

    Attributes:
        moving: artists that change.
        above: artists that stay and lie above those.
    """

    def __init__(self, axes: Axes, task: Task) -> None:
        spec = task.scenario
        self._axes, self._band = axes, task.band.widest
        hours = spec.start_hour + spec.dt_h * np.arange(spec.steps + 1)
        nothing = np.full(spec.steps, np.nan)
        fills = [
            axes.stairs(nothing, hours, baseline=nothing, fill=True, color=colour, linewidth=0)
            for colour in (BAND, BEYOND, BEYOND)
        ]
        self._fills = fills  # all, what is too high, what is too low
        self._edges = [axes.stairs(nothing, hours, baseline=None, color=PALETTE[0], linewidth=1.1) for _ in range(2)]
        (self._cursor,) = axes.plot([hours[0]] * 2, [0, 1], color=CURSOR, linewidth=1.2)
        self._cursor.set_transform(axes.get_xaxis_transform())
        style: dict[str, Any] = {"color": ALARM, "linewidth": 0.9, "linestyle": (0, (4, 2))}
        self.moving: tuple[Artist, ...] = (*fills, *self._edges, self._cursor)
        self.above: tuple[Artist, ...] = tuple(axes.axhline(limit, **style) for limit in task.band.limits)
        room = min(LOWEST, self._band.low - 0.02), max(HIGHEST, self._band.high + 0.02)
        axes.set(xlim=(hours[0], hours[-1]), ylim=room)
        span = float(hours[-1] - hours[0])
        axes.xaxis.set_major_locator(MultipleLocator(next(step for step in (0.5, 1, 3) if span / step <= 10)))
        axes.xaxis.set_major_formatter(lambda hour, _: clock(hour))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%.2f"))
        axes.tick_params(labelsize=8, colors=INK, length=2.5)
        axes.grid(axis="x", color="#ececec", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title("lowest to highest voltage of the day so far [pu]", fontsize=8.5, color=INK, loc="left", pad=3)

    def update(self, low: Array, high: Array, hour: float) -> bool:
        """The day so far, (T) each and NaN from now on [pu], and the time; returns whether the axis had to grow."""
        above, below = np.maximum([high, low], self._band.high), np.minimum([high, low], self._band.low)
        for fill, (ceiling, floor) in zip(self._fills, ((high, low), above, below), strict=True):
            fill.set_data(values=ceiling, baseline=floor)  # type: ignore[arg-type]  # an array too
        for edge, values in zip(self._edges, (low, high), strict=True):
            edge.set_data(values=values)
        self._cursor.set_xdata([hour, hour])
        bottom, top = self._axes.get_ylim()
        known = ~np.isnan(low)
        lowest, highest = float(low[known].min(initial=bottom)), float(high[known].max(initial=top))
        if lowest >= bottom and highest <= top:
            return False
        if lowest < bottom:
            bottom = GROWTH * np.floor(lowest / GROWTH)
        if highest > top:
            top = GROWTH * np.ceil(highest / GROWTH)
        self._axes.set_ylim(bottom, top)
        return True


class AgentColumn:
    """A row for each agent: name, reward, action as bars from -1 to 1, and how many requests were limited or refused.

    Where there are more agents than rows, the first ones are shown.

    Attributes:
        moving: artists that change.
    """

    def __init__(self, axes: Axes, task: Task, width: float, height: float, colours: Sequence[str]) -> None:
        axes.set(xlim=(0, width), ylim=(0, height))
        axes.axis("off")
        agents = task.agents
        head = 30.0
        kinds = task.zones[0].entries["kinds"]
        hue = {kind: PALETTE[k % len(PALETTE)] for k, kind in enumerate(kinds)}
        axes.text(0, height - 8, "agent", fontsize=8.5, color=GREY, va="center")
        axes.text(width, height - 8, "reward", fontsize=8.5, color=GREY, va="center", ha="right")
        self._kinds(axes, hue, width, height - 21)
        fits = max(1, int((height - head) / LEAST))
        count = len(agents.names)
        self._shown = agents.names if count <= fits else agents.names[: fits - 1]
        row = min(ROW, (height - head) / min(count, fits))
        self._rows = [_Row(axes, height - head - k * row, row, width) for k in range(len(self._shown))]
        for one, name, zone in zip(self._rows, self._shown, agents.zone, strict=False):
            one.name(axes, name.replace("_", " "), mixed(colours[zone], "black", 0.35))
        if len(self._shown) < count:
            axes.text(0, 4, f"and {count - len(self._shown)} more", fontsize=8, color=GREY, va="center")
        self._place_bars(axes, task, list(hue.values()))
        self.moving: tuple[Artist, ...] = (self._bars, *(text for one in self._rows for text in one.texts))

    def _kinds(self, axes: Axes, hue: Mapping[str, str], width: float, y: float) -> None:
        """The colours of the kinds of device."""
        x, gap = 0.0, 6.0
        names = [kind.replace("_", " ") for kind in hue]
        size = min(7.5, 7.5 * width / (sum(4.1 * len(name) + gap + 8 for name in names)))
        for name, colour in zip(names, hue.values(), strict=True):
            axes.add_patch(Rectangle((x, y - 2.5), 5, 5, color=colour, linewidth=0))
            axes.text(x + 7, y, name, fontsize=size, color=INK, va="center")
            x += 7 + 4.1 * size / 7.5 * len(name) + gap

    def _place_bars(self, axes: Axes, task: Task, hues: Sequence[str]) -> None:
        """Where each entry of the joint action has its bar: middle, foot and half the height."""
        layout = task.agents.action_layout
        kind = np.concatenate([np.full(count * width, k) for k, (count, width) in enumerate(layout.shapes)])
        own = [np.flatnonzero(layout.entry_agent == agent) for agent in range(len(self._rows))]
        step = min(BAR, self._rows[0].bars_width / max(1, *map(len, own), 1))
        places = []
        for row, entries in zip(self._rows, own, strict=True):
            places += [(row.bars_x + (k + 0.5) * step, row.bars_y, row.bars_half) for k in range(len(entries))]
            row.track(axes, len(entries) * step)
        self._entries, self._places = np.concatenate(own), np.array(places).reshape(-1, 3)
        self._bars = LineCollection([], linewidths=0.72 * step, capstyle="butt", zorder=3)
        self._bars.set_color([hues[k % len(hues)] for k in kind[self._entries]])
        axes.add_collection(self._bars)

    def update(self, action: Array, rewards: Mapping[str, float], infos: Mapping[str, Mapping[str, Any]]) -> None:
        """The joint action (F), and what each agent got and was told; without rewards none has acted yet."""
        x, y, half = self._places.T
        share = np.clip(action[self._entries], -1, 1) if rewards else np.zeros(len(x))
        foot = y - np.where(share < 0, -ZERO, ZERO)  # so that 0 is seen too
        self._bars.set_segments([*np.stack([x, foot, x, y + half * share], axis=1).reshape(-1, 2, 2)])
        for row, agent in zip(self._rows, self._shown, strict=True):
            row.update(rewards.get(agent), infos.get(agent, {}))


class _Row:
    """One agent's row, from ``top`` downwards [pt]."""

    def __init__(self, axes: Axes, top: float, height: float, width: float) -> None:
        self._tall = height >= TALL
        line = top - 8 if self._tall else top - height / 2
        self._top, self._line, self._width = top, line, width
        size = 8.5 if self._tall else 7.0
        style: dict[str, Any] = {"fontsize": size, "va": "center", "zorder": 4}
        self._reward = axes.text(width, line, "", ha="right", color=INK, **style)
        counts_x = width - 52 if self._tall else width - 40
        self._counts = axes.text(counts_x, line, "", ha="right", color=ALARM, **(style | {"fontsize": size - 0.5}))
        self.texts: tuple[Text, Text] = (self._reward, self._counts)
        self.bars_x = 0.0 if self._tall else 62.0
        self.bars_width = width if self._tall else width - 62 - 78
        self.bars_half = min(14.0, (height - 20) / 2) if self._tall else 0.4 * height
        self.bars_y = top - 16 - self.bars_half if self._tall else line
        if self._tall:
            axes.plot([0, width], [top, top], color="#dddddd", linewidth=0.7)

    def name(self, axes: Axes, name: str, colour: str) -> None:
        """Write the agent's name."""
        text = axes.text(0, self._line, name, fontsize=self._reward.get_fontsize(), color=colour, va="center")
        text.set_fontweight("bold")
        fit_width(text, 84.0 if self._tall else 58.0)

    def track(self, axes: Axes, width: float) -> None:
        """The field of the bars, with its zero line."""
        x, half = self.bars_x, self.bars_half
        axes.add_patch(Rectangle((x, self.bars_y - half), width, 2 * half, color="#f1f1f1", linewidth=0, zorder=1))
        axes.plot([x, x + width], [self.bars_y] * 2, color="#9a9a9a", linewidth=0.6, zorder=2)

    def update(self, reward: float | None, info: Mapping[str, Any]) -> None:
        """What the agent got, and what of its requests was cut."""
        self._reward.set_text("" if reward is None else minus_signs(f"{reward:.3g}"))
        words = ("limited", "refused") if self._tall else ("lim.", "ref.")
        counts = [f"{int(info.get(key, 0))} {word}" for key, word in zip(("limited", "refused"), words, strict=True)
                  if info.get(key, 0)]  # fmt: skip
        self._counts.set_text(", ".join(counts))

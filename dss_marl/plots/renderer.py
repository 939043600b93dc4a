"""Rendering of a running environment; handed to it, so that environments do not import plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
from matplotlib.text import Text

from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array, GridState
from dss_marl.plots.feeder_map import map_order
from dss_marl.plots.layers import Layers
from dss_marl.plots.live_map import LiveMap
from dss_marl.plots.live_panels import AgentColumn, DayStrip, clock
from dss_marl.plots.style import ALARM, GREY, INK, drawn_size, minus_signs, new_figure
from dss_marl.plots.window import Window

WIDTH, HEIGHT, DPI = 900.0, 600.0, 96  # of a frame [pt]: 1200 by 800 pixels
HEAD, FOOT, STRIP, COLUMN, BAR = 28.0, 38.0, 96.0, 190.0, 62.0  # title, legend, day so far, agents, colour bar [pt]
MARGIN = 10.0  # [pt]


class Renderer:
    """Pictures of one environment: map, day so far and agents. Drawn once; a frame then changes what has moved.

    It follows the environment from its reset on, whether or not frames are asked for, so that the strip and the return
    are complete.

    Args:
        controller: who plays, for the title; empty: not said.
    """

    def __init__(self, controller: str = "") -> None:
        self.controller = controller
        self._day = _Day()
        self._page: _Page | None = None
        self._window: Window | None = None

    def watch(self, env: ZoneEnv, rewards: Mapping[str, float], infos: Mapping[str, Mapping[str, Any]]) -> None:
        """See envs.EnvRenderer."""
        if env.after is None and not rewards:
            self._day = _Day()
        self._follow(env).add(env, rewards, infos)

    def frame(self, env: ZoneEnv) -> np.ndarray:
        """(800, 1200, 3) uint8: the last interval as operated; after a reset, the coming one.

        Raises:
            RuntimeError: before ``reset``.
        """
        if env.now is None:
            raise RuntimeError("a frame needs an episode; call reset first")
        if self._page is None or self._page.task is not env.task:
            self._page = _Page(env.task)
        return self._page.frame(env, self._follow(env), self.controller)

    def _follow(self, env: ZoneEnv) -> _Day:
        """What has been seen of the running day; after ``load_state`` that may be another one, or less of it."""
        if self._day.number != env.day or len(self._day.low) != env.task.scenario.steps:
            self._day = _Day.begin(env)
        if env.now is not None and not self._day.failed:
            self._day.forget(env.now.step)
        return self._day

    def show(self, env: ZoneEnv) -> bool:
        """Show the frame in a window of matplotlib's interactive backend; False where there is none."""
        if self._window is None:
            self._window = Window(self.frame(env), env.metadata["name"])
        elif self._window.opened:
            self._window.update(self.frame(env))
        return self._window.opened

    def close(self) -> None:
        """Close the window; what has been drawn once is forgotten."""
        if self._window is not None:
            self._window.close()
        self._window = self._page = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy has drawn nothing yet and has no window."""
        return {**self.__dict__, "_page": None, "_window": None}


@dataclass
class _Day:
    """What has been seen of the running day.

    Attributes:
        number: of the day.
        low, high: (T) lowest and highest energised scored voltage, NaN where not seen [pu].
        reward: (T) of the team.
        rewards, infos: of the last step; no rewards after a reset.
        failed: whether the power flow has failed.
    """

    number: int = -1
    low: Array = field(default_factory=lambda: np.zeros(0))
    high: Array = field(default_factory=lambda: np.zeros(0))
    reward: Array = field(default_factory=lambda: np.zeros(0))
    rewards: Mapping[str, float] = field(default_factory=dict)
    infos: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    failed: bool = False

    @classmethod
    def begin(cls, env: ZoneEnv) -> _Day:
        """A day of which nothing has been seen."""
        steps = env.task.scenario.steps
        return cls(env.day, np.full(steps, np.nan), np.full(steps, np.nan), np.zeros(steps))

    def forget(self, step: int) -> None:
        """What was seen of this step and later ones."""
        self.low[step:], self.high[step:], self.reward[step:] = np.nan, np.nan, 0.0

    def add(self, env: ZoneEnv, rewards: Mapping[str, float], infos: Mapping[str, Mapping[str, Any]]) -> None:
        """What a step or a reset gave."""
        self.rewards, self.infos = rewards, infos
        self.failed = any(info["failed"] for info in infos.values())
        if not rewards or env.now is None:
            return
        step = env.now.step if self.failed else env.now.step - 1  # a failed interval is not left
        self.reward[step] = env.team_reward
        if env.after is not None and not self.failed:
            scored = env.task.all_zones.scored_nodes
            v = env.after.solution.v_pu[scored][env.after.solution.energised[scored]]
            if v.size:
                self.low[step], self.high[step] = v.min(), v.max()


class _Page:
    """The figure of one task."""

    def __init__(self, task: Task) -> None:
        self.task = task
        figure = self._figure = new_figure(WIDTH / 72, HEIGHT / 72)
        figure.set_dpi(DPI)
        map_width, map_height = WIDTH - COLUMN - BAR - 3 * MARGIN, HEIGHT - HEAD - FOOT - STRIP - MARGIN
        foot = STRIP + FOOT + MARGIN
        self._map = LiveMap(self._axes(MARGIN, foot, map_width, map_height), task, map_width, map_height)
        self._strip = DayStrip(self._axes(40, 20, WIDTH - 40 - 2 * MARGIN, STRIP - 34), task)
        height = HEIGHT - HEAD - STRIP - 2 * MARGIN
        column = self._axes(WIDTH - COLUMN - MARGIN, STRIP + MARGIN, COLUMN, height)
        self._agents = AgentColumn(column, task, COLUMN, height, self._map.zone_colours)
        self._map.draw_bar()
        self._title, self._clock, self._score = self._head()
        bar = figure.axes[-1].get_position()
        self._outside = figure.text(bar.x0 - 4 / WIDTH, bar.y1 + 14 / HEIGHT, "", ha="left", va="bottom", fontsize=8)
        self._legend(map_width)
        texts = (self._title, self._clock, self._score, self._outside)
        self._layers = Layers(
            figure,
            (*self._map.moving, *self._strip.moving, *self._agents.moving, *texts),
            (*self._map.above, *self._strip.above),
        )

    def frame(self, env: ZoneEnv, day: _Day, controller: str) -> np.ndarray:
        """The picture of an environment."""
        state = env.after or env.now
        assert state is not None
        count = self._map.update(env.before, state)
        self._outside.set_text(f"{count:,} of {len(self.task.feeder.buses):,}\nbuses outside")
        self._outside.set_color(ALARM if count else GREY)
        self._agents.update(state.action, day.rewards, day.infos)
        self._write_head(env, state, day, controller)
        spec = self.task.scenario
        hour = spec.start_hour + (state.step + bool(day.rewards)) * spec.dt_h  # of the strip, whose axis is fixed
        if self._strip.update(day.low, day.high, hour):
            self._layers.redraw()
        return self._layers.frame()

    def _write_head(self, env: ZoneEnv, state: GridState, day: _Day, controller: str) -> None:
        spec = self.task.scenario
        self._title.set_text(spec.name + (f", {controller}" if controller else ""))
        stress, number = self.task.profiles.stress_and_day(env.day)
        when = date(2023, 1, 1) + timedelta(days=number)  # any year of 365 days
        words = [f"{when.day} {when:%B}", *([stress.replace("_", " ")] if stress else [])]
        begun = f"interval {state.step + 1} of {spec.steps}" if day.rewards else "at reset"
        self._clock.set_text(f"{', '.join(words)}   {clock(state.hour)}   {begun}")
        total = minus_signs(f"return {day.reward.sum():.4g}")
        self._score.set_text("power flow failed   " + total if day.failed else total)
        self._score.set_color(ALARM if day.failed else INK)

    def _axes(self, x: float, y: float, width: float, height: float) -> Any:
        return self._figure.add_axes((x / WIDTH, y / HEIGHT, width / WIDTH, height / HEIGHT))

    def _head(self) -> tuple[Text, Text, Text]:
        """Scenario and controller on the left, date and time in the middle, the return on the right."""
        y = 1 - 16 / HEIGHT
        style: dict[str, Any] = {"va": "center", "color": INK, "fontsize": 11}
        return (
            self._figure.text(MARGIN / WIDTH, y, "", ha="left", fontweight="bold", **style),
            self._figure.text(0.56, y, "", ha="center", **style),
            self._figure.text(1 - MARGIN / WIDTH, y, "", ha="right", **style),
        )

    def _legend(self, width: float) -> None:
        """What the map shows, below it, in as few rows as fit."""
        legend, width = self._map.legend, width + BAR
        names = sorted(legend, key=map_order)
        for rows in (1, 2, 3):
            drawn = self._figure.legend(
                [legend[name] for name in names], names, loc="center", ncols=-(-len(names) // rows), frameon=False,
                bbox_to_anchor=((MARGIN + width / 2) / WIDTH, (STRIP + FOOT / 2 + 3) / HEIGHT), fontsize=7.5,
                labelcolor=INK, handletextpad=0.4, columnspacing=1.1, labelspacing=0.35, handlelength=1.6, borderpad=0,
            )  # fmt: skip
            if rows == 3 or drawn_size(drawn)[0] < width:
                break
            drawn.remove()

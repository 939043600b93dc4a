"""Render modes of the environment, the protocol of what draws it, and the table of its zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.grid.state import GridState


class EnvRenderer(Protocol):
    """Draws a running environment, which is handed one so that it needs no figures; ``plots.Renderer`` is one.

    ``env`` is the ZoneEnv, which imports this module.
    """

    def watch(self, env: Any, rewards: Mapping[str, float], infos: Mapping[str, Mapping[str, Any]]) -> None:
        """Called after each step with what agents got, and after each reset without rewards."""

    def frame(self, env: Any) -> np.ndarray:
        """(H, W, 3) uint8 picture of the last interval as operated; after a reset, of the coming one."""

    def show(self, env: Any) -> bool:
        """The same in a window; False where there is no display."""

    def close(self) -> None:
        """Close the window."""


def check_render_mode(mode: str | None, known: Sequence[str], has_renderer: bool) -> None:
    """Whether an environment can render so.

    Raises:
        ValueError: an unknown mode, or a picture without a renderer.
    """
    if mode not in (None, "human", *known):
        raise ValueError(f"unknown render_mode {mode!r}; known: None, {', '.join(known)}")
    if mode == "rgb_array" and not has_renderer:
        raise ValueError(
            "render_mode 'rgb_array' needs a renderer: give renderer=dss_marl.plots.Renderer(), or use dss_marl.make"
        )


def zone_table(task: Task, title: str, day: int, state: GridState) -> str:
    """The lowest and highest voltage of each zone, a line each."""
    lines = [f"{title} day {day} step {state.step} hour {state.hour:05.2f}"]
    for zone in task.zones:
        v = state.solution.v_pu[zone.nodes]
        lines.append(f"{zone.name}: {v.min():.4f} to {v.max():.4f} pu")
    return "\n".join(lines)

"""``dss-marl record``: the film of a day."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track

from dss_marl.cli.arguments import AllowCode, Set, Trust, run_or_scenario
from dss_marl.cli.console import console, saved

if TYPE_CHECKING:
    import numpy as np


def record(
    run_or_name: Annotated[str, typer.Argument(help="A run's folder, a scenario's name or the path of a YAML file.")],
    out: Annotated[Path | None, typer.Option(help="Film to write, .gif or .mp4; default NAME.gif.")] = None,
    day: Annotated[int | None, typer.Option(help="Day of the year; default: a middle one of the frozen days.")] = None,
    controller: Annotated[
        list[str] | None,
        typer.Option(
            help="A reference controller, package.module:name, or 'learned' for a run's policy; repeat it for several "
            "side by side. Default: the run's policy, or no_control."
        ),
    ] = None,
    fps: Annotated[float, typer.Option(min=0.1, max=60.0, help="Intervals per second.")] = 8.0,
    settings: Set = None,
    trust: Trust = False,
    allow_code: AllowCode = False,
) -> None:
    """Film a day: map, voltages, devices and agents, interval by interval."""
    from dss_marl.experiments.film import record_film

    source = run_or_scenario(run_or_name, settings, allow_code)
    path = out or Path(f"{Path(run_or_name).stem}.gif")
    saved(record_film(source, path, controller or (), day, fps, _tracked, trust))


def _tracked(frames: Iterable[np.ndarray], count: int) -> Iterable[np.ndarray]:
    return track(frames, "playing", total=count, console=console)

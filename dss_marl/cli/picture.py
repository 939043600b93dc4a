"""``dss-marl picture``: a figure of a test day under several controllers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from dss_marl.cli.arguments import AllowCode, Set, Trust, run_or_scenario
from dss_marl.cli.console import progress_bar, saved
from dss_marl.cli.outputs import PICTURE, checked_file, output_file


def picture(
    run_or_name: Annotated[str, typer.Argument(help="A run's folder, a scenario's name or the path of a YAML file.")],
    out: Annotated[
        Path | None,
        typer.Option(callback=output_file(PICTURE), help="Figure to write: .png, .pdf or .svg; default NAME.png."),
    ] = None,
    day: Annotated[
        int | None, typer.Option(min=0, help="Day of the year; default: a middle one of the frozen days.")
    ] = None,
    controller: Annotated[
        list[str] | None,
        typer.Option(
            help="A reference controller, package.module:name, or 'learned' for a run's policy; repeat it for several "
            "side by side. Default: a run's policy, or no_control; a rule or droop; the reference controller."
        ),
    ] = None,
    trust: Trust = False,
    settings: Set = None,
    allow_code: AllowCode = False,
) -> None:
    """Draw a test day under several controllers: voltages, power, devices, switches, faults."""
    source = run_or_scenario(run_or_name, settings, allow_code)
    path = out or checked_file(Path(f"{Path(run_or_name).stem}.png"), PICTURE)
    from dss_marl.experiments.day_picture import picture as draw

    with progress_bar() as progress:

        def track(items: Iterable[str]) -> Iterable[str]:
            return progress.track(list(items), description="playing")

        path = draw(source, path, controller or (), day, trust, track)
    saved(path)

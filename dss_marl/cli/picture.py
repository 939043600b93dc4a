"""``dss-marl picture``: a figure of a test day under three controllers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dss_marl.cli.arguments import AllowCode, Name, Set, chosen_scenario
from dss_marl.cli.console import saved
from dss_marl.cli.outputs import PNG, checked_file, output_file


def picture(
    name: Name,
    day: Annotated[
        int | None, typer.Option(min=0, help="Day of the year; default: the middle one of the frozen test days.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(callback=output_file(PNG), help="Figure to write (.png); default NAME.png.")
    ] = None,
    settings: Set = None,
    allow_code: AllowCode = False,
) -> None:
    """Draw a test day under no control, a rule or droop, and the reference controller."""
    from dss_marl.experiments.validation import day_figure

    scenario = chosen_scenario(name, settings, allow_code)
    path = out or checked_file(Path(f"{scenario.name}.png"), PNG)
    saved(day_figure.picture(scenario, day, path))

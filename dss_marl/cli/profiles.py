"""``dss-marl profiles``: the days of a scenario as a table and a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from dss_marl.cli.arguments import AllowCode, Name, Set, chosen_scenario
from dss_marl.cli.console import saved, say
from dss_marl.cli.outputs import PICTURE, output_file
from dss_marl.cli.tables import print_table
from dss_marl.envs.task import build_task
from dss_marl.profiles import Profiles
from dss_marl.profiles.simbench import LICENCE

MOST = 400_000_000  # values held in memory at once


def profiles(
    name: Name,
    split: Annotated[
        str, typer.Option(help="train, validation, test, or a stress split: sunny_low_load, cold_evening, more_pv, ...")
    ] = "test",
    days: Annotated[int | None, typer.Option(min=1, help="Number of days, spread over the split.")] = None,
    plot: Annotated[
        Path | None, typer.Option(callback=output_file(PICTURE), help="Figure to write: .png, .pdf or .svg.")
    ] = None,
    settings: Set = None,
    allow_code: AllowCode = False,
) -> None:
    """Show a scenario's days: statistics of load, PV, price and outages, and a figure."""
    from dss_marl.profiles.statistics import day_statistics

    scenario = chosen_scenario(name, settings, allow_code)
    of_scenario = build_task(scenario).profiles
    chosen = _chosen_days(of_scenario, split, days)
    found = day_statistics(of_scenario, chosen)
    noun = "day" if len(chosen) == 1 else "days"
    title = f"{scenario.name}: {len(chosen)} {split} {noun} of {60 * of_scenario.dt_h:g}-minute intervals"
    _print_figures(title, found.figures())
    if of_scenario.spec.kind != "synthetic":
        say(of_scenario.calendar.text(of_scenario.days_in_all))
    if of_scenario.spec.kind == "simbench":
        say(LICENCE)
    say(f"SHA-256 of the year: {of_scenario.sha256()}")
    if plot is not None:
        from dss_marl import plots

        saved(plots.save(plots.days_figure(found, title), plot))


def _chosen_days(of_scenario: Profiles, split: str, count: int | None) -> list[int]:
    """Days of a split; ValueError where there are none or they would not fit into memory."""
    days = list(of_scenario.days(split))
    if count is not None:
        days = days[:: max(len(days) // count, 1)][:count]  # spread over the year
    size = len(days) * of_scenario.steps * len(of_scenario.feeder.injections)
    if size > MOST:
        raise ValueError(
            f"{len(days)} days of this feeder are {size / 1e6:.0f} million numbers; take fewer with --days"
        )
    return days


def _print_figures(title: str, figures: Mapping[str, tuple[float, str]]) -> None:
    rows = [
        (figure, "-" if math.isnan(value) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}", unit)
        for figure, (value, unit) in figures.items()
    ]
    print_table(title, ("figure", "value", "unit"), rows, left=("unit",))

"""``dss-marl profiles``: the days of a scenario as a table and a picture."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from dss_marl.profiles.profiles import Profiles
from dss_marl.profiles.simbench import LICENCE
from dss_marl.profiles.statistics import statistics

MOST = 400_000_000  # numbers that may be held at once


def show_profiles(
    console: Console, profiles: Profiles, split: str, count: int | None = None, plot: Path | None = None
) -> None:
    """Print the statistics of a split's days, and draw them.

    Raises:
        ValueError: unknown split, or a count below 1.
    """
    days = profiles.days(split)
    if count is not None:
        if count < 1:
            raise ValueError(f"--days must be 1 or more; got {count}")
        days = days[:: max(len(days) // count, 1)][:count]  # spread over the year
    size = len(days) * profiles.steps * len(profiles.feeder.injections)
    if size > MOST:
        raise ValueError(
            f"{len(days)} days of this feeder are {size / 1e6:.0f} million numbers; take fewer with --days"
        )
    found = statistics(profiles, days)
    title = f"{profiles.feeder.name}: {len(days)} {split} days of {60 * profiles.dt_h:g}-minute intervals"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for heading, side in (("figure", "left"), ("value", "right"), ("unit", "left")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    for figure, (value, unit) in found.figures().items():
        table.add_row(
            figure, "-" if value != value else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}", unit
        )
    console.print(table)
    if profiles.spec.kind == "simbench":
        console.print(LICENCE, highlight=False, soft_wrap=True)
    console.print(f"SHA-256 of the year: {profiles.sha256()}", highlight=False, soft_wrap=True)
    if plot is not None:
        from dss_marl import plots

        path = plots.save(plots.days_figure(found, title), plot)
        console.print(f"saved {path}", highlight=False, soft_wrap=True)

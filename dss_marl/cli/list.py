"""``dss-marl list``: the shipped scenarios."""

from __future__ import annotations

from rich import box
from rich.table import Table

from dss_marl._assets import known_names
from dss_marl.cli.console import console
from dss_marl.envs.scenario_files import load_scenario


def list_() -> None:
    """List the shipped scenarios."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("scenario", "steps", "title"):
        table.add_column(heading, no_wrap=heading != "title")
    for name in known_names("scenarios"):
        scenario = load_scenario(name)
        table.add_row(name, f"{scenario.steps} x {60 * scenario.dt_h:g} min", scenario.title)
    console.print(table)

"""``dss-marl list``: the shipped scenarios."""

from __future__ import annotations

from dss_marl._assets import known_names
from dss_marl.cli.tables import print_table
from dss_marl.envs.scenario_files import load_scenario


def list_() -> None:
    """List the shipped scenarios."""
    scenarios = {name: load_scenario(name) for name in known_names("scenarios")}
    rows = [
        (name, f"{one.steps} x {60 * one.dt_h:g} min", f"{one.title} (tutorial)" if one.tutorial else one.title)
        for name, one in scenarios.items()
    ]
    heads = ("scenario", "steps", "title")
    print_table("", heads, rows, left=heads)

"""``dss-marl show``: the card of a scenario, in the terminal or as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dss_marl.cli.arguments import AllowCode, Name, Set, chosen_scenario
from dss_marl.cli.console import saved, say
from dss_marl.cli.outputs import CARD, output_file
from dss_marl.cli.tables import print_table
from dss_marl.envs.task import Task, build_task


def show(
    name: Name,
    markdown: Annotated[
        Path | None, typer.Option(callback=output_file(CARD), help="Write the card into this file (.md) instead.")
    ] = None,
    settings: Set = None,
    allow_code: AllowCode = False,
) -> None:
    """Show the card of a decision process: agents, observations, actions, rewards, costs, horizon, references."""
    from dss_marl.experiments.reports.scenario_card import markdown_card

    task = build_task(chosen_scenario(name, settings, allow_code))
    if markdown is None:
        print_card(task, name)
        return
    markdown.parent.mkdir(parents=True, exist_ok=True)
    markdown.write_text(markdown_card(task, name), encoding="utf-8")
    saved(markdown)


def print_card(task: Task, source: str | Path | None = None) -> None:
    """Print the card of a task.

    Args:
        task: the scenario, built.
        source: the scenario's file, which gives the reasons for the weights; None: the shipped file of that name.
    """
    from dss_marl.experiments.reports.scenario_card import card

    scenario = task.scenario
    say(f"{scenario.name} v{scenario.version}: {scenario.title}", "bold")
    for part in card(task, source):
        if isinstance(part, str):
            say(part)
            continue
        print_table(part.title, part.heads, part.rows, left=part.heads)

"""``dss-marl show``: the card of a scenario, in the terminal or as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from dss_marl.cli.arguments import Name
from dss_marl.cli.console import console, saved
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.task import Task, build_task


def show(
    name: Name,
    markdown: Annotated[Path | None, typer.Option(help="Write the card as Markdown into this file instead.")] = None,
) -> None:
    """Show the card of a decision process: agents, observations, actions, rewards, costs, horizon, references."""
    from dss_marl.experiments.reports.scenario_card import markdown_card

    task = build_task(load_scenario(name))
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
    console.print(f"[bold]{scenario.name}[/bold] v{scenario.version}: {scenario.title}", highlight=False)
    for part in card(task, source):
        if isinstance(part, str):
            console.print(Text(part), highlight=False)
            continue
        table = Table(title=part.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        for heading in part.heads:
            table.add_column(heading, no_wrap=heading == "action entries")
        for row in part.rows:
            table.add_row(*(Text(cell) for cell in row))  # plain: brackets are units, not markup
        console.print(table)

"""``dss-marl dataset``: days under a controller as Minari datasets."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from dss_marl.cli.arguments import AllowCode, Name, Set, Split, chosen_scenario
from dss_marl.cli.console import progress_bar, say


def dataset(
    name: Name,
    controller: Annotated[
        str, typer.Option(help="A reference controller, package.module:name, or a run's folder.")
    ] = "random",
    days: Annotated[int, typer.Option(help="So many days of the split, spread over the year.")] = 40,
    split: Split = "train",
    out: Annotated[str, typer.Option(help="Name of the datasets; default SCENARIO/CONTROLLER.")] = "",
    settings: Set = None,
    allow_code: AllowCode = False,
) -> None:
    """Write days under a controller for offline learning: a Minari dataset for the central view and for each agent.

    They lie in ~/.minari/datasets, or where MINARI_DATASETS_PATH points. Needs the extra offline.
    """
    from dss_marl.experiments.evaluation import environment_for
    from dss_marl.experiments.recording import days_of, find_controller
    from dss_marl.integrations.minari_datasets import write_datasets
    from dss_marl.profiles.splits import spread_days

    scenario = chosen_scenario(name, settings, allow_code)
    player = find_controller(controller, scenario)
    env = environment_for(player, scenario, split)
    chosen = spread_days(days_of(env, player), days)
    title = out or f"{scenario.name}/{re.sub(r'[^A-Za-z0-9_-]+', '_', controller).strip('_')}"
    with progress_bar() as progress:
        days_played = progress.track(chosen, description="playing")
        names = write_datasets(env, player, days_played, title, controller)
    for written in names:
        say(f"saved {written}")
    env.close()

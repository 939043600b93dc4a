"""``dss-marl tune``: the droop curve that suits a scenario best."""

from __future__ import annotations

from typing import Annotated

import typer

from dss_marl.cli.arguments import MAX_SEED, Name
from dss_marl.cli.console import progress_bar, say
from dss_marl.envs.scenario_files import load_scenario


def tune(
    name: Name,
    tries: Annotated[int, typer.Option(min=1, help="Random curves before the refinement.")] = 48,
    days: Annotated[int, typer.Option(min=1, help="Training days, spread over the year.")] = 9,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the search.")] = 0,
) -> None:
    """Find the droop curve with the best return on training days: the 'tuned_droop' of a scenario's YAML."""
    from dss_marl.experiments.comparison import tuned_droop

    scenario = load_scenario(name)
    with progress_bar() as progress:
        bar = progress.add_task("tuning", total=tries + tries // 3)
        curve, score = tuned_droop(scenario, tries, days, seed, lambda: progress.advance(bar))
    say(f"best return on {days} training days: {score:.3f}")
    text = ", ".join(f"{key}: {value:g}" for key, value in curve.items())
    say(f"tuned_droop: {{{text}}}")

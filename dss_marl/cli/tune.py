"""``dss-marl tune``: tune the droop curve of a scenario."""

from __future__ import annotations

from typing import Annotated

import typer

from dss_marl.cli.arguments import MAX_SEED, AllowCode, Name, Set, chosen_scenario
from dss_marl.cli.console import progress_bar, say


def tune(
    name: Name,
    tries: Annotated[int, typer.Option(min=1, help="Number of random curves before the refinement.")] = 48,
    days: Annotated[int, typer.Option(min=1, help="Number of training days, spread over the year.")] = 9,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the search.")] = 0,
    settings: Set = None,
    allow_code: AllowCode = False,
) -> None:
    """Find the droop with the best return on training days, for 'tuned_droop' and 'tuned_on' in the YAML file.

    It is the inverters' curve, and the band of regulators where agents have some, which run by themselves under it.
    """
    from dss_marl.controllers.rules.droop import tuning_key
    from dss_marl.experiments.droop_tuning import DroopTuning

    scenario = chosen_scenario(name, settings, allow_code)
    with progress_bar() as progress:
        tuning = DroopTuning(scenario, tries, days, seed)
        bar = progress.add_task("tuning", total=tuning.runs)
        curve, score = tuning.best(lambda: progress.advance(bar))
        progress.update(bar, completed=tuning.runs)
    say(f"best return on {days} training days: {score:.3f}")
    text = ", ".join(f"{key}: {value:g}" for key, value in curve.items())
    say(f"tuned_droop: {{{text}}}")
    say(f'tuned_on: "{tuning_key(scenario)}"')

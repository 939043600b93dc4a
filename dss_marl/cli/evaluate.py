"""``dss-marl evaluate``: a run or scenario compared with the reference controllers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dss_marl._assets import known_names
from dss_marl.cli.arguments import Split
from dss_marl.cli.console import progress_bar, say
from dss_marl.cli.outputs import checked_folder
from dss_marl.cli.result_table import print_result_table
from dss_marl.envs.scenario_files import load_scenario


def evaluate(
    run_or_name: Annotated[
        str, typer.Argument(help="A run's folder, or a scenario's name to evaluate the reference controllers alone.")
    ],
    split: Split = "test",
    days: Annotated[int | None, typer.Option(min=1, help="Number of days, from the first of the split.")] = None,
    controllers: Annotated[
        str,
        typer.Option(
            help="Reference controllers, or package.module:name, separated by commas; 'all' takes the references that "
            "fit the scenario and are quick."
        ),
    ] = "all",
) -> None:
    """Compare a trained policy with the references on the same days; writes table and figures into the run's folder."""
    from dss_marl.experiments.comparison import compare

    folder = Path(run_or_name)
    is_run = folder.is_dir() and run_or_name not in known_names("scenarios")
    names = None if controllers == "all" else [name.strip() for name in controllers.split(",")]
    run = checked_folder(folder) if is_run else load_scenario(run_or_name)
    with progress_bar() as progress:
        table = compare(run, names, split, days, lambda of: progress.track(list(of), description="evaluating"))
    print_result_table(table, "learned" if is_run else None)
    if is_run:
        say(f"saved in {folder}")

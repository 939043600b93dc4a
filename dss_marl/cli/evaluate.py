"""``dss-marl evaluate``: a run or scenario compared with the reference controllers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from dss_marl.cli.arguments import AllowCode, Set, Split, Trust, run_or_scenario
from dss_marl.cli.console import progress_bar, saved, say
from dss_marl.cli.outputs import checked_folder, output_folder
from dss_marl.cli.result_table import print_result_table


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
    trust: Trust = False,
    settings: Set = None,
    allow_code: AllowCode = False,
    day: Annotated[int | None, typer.Option(help="Only the day of this number; a run's table stays as it is.")] = None,
    series: Annotated[
        Path | None,
        typer.Option(
            callback=output_folder,
            help="With --day: folder for its voltages, powers, positions, actions and rewards as CSV.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(callback=output_folder, help="Folder for the table, as table.md and table.json.")
    ] = None,
) -> None:
    """Compare a trained policy with the references on the same days; writes table and figures into the run's folder."""
    from dss_marl.experiments.comparison import compare, compared_controllers, record_day
    from dss_marl.experiments.runs.run_record import load_run

    if series is not None and day is None:
        raise ValueError("--series writes one day; give its number, as in --day 4")
    if day is not None and days is not None:
        raise ValueError("--day takes one day by its number, --days so many of the split; give one of them")
    run = run_or_scenario(run_or_name, settings, allow_code)
    folder = checked_folder(run) if isinstance(run, Path) else None
    names = None if controllers == "all" else [name.strip() for name in controllers.split(",")]
    with progress_bar() as progress:

        def track(items: Iterable[str]) -> Iterable[str]:
            return progress.track(list(items), description="evaluating")

        if day is None:
            table = compare(run, names, split, days, track, trust, allow_code)
        else:
            scenario, found, _ = compared_controllers(run, names, trust, allow_code)
            table, recordings = record_day(scenario, found, split, day, track)
    print_result_table(table, "learned" if folder else None)
    if series is not None:
        for name, recording in recordings.items():
            saved(recording.to_csv(series / name.replace(":", ".")))
    if out is not None:
        table.save(out, "learned" if folder else None)
        saved(out / "table.md")
    if folder and day is None:
        for remark in (*table.remarks(), *load_run(folder).remarks()):
            say(f"note: {remark}")
        say(f"saved in {folder}")

"""``dss-marl evaluate``: a run or a scenario beside the reference controllers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track

from dss_marl._assets import known_names
from dss_marl.cli.arguments import Split
from dss_marl.cli.console import console, saved, say
from dss_marl.cli.result_table import print_result_table
from dss_marl.envs.scenario_files import load_scenario

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.envs.scenario import Scenario
    from dss_marl.experiments import ComparisonTable


def evaluate(
    run_or_name: Annotated[str, typer.Argument(help="A run's folder, or a scenario's name for its references alone.")],
    split: Split = "test",
    days: Annotated[int | None, typer.Option(help="Only the first so many days of the split.")] = None,
    controllers: Annotated[
        str,
        typer.Option(
            help="Reference controllers, or package.module:name, separated by commas; 'all' takes the references that "
            "fit the scenario and are quick."
        ),
    ] = "all",
    day: Annotated[int | None, typer.Option(help="Only the day of this number; a run's table stays as it is.")] = None,
    series: Annotated[
        Path | None,
        typer.Option(
            help="With --day: folder for its series, every voltage, power, position, action and reward as CSV."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the table, as table.md and table.json.")] = None,
) -> None:
    """Compare a trained policy and the references on the same days; a run's folder gets table and pictures."""
    from dss_marl.experiments.comparison import compare

    folder = Path(run_or_name)
    is_run = folder.is_dir() and run_or_name not in known_names("scenarios")
    names = None if controllers == "all" else [name.strip() for name in controllers.split(",")]
    source = folder if is_run else load_scenario(run_or_name)
    if series is not None and day is None:
        raise ValueError("--series writes one day; give its number, as in --day 4")
    if day is None:
        table = compare(source, names, split, days, _tracked)
    else:
        table = _one_day(source, names, split, day, series)
    print_result_table(table, "learned" if is_run else None)
    if is_run and day is None:
        say(f"saved in {folder}")
    if out is not None:
        table.save(out, "learned" if is_run else None)
        saved(out / "table.md")


def _one_day(
    source: Path | Scenario, names: list[str] | None, split: str, day: int, series: Path | None
) -> ComparisonTable:
    """The figures of a day; its series go into a folder for each controller."""
    from dss_marl.experiments.comparison import record_day

    table, recordings = record_day(source, names, split, day, _tracked)
    for name, recording in recordings.items():
        if series is not None:
            saved(recording.to_csv(series / name.replace(":", ".")))
    return table


def _tracked(names: Iterable[str]) -> Iterable[str]:
    return track(list(names), "evaluating", console=console)

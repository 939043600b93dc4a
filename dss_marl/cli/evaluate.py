"""``dss-marl evaluate``: a run, a scenario, or several runs and controllers, compared on the same days."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from dss_marl.cli.arguments import AllowCode, Set, Split, Trust, run_or_scenario
from dss_marl.cli.console import progress_bar, saved, say
from dss_marl.cli.outputs import checked_folder, output_folder
from dss_marl.cli.result_table import print_paired, print_result_table

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.experiments.recording import Recording


def evaluate(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|CONTROLLER|SCENARIO...",
            help="A run's folder; or a scenario's name, to evaluate the reference controllers alone; or several runs, "
            "controllers and shipped policies (policy:NAME), and the scenario that they play.",
        ),
    ],
    split: Split = "test",
    days: Annotated[
        int | None, typer.Option("--days", "--episodes", min=1, help="Number of days, from the first of the split.")
    ] = None,
    controllers: Annotated[
        str | None,
        typer.Option(
            help="Reference controllers, or package.module:name, separated by commas; 'all' takes the references that "
            "fit the scenario and are quick, as does a single name without this option."
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="With several: whose days the others are paired with; default: the first.")
    ] = None,
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
        Path | None,
        typer.Option(
            callback=output_folder,
            help="Folder for the table, as table.md and table.json; of several also days.csv, paired.csv and, in the "
            "layout of MARL-eval, marl_eval.json.",
        ),
    ] = None,
) -> None:
    """Compare a trained policy with the references on the same days; writes table and figures into the run's folder.

    Several runs and controllers are compared with each other: paired differences, and files only with --out.
    """
    if series is not None and day is None:
        raise ValueError("--series writes one day; give its number, as in --day 4")
    if day is not None and days is not None:
        raise ValueError("--day takes one day by its number, --days so many of the split; give one of them")
    if len(names) > 1 or names[0].startswith("policy:"):
        if settings:
            raise ValueError("--set changes a scenario that is evaluated alone; write the change into a YAML file")
        _several([*names, *_named(controllers)], split, days, day, against, (allow_code, trust), series, out)
        return
    if against is not None:
        raise ValueError("--against pairs several runs and controllers; name them, and their scenario")
    _one(names[0], controllers or "all", split, days, day, trust, settings, allow_code, series, out)


def _named(controllers: str | None) -> list[str]:
    if controllers == "all":
        raise ValueError("several runs and controllers are compared by their names; leave out --controllers all")
    return [name.strip() for name in (controllers or "").split(",") if name.strip()]


def _one(
    run_or_name: str,
    controllers: str,
    split: str,
    days: int | None,
    day: int | None,
    trust: bool,
    settings: list[str] | None,
    allow_code: bool,
    series: Path | None,
    out: Path | None,
) -> None:
    """A run or a scenario with the reference controllers."""
    from dss_marl.experiments.comparison import compare, compared_controllers, record_day
    from dss_marl.experiments.runs.run_record import load_run

    run = run_or_scenario(run_or_name, settings, allow_code)
    folder = checked_folder(run) if isinstance(run, Path) else None
    names = None if controllers == "all" else [name.strip() for name in controllers.split(",")]
    with progress_bar() as progress:
        track = _Track(progress)
        if day is None:
            table = compare(run, names, split, days, track, trust, allow_code)
        else:
            scenario, found, _ = compared_controllers(run, names, trust, allow_code)
            table, recordings = record_day(scenario, found, split, day, track)
    print_result_table(table, "learned" if folder else None)
    if series is not None:
        _save_series(recordings, series)
    if out is not None:
        table.save(out, "learned" if folder else None)
        saved(out / "table.md")
    if folder and day is None:
        for remark in (*table.remarks(), *load_run(folder).remarks()):
            say(f"note: {remark}")
        say(f"saved in {folder}")


def _several(
    names: Sequence[str],
    split: str,
    days: int | None,
    day: int | None,
    against: str | None,
    allowed: tuple[bool, bool],
    series: Path | None,
    out: Path | None,
) -> None:
    """Runs and controllers with each other."""
    from dss_marl.experiments import contenders
    from dss_marl.experiments.comparison import record_day

    scenario, found, remarks = contenders.found_contenders(names, *allowed)
    if against is not None and against not in [one.name for one in found]:
        raise ValueError(f"--against {against}: not among the compared: {', '.join(one.name for one in found)}")
    if not found:
        raise ValueError("name a run or a controller beside the scenario")
    with progress_bar() as progress:
        track = _Track(progress)
        if day is None:
            table = contenders.compare_contenders(scenario, found, split, days, track)
        else:
            controllers = {one.name: one.controller for one in found}
            table, recordings = record_day(scenario, controllers, split, day, track)
    print_result_table(table, None)
    base = (against or found[0].name) if len(found) > 1 else None
    if base is not None:
        print_paired(contenders.paired_differences(table, base), len(table.days))
    if series is not None:
        _save_series(recordings, series)
    for remark in remarks:
        say(f"note: {remark}")
    if out is not None:
        for path in contenders.save_contenders(table, found, out, base):
            saved(path)


class _Track:
    """Follows controllers on a progress bar as they are evaluated."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(self, items: Iterable[str]) -> Iterable[str]:
        return self._progress.track(list(items), description="evaluating")


def _save_series(recordings: dict[str, Recording], series: Path) -> None:
    for name, recording in recordings.items():
        saved(recording.to_csv(series / name.replace(":", ".").replace("/", ".")))

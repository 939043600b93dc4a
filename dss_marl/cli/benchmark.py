"""``dss-marl benchmark``: a suite of trainings, side by side and resumed, with tables, intervals and pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dss_marl.cli.arguments import AllowCode
from dss_marl.cli.console import complain, console, saved, say
from dss_marl.cli.outputs import checked_folder, output_folder
from dss_marl.cli.tables import print_table

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.experiments.study.results import StudyResults
    from dss_marl.experiments.study.study import Progress, Watch

_MOST_RUNNING = 16  # lines of trainings under way


def benchmark(
    suite: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="YAML file with scenarios, recipes and seeds.")
    ],
    out: Annotated[
        Path | None, typer.Option(callback=output_folder, help="Folder of runs and results; default runs/NAME.")
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=0, help="Trainings at once, each in a process on one core; 0: one per core.")
    ] = 0,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Train on a Ray cluster instead: its address, auto or local; needs ray."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace runs of other settings that the folder holds.")
    ] = False,
    allow_code: AllowCode = False,
) -> None:
    """Train scenarios x recipes x seeds and compare them on test days; a next call does what is missing.

    This is about what is learned; 'dss-marl bench' measures how fast steps are.
    """
    from dss_marl.experiments.study.report import write_report
    from dss_marl.experiments.study.study import Study
    from dss_marl.experiments.study.suite import plan_of, read_suite

    plan = plan_of(read_suite(suite), allow_code)
    study = Study(plan, out or checked_folder(Path("runs") / plan.suite.name), overwrite)
    with _watched() as watch:
        results = study.run(jobs or os.cpu_count() or 1, ray, watch)
    _print(results)
    for path in write_report(results, study.folder):
        saved(path)
    if len(results.cells) < len(plan.cells):
        missing = len(plan.cells) - len(results.cells)
        say(f"{missing} of {len(plan.cells)} trainings failed or are missing; the same command does them again")
        raise typer.Exit(1)


@contextmanager
def _watched() -> Iterator[Watch]:
    """What shows the progress: a live table in a terminal, else a line for each training that ends."""
    said: set[str] = set()
    begun = False

    def told(progress: Progress) -> None:
        nonlocal begun
        if not begun and progress.done:
            say(f"{len(progress.done)} of {len(progress.plan.cells)} trainings were finished before")
        said.update(() if begun else progress.done)
        begun = True
        for name in sorted({*progress.done, *progress.failed} - said):
            said.add(name)
            if name in progress.failed:
                complain("failed", f"{name}: {progress.failed[name]}")
            elif not console.is_terminal:
                say(f"{len(progress.done)} of {len(progress.plan.cells)}: {name} done")

    if not console.is_terminal:
        yield told
        return
    with Live(console=console, refresh_per_second=4) as live:

        def show(progress: Progress) -> None:
            told(progress)
            live.update(_live_table(progress))

        yield show


def _live_table(progress: Progress) -> Table:
    """A line for each training under way, and the count of those that are finished for each scenario and recipe."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 1))
    for head in ("scenario", "recipe", "seeds done", "under way"):
        table.add_column(Text(head))
    shown = 0
    for scenario, recipe in progress.plan.rows:
        cells = [c for c in progress.plan.cells if (c.scenario.name, c.recipe) == (scenario, recipe)]
        under_way = [cell for cell in cells if cell.name in progress.running]
        count = sum(cell.name in progress.done for cell in cells)
        lost = sum(cell.name in progress.failed for cell in cells)
        states = [_state(f"seed {cell.seed}", progress.learned.get(cell.name)) for cell in under_way]
        if not states and shown >= _MOST_RUNNING:
            continue
        shown += 1
        done = Text(f"{count} of {len(cells)}", "green" if count == len(cells) else "")
        done.append(f", {lost} failed" if lost else "", "red")
        table.add_row(Text(scenario), Text(recipe), done, Text("\n".join(states)))
    others = [name for name in progress.running if name.endswith("/references")]
    total = f"{len(progress.done)} of {len(progress.plan.cells)} done"
    table.caption = Text("; ".join([total, *(f"playing {name}" for name in others)]))
    return table


def _state(seed: str, learned: tuple[float, float] | None) -> str:
    if learned is None:
        return f"{seed}: starting"
    share, score = learned
    return f"{seed}: {share:.0%}, validation return {score:.3g}" if share < 1 else f"{seed}: playing test days"


def _print(results: StudyResults) -> None:
    from dss_marl.experiments.study.report import aggregate_rows, line_rows
    from dss_marl.experiments.study.summary import lines, overall

    found = lines(results)
    if found:
        heads, rows = line_rows(found)
        plain = [[cell.replace("`", "") for cell in row] for row in rows]
        print_table(f"{results.name}: mean return of a test day, and score", heads, plain, ("recipe", "best rule"))
    whole = overall(results)
    if whole is not None:
        heads, rows = aggregate_rows(whole)
        print_table(f"normalised scores of {', '.join(whole.tasks)}, with 95 % intervals", heads, rows)

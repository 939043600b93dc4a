"""``dss-marl search``: trials of training settings, with a line for each, a table of the best, and a file to paste."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dss_marl.cli.arguments import MAX_SEED, AllowCode, Name, RecipeName, Set, chosen_scenario, sized
from dss_marl.cli.console import progress_bar, saved, say
from dss_marl.cli.outputs import checked_folder, output_folder
from dss_marl.cli.tables import print_table

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.experiments.parameter_search import SearchResults, TrialResult

_SHOWN = 10  # trials in the table


def search(
    name: Name,
    trials: Annotated[int, typer.Option(min=1, help="Trials in the end, with those of earlier calls.")] = 20,
    space: Annotated[
        Path | None,
        typer.Option(help="YAML file of settings and their ranges; default: learning rate, gamma and a few more."),
    ] = None,
    storage: Annotated[
        Path | None,
        typer.Option(help="SQLite file in which Optuna keeps the trials; default: search.db in the folder."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(callback=output_folder, help="Folder of the search; default runs/search-NAME.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of every training, and of the values.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Agent-steps of a trial; default: the scenario's.")] = None,
    copies: Annotated[
        int | None, typer.Option(min=1, help="Copies of the environment, as of 'dss-marl train'.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Solves the copies that learn: opendss, or a batch engine. Validation uses OpenDSS.")
    ] = "opendss",
    recipe: RecipeName = None,
    settings: Set = None,
    objective: Annotated[
        str, typer.Option(help="best: a trial's best validation return; last: the mean of its last three.")
    ] = "best",
    pruner: Annotated[str, typer.Option(help="Which trials are given up early: median, hyperband or none.")] = "median",
    num_jobs: Annotated[int, typer.Option(min=1, help="Trials at once, each in a process on one core.")] = 1,
    allow_code: AllowCode = False,
) -> None:
    """Search for training settings with Optuna, judged on validation days; the same command goes on after a stop."""
    from dss_marl.experiments.parameter_search import search as searched

    scenario = sized(chosen_scenario(name, settings, allow_code, recipe), copies, steps, engine, recipe, settings or ())
    folder = out or checked_folder(Path("runs") / f"search-{scenario.name}")
    with progress_bar() as progress:
        bar = progress.add_task(f"searching {scenario.name}", total=trials)

        def report(trial: TrialResult) -> None:
            progress.update(bar, completed=min(trial.number + 1, trials))
            say(_line(trial))

        found = searched(
            scenario,
            folder,
            trials,
            space,
            storage,
            seed,
            engine,
            objective,
            pruner,
            num_jobs,
            report,
        )
        progress.update(bar, completed=trials)
    _print(found)
    for path in found.files():
        saved(path)
    stopped = trials - sum(one.state in ("complete", "pruned", "failed") for one in found.trials)
    if stopped > 0:
        where = f"; what they said is in {folder / 'logs'}" if num_jobs > 1 else ""
        say(f"{stopped} of {trials} trials were cut short{where}; the same command tries them again")
        raise typer.Exit(1)
    if found.best is not None:
        say(
            f"'dss-marl evaluate {found.best.folder}' plays the best on test days; train it anew with other seeds first"
        )


def _line(trial: TrialResult) -> str:
    values = ", ".join(f"{key.removeprefix('training.')} {_told(value)}" for key, value in trial.values.items())
    said = {
        "complete": f"validation return {trial.value:.4g}",
        "pruned": f"pruned after {len(trial.returns)} evaluations",
    }.get(trial.state, f"failed: {trial.error}")
    return f"trial {trial.number}: {said}; {values}; {trial.seconds:.0f} s"


def _print(found: SearchResults) -> None:
    keys = list(dict.fromkeys(key for one in found.trials for key in one.values))
    heads = ["trial", "validation return", *(key.removeprefix("training.") for key in keys), "seconds"]
    rows = [
        [str(one.number), f"{one.value:.4g}", *(_told(one.values.get(key)) for key in keys), f"{one.seconds:.0f}"]
        for one in found.ranked[:_SHOWN]
    ]
    if rows:
        print_table(f"{found.name}: best trials", heads, rows)
    if found.importances:
        shares = [(key.removeprefix("training."), f"{share:.0%}") for key, share in found.importances.items()]
        print_table("share of the variance of complete trials", ("setting", "share"), shares)


def _told(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

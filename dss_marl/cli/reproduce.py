"""``dss-marl reproduce``: a run is repeated as its record says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dss_marl.cli.arguments import AllowCode
from dss_marl.cli.console import say
from dss_marl.cli.outputs import checked_folder, output_folder
from dss_marl.cli.training_progress import training_progress


def reproduce(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run; it is not changed.")],
    out: Annotated[
        Path | None, typer.Option(callback=output_folder, help="Folder of the repetition; default RUN-again.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that the folder holds.")] = False,
    allow_code: AllowCode = False,
) -> None:
    """Repeat a run as its record says; says whether learning curve, policies and validation figures agree.

    Exit status 1 if they do not. On another processor, or with other versions, small differences are to be expected.
    """
    from dss_marl import experiments

    record = experiments.load_run(run)
    folder = out or checked_folder(run.resolve().with_name(f"{run.resolve().name}-again"))
    with training_progress(record.scenario["name"], record.settings["agent_steps"]) as report:
        found = experiments.reproduce(run, folder, report, overwrite, allow_code)
    say(f"repeated in {folder}")
    if found.agrees:
        say("agrees to the last bit: learning curve, policy files and validation figures")
        return
    for text in found.differences():
        say(f"differs: {text}")
    for text in found.causes():
        say(f"other than before: {text}")
    raise typer.Exit(1)

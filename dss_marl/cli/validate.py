"""``dss-marl validate``: the proof of scenarios, one after the other, printed and saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from dss_marl._assets import known_names
from dss_marl.cli.arguments import AllowCode, Set, chosen_scenario, own_results
from dss_marl.cli.console import complain, console, saved
from dss_marl.cli.errors import EXPECTED, message_of
from dss_marl.cli.outputs import checked_folder, output_folder
from dss_marl.cli.proof_table import print_proof
from dss_marl.cli.result_table import print_result_table
from dss_marl.cli.suite import suite
from dss_marl.envs.scenario import Scenario

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.experiments.validation import Proof


def validate(
    name: Annotated[str | None, typer.Argument(help="A scenario's name or the path of a YAML file.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All shipped scenarios; then the suite's table.")] = False,
    days: Annotated[int | None, typer.Option(min=1, help="Maximum number of the frozen test days.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Two days, few trials, no intervals; saves nothing.")] = False,
    out: Annotated[
        Path | None, typer.Option(callback=output_folder, help="Folder for the results; default results/NAME.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(callback=output_folder, help="Folder for a figure of a test day.")
    ] = None,
    settings: Set = None,
    allow_code: AllowCode = False,
) -> None:
    """Check that a task is worth learning; saves validation.json and table.json, exits with 1 if a check fails."""
    if every == (name is not None):
        raise ValueError("validate takes the name of a scenario, or --all")
    if every and out is not None:
        raise ValueError("--out is for one scenario; --all writes into results/NAME")
    if every and not quick:
        from dss_marl.experiments.reports.suite_table import readme_of

        readme_of(Path.cwd())  # the suite's table is written last
    failed = []
    for one in known_names("scenarios") if every else [str(name)]:
        try:
            scenario = chosen_scenario(one, settings, allow_code)
            if out is None and not quick:
                own_results(scenario, one, settings)
            folder = None if quick and out is None else out or checked_folder(Path("results") / scenario.name)
            proof = _prove(scenario, days, quick)
        except EXPECTED as error:
            if not every:
                raise
            complain(one, message_of(error))
            failed.append(one)
            continue
        print_proof(proof)
        print_result_table(proof.table, None)
        if not proof.passed:
            failed.append(proof.scenario.name)
        _keep(proof, folder, pictures)
    if every and not quick:
        suite()
    _exit_if(failed)


def _prove(scenario: Scenario, days: int | None, quick: bool) -> Proof:
    from dss_marl.experiments.validation import prove

    with console.status(Text(scenario.name)) as status:
        return prove(scenario, days, quick, lambda text: status.update(Text(f"{scenario.name}: {text}")))


def _keep(proof: Proof, folder: Path | None, pictures: Path | None) -> None:
    """Save the results and the figure of a test day, each if a folder is given."""
    from dss_marl.experiments.validation.result_files import save

    if folder is not None:
        save(proof, folder)
        saved(folder)
    if pictures is not None:
        from dss_marl.experiments.day_picture import picture

        saved(picture(proof.scenario, pictures / f"{proof.scenario.name}.png"))


def _exit_if(failed: Sequence[str]) -> None:
    if failed:
        complain("failed", ", ".join(failed))
        raise typer.Exit(1)

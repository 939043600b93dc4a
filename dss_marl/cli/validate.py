"""``dss-marl validate``: the proof of scenarios, printed and saved; of all of them, side by side and resumed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from dss_marl._assets import known_names
from dss_marl.cli.arguments import AllowCode, Set, chosen_scenario, own_results
from dss_marl.cli.console import complain, console, saved, say
from dss_marl.cli.outputs import checked_folder, output_folder
from dss_marl.cli.proof_table import print_proof, print_seconds, print_standings
from dss_marl.cli.suite import suite
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_files import load_scenario

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.experiments.validation import Proof


def validate(
    name: Annotated[str | None, typer.Argument(help="A scenario's name or the path of a YAML file.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All shipped scenarios; then the suite's table.")] = False,
    days: Annotated[int | None, typer.Option(min=1, help="Maximum number of the frozen test days.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Two days, few trials, no intervals; saves nothing.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="With --all: scenarios at once, each on one processor.")] = 1,
    again: Annotated[bool, typer.Option("--again", help="With --all: also those whose results are not stale.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only say which results are stale; runs nothing.")] = False,
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
    _check_options(name, every, quick, out)
    if check:
        _exit_if(_report_stale(known_names("scenarios") if every else [str(name)], allow_code), "stale")
        return
    if every:
        _validate_all(days, quick, jobs, again, pictures, settings, allow_code)
        return
    scenario = chosen_scenario(str(name), settings, allow_code)
    if out is None and not quick:
        own_results(scenario, str(name), settings)
    folder = None if quick and out is None else out or checked_folder(Path("results") / scenario.name)
    proof = _prove(scenario, days, quick)
    print_proof(proof)
    print_standings(proof)
    print_seconds(proof)
    _keep(proof, folder, pictures)
    _exit_if([] if proof.passed else [proof.scenario.name])


def _check_options(name: str | None, every: bool, quick: bool, out: Path | None) -> None:
    if every == (name is not None):
        raise ValueError("validate takes the name of a scenario, or --all")
    if every and out is not None:
        raise ValueError("--out is for one scenario; --all writes into results/NAME")
    if every and not quick:
        from dss_marl.experiments.reports.suite_table import readme_of

        readme_of(Path.cwd())  # the suite's table is written last


def _report_stale(names: Sequence[str], allow_code: bool = False) -> list[str]:
    """Say why results are stale; returns the scenarios."""
    from dss_marl.experiments.validation.result_files import stale_folder

    found = []
    for one in names:
        scenario = load_scenario(one, allow_code)
        reason = stale_folder(scenario, Path("results") / scenario.name)
        if reason:
            say(f"{scenario.name}: {reason}; run 'dss-marl validate {one}'")
            found.append(scenario.name)
    return found


def _validate_all(
    days: int | None,
    quick: bool,
    jobs: int,
    again: bool,
    pictures: Path | None,
    settings: list[str] | None,
    allow_code: bool,
) -> None:
    """Validate the shipped scenarios in processes of their own, and write the suite's table."""
    names = known_names("scenarios") if again or quick else _report_stale(known_names("scenarios"))
    options = [*(["--days", str(days)] if days else []), *(["--quick"] if quick else [])]
    options += [part for one in settings or [] for part in ("--set", one)] + ["--allow-code"] * allow_code
    options += ["--pictures", str(pictures)] if pictures else []
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(_validated, one, options): one for one in names}
        failed = []
        for done in as_completed(running):
            code, text = done.result()
            console.print(Text.from_ansi(text))
            if code:
                failed.append(running[done])
    if not quick:
        suite()
    _exit_if(sorted(failed))


def _validated(name: str, options: Sequence[str]) -> tuple[int, str]:
    """Exit status and output of the validation of one scenario."""
    command = [sys.executable, "-m", "dss_marl.cli.app", "validate", name, *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


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


def _exit_if(names: Sequence[str], what: str = "failed") -> None:
    if names:
        complain(what, ", ".join(names))
        raise typer.Exit(1)

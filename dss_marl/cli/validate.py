"""``dss-marl validate``: scenario by scenario, printed and saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from dss_marl.cli.validation_table import print_proof
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.experiments.evaluation import ComparisonTable
from dss_marl.experiments.validation.proof import prove
from dss_marl.experiments.validation.result_files import save


def validate_named(
    console: Console,
    names: Sequence[str],
    days: int | None,
    quick: bool,
    out: Path | None,
    pictures: Path | None,
    show: Callable[[ComparisonTable, str | None], None],
) -> list[str]:
    """Prove scenarios one after the other; a scenario that cannot be played fails and does not stop the others.

    Args:
        console: to print on.
        names: of scenarios, or paths.
        days, quick: see prove.
        out: folder for the results; None: ``results/<scenario>``, and nothing if quick.
        pictures: folder for a picture of each; None draws nothing.
        show: prints the table of the controllers.

    Returns:
        the names of those that failed.

    Raises:
        ValueError: the only scenario asked for cannot be played.
    """
    failed = []
    for name in names:
        try:
            scenario = load_scenario(name)
            with console.status(f"{scenario.name}") as status:
                proof = prove(
                    scenario,
                    days,
                    quick,
                    lambda text, s=status, n=scenario.name: s.update(f"{n}: {text}"),  # type: ignore[misc]
                )
        except ValueError as error:
            if len(names) == 1:
                raise
            console.print(f"[red]{name}:[/red] {error}", highlight=False, soft_wrap=True)
            failed.append(name)
            continue
        print_proof(proof, console)
        show(proof.table, None)
        if not proof.passed:
            failed.append(scenario.name)
        folder = out if out is not None else None if quick else Path("results") / scenario.name
        if folder is not None:
            save(proof, folder)
            console.print(f"saved {folder}", highlight=False, soft_wrap=True)
        if pictures is not None:
            from dss_marl.experiments.validation.day_figure import picture

            path = picture(scenario, None, pictures / f"{scenario.name}.png")
            console.print(f"saved {path}", highlight=False, soft_wrap=True)
    return failed

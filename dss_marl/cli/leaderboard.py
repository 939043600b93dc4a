"""``dss-marl leaderboard``: write the page, add runs, or play an entry again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from dss_marl.cli.arguments import AllowCode
from dss_marl.cli.console import saved, say
from dss_marl.cli.tables import print_table


def leaderboard(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            exists=True, file_okay=False, metavar="[RUN...]", help="Runs to add, which differ in the seed alone."
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(exists=True, metavar="ENTRY", help="Only play an entry's policies again; 1 if figures differ."),
    ] = None,
    name: Annotated[str, typer.Option(help="With runs: name of the entry.")] = "",
    by: Annotated[str, typer.Option(help="With runs: its authors.")] = "",
    link: Annotated[str, typer.Option(help="With runs: address of a paper or repository.")] = "",
    allow_code: AllowCode = False,
) -> None:
    """Write LEADERBOARD.md of a checkout from its leaderboard/, to which runs may be added; or check an entry of it."""
    from dss_marl.experiments.leaderboard import add_entry, write_page

    if check is not None:
        if runs:
            raise ValueError("--check plays one entry again, and runs make one; give one of them")
        _check(check)
        return
    if runs:
        if not name or not by:
            raise ValueError("an entry needs --name and --by, which the table shows")
        saved(add_entry(runs, Path.cwd(), name, by, link, allow_code).folder)
    saved(write_page(Path.cwd()))


def _check(path: Path) -> None:
    from dss_marl.experiments.leaderboard import check_entry, load_entry

    entry = load_entry(path)
    found = check_entry(entry)
    rows = [
        (
            str(one.seed),
            f"{one.said:.6g}",
            f"{one.found:.6g}",
            f"{one.largest:.2g}",
            Text("agrees", "green") if one.agrees else Text("differs", "red"),
        )
        for one in found
    ]
    heads = ["seed", "return said", "return now", "largest difference of a day", ""]
    print_table(f"{entry.about.name} on {entry.task}, {len(entry.scenario.days)} test days", heads, rows)
    without = len(entry.results.cells) - len(found)
    if without:
        say(f"{without} of {len(entry.results.cells)} seeds come without their network and were not played")
    if not all(one.agrees for one in found):
        raise typer.Exit(1)

"""The proof of a scenario as a table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from dss_marl.cli.console import console, say

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.experiments.validation import Proof

_MARKS = {True: "[green]pass[/green]", False: "[bold red]FAIL[/bold red]", None: "-"}


def print_proof(proof: Proof) -> None:
    """Print the checks, the controllers that do not apply, and what failed."""
    from dss_marl.experiments.validation import CHECKS, failures

    days = len(proof.budget.days)
    table = Table(title=f"{proof.scenario.name}: proof on {days} test days", box=box.SIMPLE_HEAD)
    for heading in ("", "what", "measured", "demanded", "", "on what"):
        table.add_column(heading, overflow="fold")
    for check, meaning in CHECKS.items():
        rows = [row for row in proof.rows if row.check == check]
        if rows:
            table.add_row(f"[bold]{check}[/bold]", f"[bold]{meaning}[/bold]", "", "", "", "")
        for row in rows:
            cells = (Text(row.what), Text(row.measured), Text(row.demanded), _MARKS[row.passed], Text(row.note))
            table.add_row("", *cells)
        table.add_section()
    console.print(table)
    for name, why in proof.refused.items():
        say(f"{name} does not apply: {why}")
    failed = failures(proof.rows)
    if not failed:
        console.print(f"[green]{proof.scenario.name} passes[/green]", highlight=False)
    for row in failed:
        text = f"failed ({row.check}) {row.what}: {row.measured}; demanded {row.demanded}. {row.note}"
        console.print(Text(text, style="red"), soft_wrap=True)

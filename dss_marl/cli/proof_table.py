"""``dss-marl validate``: the proof as a table."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dss_marl.experiments.validation.check import CHECKS, failures
from dss_marl.experiments.validation.proof import Proof

_MARKS = {True: "[green]pass[/green]", False: "[bold red]FAIL[/bold red]", None: "-"}


def print_proof(proof: Proof, console: Console) -> None:
    """Print the checks, what did not play, and what failed."""
    days = len(proof.scope.days)
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
        console.print(f"{name} does not play: {why}", highlight=False, soft_wrap=True)
    failed = failures(proof.rows)
    if not failed:
        console.print(f"[green]{proof.scenario.name} passes[/green]", highlight=False)
    for row in failed:
        console.print(
            Text(f"failed ({row.check}) {row.what}: {row.measured}; demanded {row.demanded}. {row.note}", style="red"),
            soft_wrap=True,
        )

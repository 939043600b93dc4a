"""The proof of a scenario as a table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from dss_marl.cli.console import say
from dss_marl.cli.tables import Cell, print_table

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.experiments.validation import Proof

_MARKS = {True: Text("pass", "green"), False: Text("FAIL", "bold red"), None: Text("-")}


def print_proof(proof: Proof) -> None:
    """Print the checks, the controllers that do not apply, and what failed."""
    from dss_marl.experiments.validation import CHECKS, failures

    days = len(proof.budget.days)
    rows: list[tuple[Cell, ...]] = []
    for check, meaning in CHECKS.items():
        own = [row for row in proof.rows if row.check == check]
        if own:
            rows.append((Text(check, "bold"), Text(meaning, "bold"), "", "", "", ""))
        rows += [("", row.what, row.measured, row.demanded, _MARKS[row.passed], row.note) for row in own]
    heads = ("", "what", "measured", "demanded", "", "on what")
    print_table(f"{proof.scenario.name}: proof on {days} test days", heads, rows, left=heads, sections=True)
    for name, why in proof.refused.items():
        say(f"{name} does not apply: {why}")
    failed = failures(proof.rows)
    if not failed:
        say(f"{proof.scenario.name} passes", "green")
    for row in failed:
        say(f"failed ({row.check}) {row.what}: {row.measured}; demanded {row.demanded}. {row.note}", "red")

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


def print_standings(proof: Proof) -> None:
    """Print every controller on the days that it played, the highest score first, and the bound."""
    from dss_marl.experiments.validation.standings import days_text

    every = len(proof.budget.days)
    rows: list[tuple[Cell, ...]] = []
    for one in proof.standings:
        score = f"{one.score[0]:.2f} ({one.score[1]:.2f} to {one.score[2]:.2f})" if one.score is not None else ""
        mean, low, high = one.returned
        returned = f"{mean:.4g} ({low:.4g} to {high:.4g})"
        rows.append((one.controller, days_text(one.days, every), returned, score, "rule" if one.rule else ""))
    heads = ("controller", "days", "return", "score", "")
    print_table(f"{proof.scenario.name}: mean (95 % interval over days)", heads, rows)
    if proof.optimum:
        say(f"{proof.scenario.reference_controller} is the optimum over {proof.optimum}")
    if proof.bounds is not None:
        mean_bound = sum(proof.bounds.returns.values()) / len(proof.bounds.returns)
        say(f"bound on {len(proof.bounds.returns)} days, {proof.bounds.name}: {mean_bound:.4g}; {proof.bounds.says}")


def print_seconds(proof: Proof) -> None:
    """Print the computing time of the stages that took longest, and of all."""
    longest = sorted(proof.seconds.items(), key=lambda row: -row[1])[:8]
    told = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in longest)
    say(f"computing time {sum(proof.seconds.values()):.0f} s: {told}")

"""Controllers side by side, as a table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from dss_marl.cli.console import console

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.experiments import ComparisonTable

_WIDE = 110  # terminal width from which the intervals fit


def print_result_table(table: ComparisonTable, compared: str | None) -> None:
    """Print the mean figures of each controller, with intervals where the terminal is wide enough; the best in bold.

    Args:
        table: of the evaluation.
        compared: the controller whose better days are counted; None: no such column.
    """
    names = table.shown()
    heads, rows = table.rows(compared)
    wide = console.width >= _WIDE
    what = "mean (95 % interval over days)" if wide else "mean"
    title = f"{table.scenario}: {len(table.days)} {table.split} days, {what}"
    shown = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1) if wide else (0, 0, 0, 1))
    for heading in heads:
        first = heading == "controller"
        shown.add_column(heading, justify="left" if first else "right", no_wrap=first, overflow="fold")
    best = {figure: _best(table, figure) for figure in names}
    for controller, *cells in rows:
        short = [cell.replace(" (", "\n(") if wide else cell.split(" (")[0] for cell in cells]
        bold = [
            f"[bold]{cell}[/bold]" if best[figure] == controller else cell
            for figure, cell in zip(names, short, strict=False)
        ]
        shown.add_row(controller, *bold, *short[len(names) :])
    console.print(shown)
    for name, reason in table.left_out.items():
        console.print(f"left out: {name}: {reason}", markup=False, highlight=False)
    if not wide:
        console.print(f"a terminal at least {_WIDE} columns wide also shows the 95 % intervals", highlight=False)


def _best(table: ComparisonTable, figure: str) -> str:
    """The controller with the best mean."""
    from dss_marl.experiments.metrics import FIGURES

    choose = max if FIGURES[figure][2] else min
    return choose((float(table.column(name, figure).mean()), name) for name in table.figures)[1]

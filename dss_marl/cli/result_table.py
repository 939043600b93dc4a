"""Controllers side by side, as a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from dss_marl.cli.console import console, say
from dss_marl.cli.tables import Cell, print_table

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.experiments import ComparisonTable
    from dss_marl.experiments.contenders import PairedDifference

_WIDE = 110  # terminal width from which the intervals fit
_MOST_REASONS = 4  # that are told one by one


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
    one = len(table.days) == 1  # named by its number, as it need not belong to the split
    title = f"{table.scenario}: {f'day {table.days[0]}' if one else f'{len(table.days)} {table.split} days'}, {what}"
    best = {figure: _best(table, figure) for figure in names}
    shown: list[tuple[Cell, ...]] = []
    for controller, *cells in rows:
        short = [cell.replace(" (", "\n(") if wide else cell.split(" (")[0] for cell in cells]
        styles = ["bold" if best[figure] == controller else "" for figure in names]
        bold = [Text(cell, style) for cell, style in zip(short, styles, strict=False)]
        shown.append((controller, *bold, *short[len(names) :]))
    print_table(title, heads, shown)
    for remark in table.variants():
        say(f"note: {remark}")
    reasons = list(dict.fromkeys(table.left_out.values()))
    for reason in reasons if len(reasons) <= _MOST_REASONS else []:
        names_left_out = [name for name, other in table.left_out.items() if other == reason]
        say(f"left out: {', '.join(names_left_out)}: {reason}")
    if len(reasons) > _MOST_REASONS:  # most controllers are for other devices
        say(f"left out: {', '.join(table.left_out)}; naming one says why: --controllers NAME")
    if not wide:
        say(f"a terminal at least {_WIDE} columns wide also shows the 95 % intervals")


def print_paired(found: Sequence[PairedDifference], days: int) -> None:
    """Print how each contender differs from one of them on the same days."""
    rows: list[tuple[Cell, ...]] = []
    for one in found:
        mean, low, high = one.difference
        colour = {"better": "green", "worse": "red"}.get(one.verdict, "")
        ends = f"{mean:+.3g} ({low:+.3g} to {high:+.3g})"
        rows.append((one.name, ends, f"{one.better} of {days}", f"{one.worse} of {days}", Text(one.verdict, colour)))
    title = f"team return minus that of {found[0].against} on the same days, mean (95 % interval over days)"
    print_table(title, ["controller", "difference", "days better", "days worse", "verdict"], rows, ["verdict"])


def _best(table: ComparisonTable, figure: str) -> str:
    """The controller with the best mean."""
    from dss_marl.experiments.metrics import about_figure

    choose = max if about_figure(figure)[2] else min
    return choose((float(table.column(name, figure).mean()), name) for name in table.figures)[1]

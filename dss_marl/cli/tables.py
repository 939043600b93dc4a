"""Tables that break no word: where the terminal is too narrow, columns continue in a further table."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from dss_marl.cli.console import console, say

Cell = str | Text
_GAP, _EDGES = 2, 1  # what each column and the frame add to a table's width [characters]


def print_table(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]], left: Collection[str] = (), sections: bool = False
) -> None:
    """Print a table; the first column is repeated where the rest continues below.

    Args:
        title: above the table; "" for none.
        heads: headings.
        rows: cells, plain text or styled.
        left: headings of the columns that are aligned to the left, besides the first.
        sections: draw a line above each row whose first cell is not empty.
    """
    texts = [[_text(cell) for cell in row] for row in rows]
    columns = [[Text(head), *(row[k] for row in texts)] for k, head in enumerate(heads)]
    if title:
        say(title, "bold")
    for part in _parts([_longest_word(column) for column in columns], console.width):
        widths = _widths([columns[i] for i in part], console.width)
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
        for i, width in zip(part, widths, strict=True):
            to_left = i == 0 or heads[i] in left
            table.add_column(Text(heads[i]), justify="left" if to_left else "right", width=width, overflow="fold")
        for row in texts:
            if sections and row[0].plain and table.row_count:
                table.add_section()
            table.add_row(*(row[i] for i in part))
        console.print(table)


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def _longest_word(column: Sequence[Text]) -> int:
    return max((Text(word).cell_len for cell in column for word in cell.plain.split()), default=1)


def _longest_line(column: Sequence[Text]) -> int:
    return max((Text(line).cell_len for cell in column for line in cell.plain.splitlines()), default=1)


def _parts(needed: Sequence[int], width: int) -> list[list[int]]:
    """Columns of each table: as many as fit with their longest words, after the first column."""
    parts: list[list[int]] = []
    for i in range(1, len(needed)):
        if not parts or _EDGES + sum(needed[j] + _GAP for j in [*parts[-1], i]) > width:
            parts.append([0])
        parts[-1].append(i)
    return parts or [[0]]


def _widths(columns: Sequence[Sequence[Text]], width: int) -> list[int]:
    """Widths of one table's columns: at least the longest word; what is left is shared by what each lacks.

    A column that lacks less than an equal share gets all of it.
    """
    widths = [_longest_word(column) for column in columns]
    left = max(width - _EDGES - sum(low + _GAP for low in widths), 0)
    lacks = [max(_longest_line(column) - low, 0) for column, low in zip(columns, widths, strict=True)]
    order = sorted(range(len(lacks)), key=lacks.__getitem__)
    for k, i in enumerate(order):
        rest = sum(lacks[j] for j in order[k:])
        given = min(lacks[i], max(left // (len(order) - k), left * lacks[i] // max(rest, 1)))
        widths[i] += given
        left -= given
    return widths

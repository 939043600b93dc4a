"""Where commands print: plain text, in which the brackets of names and messages are no markup."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleDimensions
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text


class PlainConsole(Console):
    """A console without markup that follows the variable COLUMNS whatever the terminal calls itself."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, stderr=stderr)

    @property  # type: ignore[misc]  # nothing here sets it, as rich could
    def size(self) -> ConsoleDimensions:
        """Columns and lines; rich gives a dumb terminal 80 columns, and keeps the COLUMNS of its first moment."""
        columns, size = os.environ.get("COLUMNS", ""), super().size
        return ConsoleDimensions(int(columns), size.height) if columns.isdigit() and int(columns) else size


console = PlainConsole()
error_console = PlainConsole(stderr=True)


def say(text: str, style: str = "") -> None:
    """Print a sentence, in a terminal broken between words; paths stay whole, so that they copy."""
    console.print(Text(_whole_words(console, text), style), soft_wrap=True)


def complain(label: str, text: str) -> None:
    """Print a message on the error stream, after a red label."""
    message = Text(_whole_words(error_console, f"{label}: {text}"))
    message.stylize("red", 0, len(label) + 1)
    error_console.print(message, soft_wrap=True)


def _whole_words(where: Console, text: str) -> str:
    """The text as it is for files and pipes, where some search for sentences; else in lines of the terminal's width."""
    if not where.is_terminal:
        return text
    style: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False, "replace_whitespace": False}
    return "\n".join(textwrap.fill(line, where.width, **style) if line.strip() else line for line in text.split("\n"))


def saved(path: Path) -> None:
    """Say where a file lies."""
    say(f"saved {path}")


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A progress bar with a plain description; default columns: bar, percentage, time remaining."""
    return Progress(
        plain_column("{task.description}"),
        *(columns or (BarColumn(), TaskProgressColumn(), TimeRemainingColumn())),
        console=console,
    )


def plain_column(text: str) -> TextColumn:
    """A column of text that is no markup."""
    return TextColumn(text, markup=False)

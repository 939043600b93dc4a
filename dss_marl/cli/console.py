"""Where commands print."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

console = Console()


def say(text: str) -> None:
    """Print a sentence as it is: without colours for its numbers, and broken by the terminal, so that paths copy."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def saved(path: Path) -> None:
    """Say where a file lies."""
    say(f"saved {path}")

"""Errors of a command, as messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.markup import escape

from dss_marl.cli.console import console


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print what a user can cure as a message and exit with 2; a traceback stays for what only we can."""
    try:
        yield
    except (ValueError, ImportError, FileNotFoundError) as error:
        # escaped, as "pip install 'dss_marl[train]'" would lose its bracket as markup
        console.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None

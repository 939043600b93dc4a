"""Functions that follow from a declaration, under its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def take_identity(function: Callable[..., Any], declaration: Callable[..., Any]) -> None:
    """Give a function the name and documentation of its declaration, whose place in the module it takes.

    Unlike ``functools.wraps`` it leaves the signature alone.
    """
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(function, name, getattr(declaration, name))

"""Plugins: an object of one's own, named as ``package.module:name``; every registry takes one beside its names."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any


def imported(name: str, what: str, known: Iterable[str]) -> Any:
    """The object that ``package.module:name`` refers to.

    Args:
        name: of the object.
        what: the kind of thing that is looked for, for messages.
        known: names that the registry has itself, for messages.

    Raises:
        ValueError: not of that form, or nothing there; the message lists the known names.
    """
    module, _, attribute = str(name).partition(":")
    if not attribute:
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(sorted(known))}, or 'package.module:name'")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{what} {name!r} cannot be imported: {error}") from error

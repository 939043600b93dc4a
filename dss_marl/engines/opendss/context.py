"""OpenDSS contexts: pooled, because a dropped one leaks about 1.3 MB, and compiled with clear errors."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from opendssdirect import dss as _main

_idle: list[Any] = []
_owner = os.getpid()


def acquire() -> Any:
    """A context of this process that nobody else uses."""
    global _owner
    if os.getpid() != _owner:  # after a fork the idle contexts are the parent's
        _idle.clear()
        _owner = os.getpid()
    if _idle:
        return _idle.pop()
    context = _main.NewContext()
    context.Basic.AllowForms(False)
    context.Basic.AllowChangeDir(False)  # compile would move the process into the feeder's folder
    return context


def release(context: Any) -> None:
    """Put a context back for the next user, empty."""
    context.Text.Command("clear")
    _idle.append(context)


def _message(error: Exception) -> str:
    return str(error.args[-1] if error.args else error).strip()


def compile_circuit(context: Any, path: Path, commands: Iterable[str]) -> None:
    """Compile the master file and run the commands after it.

    Raises:
        ValueError: with OpenDSS's own message, which names the file and line.
    """
    if not path.is_file():
        raise ValueError(f"feeder file {str(path)!r} does not exist")
    context.Text.Command("clear")
    try:
        context.Text.Command(f'compile "{path}"')
    except Exception as error:
        raise ValueError(f"OpenDSS cannot compile {str(path)!r}: {_message(error)}") from error
    if not context.Basic.NumCircuits():
        raise ValueError(f"{str(path)!r} defines no circuit; it needs a line 'New Circuit.<name> ...'")
    for command in commands:
        try:
            context.Text.Command(command)
        except Exception as error:
            raise ValueError(f"OpenDSS refuses {command!r} after compiling {str(path)!r}: {_message(error)}") from error

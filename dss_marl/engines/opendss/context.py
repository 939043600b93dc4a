"""Pool of OpenDSS contexts, and compilation with clear errors; a discarded context would leak about 1.3 MB."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_idle: list[Any] = []
_owner = os.getpid()
_folder = threading.Lock()  # held while compiling: a circuit that changes directory moves the whole process
_MOVES = re.compile(r"^\s*(cd|(set\s+)?datapath)\b", re.IGNORECASE | re.MULTILINE)
_NO_DIRECTORY = 282  # OpenDSS's error number for "Directory not found"


def acquire() -> Any:
    """An unused context of this process."""
    global _owner  # noqa: PLW0603  # the pool is the process's
    if os.getpid() != _owner:  # after a fork the idle contexts are the parent's
        _idle.clear()
        _owner = os.getpid()
    if _idle:
        return _idle.pop()
    return _new_context()


def _new_context() -> Any:
    from opendssdirect import dss  # here, as it imports pandas: "import dss_marl" would take half as long again

    context = dss.NewContext()
    context.Basic.AllowForms(False)
    context.Basic.AllowEditor(False)  # "show" would open an editor
    context.Basic.AllowChangeDir(False)  # compile would move the process into the feeder's folder
    return context


def release(context: Any) -> None:
    """Clear a context and return it to the pool."""
    context.Text.Command("clear")
    _idle.append(context)


def message_of(error: Exception) -> str:
    """OpenDSS's own message, on one line."""
    return " ".join(str(error.args[-1] if error.args else error).split())


def compile_circuit(context: Any, path: Path, commands: Iterable[str]) -> None:
    """Compile the master file and run the commands after it.

    Raises:
        ValueError: with OpenDSS's own message, which names the file and line.
    """
    if not path.is_file():
        raise ValueError(f"feeder file {str(path)!r} does not exist")
    context.Text.Command("clear")
    context.Text.Command("set defaultbasefrequency=60")  # the one setting of the previous circuit that "clear" keeps
    try:
        _compile(context, path)
    except Exception as error:
        raise ValueError(f"OpenDSS cannot compile {str(path)!r}: {message_of(error)}") from error
    if not context.Basic.NumCircuits():
        raise ValueError(f"{str(path)!r} defines no circuit; it needs a line 'New Circuit.<name> ...'")
    run_commands(context, path, commands)


def run_commands(context: Any, path: Path, commands: Iterable[str]) -> None:
    """Run commands on the circuit that was compiled from ``path``; ValueError names the one that OpenDSS refuses."""
    for command in commands:
        try:
            context.Text.Command(command)
        except Exception as error:
            raise ValueError(
                f"OpenDSS refuses {command!r} after compiling {str(path)!r}: {message_of(error)}"
            ) from error


def _compile(context: Any, path: Path) -> None:
    command = f'compile "{path}"'
    with _folder:  # whether OpenDSS may change directory is a process-wide setting
        if not _MOVES.search(path.read_text(encoding="utf-8", errors="replace")):
            try:
                context.Text.Command(command)
                return
            except Exception as error:
                if not error.args or error.args[0] != _NO_DIRECTORY:
                    raise
            context.Text.Command("clear")
        with _may_move(context):
            context.Text.Command(command)


@contextmanager
def _may_move(context: Any) -> Iterator[None]:
    """Let OpenDSS change the working directory of the process, for files that need it; it is restored afterwards."""
    before = Path.cwd()
    context.Basic.AllowChangeDir(True)
    try:
        yield
    finally:
        context.Basic.AllowChangeDir(False)
        os.chdir(before)

"""Pool of OpenDSS contexts, and compilation with clear errors; a discarded context would leak about 1.3 MB."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dss_marl.engines.opendss.commands import engine_settings
from dss_marl.engines.opendss.script import Script, quoted, read_script

_idle: list[Any] = []
_owner = os.getpid()
_thread: threading.Thread | None = None  # the one that OpenDSS runs in
# Of the circuit before, "clear" leaves these in force; all others that do are never passed on, see commands.SETTINGS.
_FRESH = ("clear", "set defaultbasefrequency=60")


def acquire() -> Any:
    """An unused context of this process.

    Raises:
        RuntimeError: OpenDSS runs in another thread; see ``check_thread``.
    """
    global _owner, _thread  # noqa: PLW0603  # the pool is the process's
    if os.getpid() != _owner:  # after a fork the idle contexts are the parent's
        _idle.clear()
        _owner, _thread = os.getpid(), None
    if _thread is None or not _thread.is_alive():
        _thread = threading.current_thread()
    check_thread()
    if _idle:
        return _idle.pop()
    return _new_context()


def check_thread() -> None:
    """Refuse a second thread: OpenDSS works in one by luck, and ends the process in another.

    Raises:
        RuntimeError: OpenDSS has been started by a thread that is still alive, and this is not it.
    """
    if _thread is not None and _thread.ident != threading.get_ident():
        raise RuntimeError(
            f"OpenDSS runs in thread {_thread.name!r} of this process and would crash in another thread; solve there, "
            "or give each environment a process of its own"
        )


def _new_context() -> Any:
    from opendssdirect import dss  # here, as it imports pandas: "import dss_marl" would take half as long again

    dss.Basic.AllowChangeDir(False)  # a process-wide setting: a new context would change directory, and compile too
    context = dss.NewContext()
    context.Basic.AllowForms(False)
    context.Basic.AllowEditor(False)  # "show" would open an editor
    return context


def release(context: Any) -> None:
    """Clear a context and return it to the pool; garbage collected in another thread, it is cleared at its next use."""
    if _thread is None or _thread.ident == threading.get_ident():
        context.Text.Command("clear")
    _idle.append(context)


def message_of(error: Exception) -> str:
    """OpenDSS's own message, on one line."""
    return " ".join(str(error.args[-1] if error.args else error).split())


def compile_circuit(context: Any, path: Path, commands: Iterable[str]) -> list[str]:
    """Carry out the master file and the commands after it.

    Returns:
        notes on what the file asks for beside a circuit, and does not get.

    Raises:
        ValueError: with file and line, and OpenDSS's own message.
    """
    if not path.is_file():
        raise ValueError(f"feeder file {str(path)!r} does not exist")
    for command in _FRESH:
        context.Text.Command(command)
    script = read_script(path)
    _carry_out(context, script, "OpenDSS cannot compile the circuit: {problem} [{place}]")
    if not context.Basic.NumCircuits():
        raise ValueError(f"{str(path)!r} defines no circuit; it needs a line 'New Circuit.<name> ...'")
    run_commands(context, path, commands)
    return script.all_notes()


def run_commands(context: Any, path: Path, commands: Iterable[str]) -> None:
    """Run commands on the circuit that was compiled from ``path``; file names in them start from its folder.

    Raises:
        ValueError: OpenDSS refuses one, or it would not change the circuit.
    """
    script = Script(folder=path.parent)
    for command in commands:
        script.add(command, f"{command!r} after compiling {str(path)!r}")
        if script.left_out:
            raise ValueError(f"command {command!r} writes, shows or runs, and changes no circuit; leave it out")
    _carry_out(context, script, "OpenDSS refuses {place}: {problem}")


def snapshot(context: Any, tolerance: float = 1e-4) -> None:
    """Solve the circuit as it stands, its controls off; no time passes."""
    for command in engine_settings(tolerance, 100):
        context.Text.Command(command)
    context.Solution.Solve()


def _carry_out(context: Any, script: Script, message: str) -> None:
    folder = None
    for line in script.lines:
        if line.folder is not folder:  # where OpenDSS looks for files; the process stays where it is
            folder = line.folder
            context.Text.Command(f"cd {quoted(str(folder.resolve()))}")
        try:
            context.Text.Command(line.text)
        except Exception as error:
            if line.text == "solve":  # of the file itself; what it leaves behind is as good a start as any
                script.notes[f"the file's own solve fails: {message_of(error)} [{line.place}]"] = None
                continue
            raise ValueError(message.format(problem=message_of(error), place=line.place)) from error

"""Errors of a command, as messages."""

from __future__ import annotations

import pickle
import sysconfig
import tempfile
import traceback
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
import yaml
from pydantic import ValidationError

from dss_marl.cli.console import complain
from dss_marl.engines import PowerFlowError

ISSUES = "https://github.com/dss-marl/dss_marl/issues"
USAGE, UNEXPECTED, INTERRUPTED = 2, 70, 130  # exit statuses: as typer's own, EX_SOFTWARE of sysexits.h, 128 + SIGINT

# What inputs, files and installations cause. Of the libraries that read files, yaml, zipfile and pickle have errors of
# their own; a file cut short is an EOFError.
EXPECTED = (
    ValueError, OSError, ImportError, PowerFlowError, MemoryError, RecursionError, EOFError, yaml.YAMLError,
    zipfile.BadZipFile, pickle.UnpicklingError,
)  # fmt: skip


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn every error of a command into a message and an exit status.

    Expected errors exit with 2. An unexpected one is a defect of the package: its traceback goes into a file, and the
    message says where to report it.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
        raise  # typer's own; a closed pipe ends the program without a word
    except KeyboardInterrupt:
        complain("stopped", "by the keyboard")
        raise typer.Exit(INTERRUPTED) from None
    except EXPECTED as error:
        complain("error", message_of(error))
        raise typer.Exit(USAGE) from None
    except Exception as error:
        what, kept = f"{type(error).__name__}: {error}", _traceback_file(error)
        place = own_place(error)
        if place:  # a plugin's defect is not ours
            complain("error", f"{place}: {what}; the traceback is in {kept}")
            raise typer.Exit(USAGE) from None
        complain("unexpected error", f"{what}; please report it at {ISSUES}, with the traceback in {kept}")
        raise typer.Exit(UNEXPECTED) from None


def message_of(error: BaseException) -> str:
    """One paragraph that says what is wrong, and where."""
    if isinstance(error, ValidationError):
        problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        return f"{error.title}: {'; '.join(problems)}"
    if isinstance(error, UnicodeDecodeError):
        return f"a file is not UTF-8 text: {error}; save it as UTF-8"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {str(error.filename)!r}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"the memory does not suffice: {error or 'out of memory'}; take fewer or smaller"
    if isinstance(error, RecursionError):
        return f"a file or an expression is nested too deeply: {error}"
    if isinstance(error, EOFError | zipfile.BadZipFile | pickle.UnpicklingError):
        return f"a file is damaged or cut short: {error or type(error).__name__}"
    text = "\n".join(line for line in str(error).splitlines() if line.strip())
    return text or f"{type(error).__name__} without a message"


def own_place(error: BaseException) -> str:
    """File and line of the user's code that the package called and that raised; "" if none did."""
    package = Path(__file__).resolve().parents[1]
    ours = [package, *(Path(sysconfig.get_path(key)) for key in ("stdlib", "platstdlib", "purelib", "platlib"))]
    frames = traceback.extract_tb(error.__traceback__)
    called = [k for k, frame in enumerate(frames) if Path(frame.filename).is_relative_to(package)]
    for frame in reversed(frames[called[0] :] if called else []):
        path = Path(frame.filename)
        if path.is_file() and not any(path.is_relative_to(folder) for folder in ours):
            return f"{path}, line {frame.lineno}"
    return ""


def _traceback_file(error: Exception) -> str:
    """Write the traceback into a new file; its path, or the traceback itself where no file can be written."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="dss-marl-error-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(text)
    except OSError as no_file:
        return f"no file ({no_file.strerror}):\n{text}"
    return file.name

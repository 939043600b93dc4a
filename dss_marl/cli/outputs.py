"""Output files and folders of commands, checked before the work starts."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import typer

Check = Callable[[Path | None], Path | None]


@dataclass(frozen=True)
class FileKind:
    """A kind of output file.

    Attributes:
        name: what it is called in messages.
        starts: suffix to how such a file starts, as a regular expression; one that starts otherwise is not replaced.
    """

    name: str
    starts: dict[str, bytes]


_ZONES = rb"(#.*\n)*zones:"  # as write_mapping begins; a scenario's zones come after other keys
_XML = rb"(<\?xml[^>]*>\s*)?(<!DOCTYPE[^>]*>\s*)?(<!--.*?-->\s*)*"
PICTURE = FileKind("picture", {".png": rb"\x89PNG", ".pdf": rb"%PDF", ".svg": _XML + rb"<svg"})
GRAPH = FileKind("graph", {".graphml": rb"<\?xml", ".geojson": rb'\{"type": "FeatureCollection"'})
ZONES = FileKind("zones file", {".yaml": _ZONES, ".yml": _ZONES})
CARD = FileKind("card", {".md": rb"# .*\n\n.*\. Version \d"})
PLANS = FileKind("plan file", {".npz": rb"PK"})
HTML = FileKind("page", {".html": rb"<!DOCTYPE html>"})
SCHEMA = FileKind("schema", {".json": rb'\{\s*"\$schema"'})
BENCHMARK = FileKind("benchmark", {".json": rb'\{\s*"format": ?"dss_marl (batched )?benchmark 1"'})
_KINDS = (PICTURE, GRAPH, ZONES, CARD, PLANS, HTML, SCHEMA, BENCHMARK)
_FILES = {suffix for kind in _KINDS for suffix in kind.starts} | {".json", ".csv", ".dss", ".zip"}
_HEAD = 4096  # bytes read to recognise a file


def output_file(kind: FileKind) -> Check:
    """The check of an option that names a file to write."""

    def check(path: Path | None) -> Path | None:
        return None if path is None else checked_file(path, kind)

    return check


def output_folder(path: Path | None) -> Path | None:
    """The check of an option that names a folder to write into."""
    return None if path is None else checked_folder(path)


def checked_file(path: Path, kind: FileKind) -> Path:
    """The path of a file that can be written, and is replaced only if it is of that kind.

    Raises:
        BadParameter: another suffix, a file of another kind, or no place to write.
    """
    return _guarded(lambda: _check_file(path, kind), path)


def checked_folder(path: Path) -> Path:
    """The path of a folder that exists or can be made, and in which files can be written.

    Raises:
        BadParameter: a file, or no place to write.
    """
    return _guarded(lambda: _check_folder(path), path)


def _guarded(check: Callable[[], None], path: Path) -> Path:
    try:
        check()
    except OSError as error:
        raise typer.BadParameter(f"{str(path)!r} cannot be written: {error.strerror or error}") from None
    return path


def _check_file(path: Path, kind: FileKind) -> None:
    if kind is PICTURE and find_spec("matplotlib") is None:
        raise typer.BadParameter(f"a {kind.name} needs matplotlib: pip install 'dss_marl[plots]'")
    start = kind.starts.get(path.suffix.lower())
    if start is None:
        raise typer.BadParameter(f"a {kind.name} ends in {' or '.join(kind.starts)}; got {str(path)!r}")
    if path.is_dir():
        raise typer.BadParameter(f"{str(path)!r} is a folder; name a file in it, such as {str(path / 'NAME')!r}")
    if path.exists():
        with path.open("r+b") as file:  # for writing too, as a file may be write-protected in a writable folder
            head = file.read(_HEAD)
        if head and not re.match(start, head):
            raise typer.BadParameter(f"{str(path)!r} exists and is no {kind.name}; it is not replaced")
    _check_writable(path.parent)


def _check_folder(path: Path) -> None:
    if path.suffix.lower() in _FILES and not path.is_dir():
        raise typer.BadParameter(f"this option takes a folder; got the file name {str(path)!r}")
    if path.exists() and not path.is_dir():
        raise typer.BadParameter(f"{str(path)!r} is a file; name a folder")
    _check_writable(path)


def _check_writable(folder: Path) -> None:
    """Create a temporary file in the folder, or in the nearest one above it that exists; raises OSError."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise typer.BadParameter(f"{str(folder)!r} is a file, so that no folder can be made there")
    with tempfile.TemporaryFile(dir=folder):
        pass

"""Where the data folders feeders, scenarios and results are, and how files are written: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part-"  # begins the names of files that are being written


def data_folder(noun: str) -> Path:
    """Path of the data folder ``feeders``, ``scenarios`` or ``results``: in a checkout, an editable install or a wheel.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_data" / noun, package.parent / noun):  # in a wheel; in a checkout
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the data folder {noun!r} is missing beside {package}; reinstall dss_marl")


def known_names(noun: str) -> list[str]:
    """Names that ship with the package, sorted: feeders are folders, scenarios are YAML files."""
    folder = data_folder(noun)
    if noun == "feeders":
        return sorted(p.name for p in folder.iterdir() if (p / "feeder.dss").is_file())
    return sorted(p.stem for p in folder.glob("*.yaml"))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write into, with its suffix; it takes the place of ``path`` when the block ends.

    Whoever reads ``path`` sees the old content or the new, never a part: also if the process is killed or the block
    raises. The folder is created if missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{PART}{os.getpid()}-{path.name}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")

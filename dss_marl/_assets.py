"""Locations of shipped data, reading of text and YAML, and writing of files: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

PART = ".part-"  # begins the names of files that are being written


def data_folder(noun: str) -> Path:
    """Path of a data folder, such as ``feeders`` or ``results``: in a checkout, an editable install or a wheel.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_data" / noun, package.parent / noun):  # in a wheel; in a checkout
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the data folder {noun!r} is missing next to {package}; reinstall dss_marl")


def read_text(path: Path, what: str) -> str:
    """Content of a text file.

    Args:
        path: of the file.
        what: what the file is, with its path, for messages.

    Raises:
        ValueError: it cannot be read, or is not UTF-8; the message says where.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{what} cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{what} is not UTF-8 text: line {line} has byte 0x{data[error.start]:02x}; save it as UTF-8"
        ) from None


def known_names(noun: str) -> list[str]:
    """Names that ship with the package, sorted: feeders are folders, scenarios are YAML files."""
    folder = data_folder(noun)
    if noun == "feeders":
        return sorted(p.name for p in folder.iterdir() if (p / "feeder.dss").is_file())
    return sorted(p.stem for p in folder.glob("*.yaml"))


class _UniqueKeys(yaml.SafeLoader):
    """As PyYAML reads, but a key given twice is an error, where the first would be dropped without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands twice, in lines {seen[key.value]} and {line}"
                    )
                seen[key.value] = line
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """The data of a YAML text, in which no key stands twice.

    Raises:
        yaml.YAMLError: no YAML, or a repeated key.
    """
    return yaml.load(text, Loader=_UniqueKeys)  # noqa: S506  # a SafeLoader


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

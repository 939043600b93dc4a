"""Where the data folders feeders, scenarios and results are (checkout, editable install or wheel), and reading YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def data_folder(noun: str) -> Path:
    """Path of the data folder ``feeders``, ``scenarios`` or ``results``.

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

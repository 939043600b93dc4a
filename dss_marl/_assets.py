"""Where the data folders feeders, scenarios and results are: in a checkout, an editable install or a wheel."""

from __future__ import annotations

from pathlib import Path


def data_folder(noun: str) -> Path:
    """Path of the data folder ``feeders``, ``scenarios`` or ``results``.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_data" / noun, package.parent / noun):  # in a wheel; in a checkout
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the data folder {noun!r} is missing beside {package}; reinstall dss_marl")


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

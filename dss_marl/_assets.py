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
    raise FileNotFoundError(f"the data folder {noun!r} is missing next to {package}; reinstall dss_marl")


def known_names(noun: str) -> list[str]:
    """Names that ship with the package, sorted: feeders are folders, scenarios are YAML files."""
    folder = data_folder(noun)
    if noun == "feeders":
        return sorted(p.name for p in folder.iterdir() if (p / "feeder.dss").is_file())
    return sorted(p.stem for p in folder.glob("*.yaml"))

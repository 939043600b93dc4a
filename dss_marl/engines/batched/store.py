"""Networks and what their validation found, kept by the circuit's content, in the process and in a folder."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import tempfile
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dss_marl.engines import opendss
from dss_marl.engines.batched.network import Network
from dss_marl.engines.opendss.circuit_files import circuit_files
from dss_marl.engines.opendss.control_data import ControlData
from dss_marl.engines.opendss.control_reader import read_controls
from dss_marl.engines.opendss.network import read_network
from dss_marl.grid.feeder import Feeder

_MOST_KEPT = 32  # networks in the process
_kept: dict[str, Any] = {}


def network_of(feeder: Feeder) -> Network:
    """The network of a feeder, read from OpenDSS once for each content of its files.

    Raises:
        ValueError: see ``read_network``.
    """
    return recalled(f"network-{digest(feeder)}", lambda: read_network(feeder))


def controls_of(feeder: Feeder) -> ControlData:
    """The circuit's own controls, likewise.

    Raises:
        ValueError: see ``read_controls``.
    """
    return recalled(f"controls-{digest(feeder)}", lambda: read_controls(feeder))


def recalled(key: str, made: Any) -> Any:
    """What was made under this key before, in this process or in an earlier one; else what ``made`` makes now."""
    if key not in _kept:
        while len(_kept) >= _MOST_KEPT:
            _kept.pop(next(iter(_kept)))
        found = _read(key)
        _kept[key] = _written(key, made()) if found is None else found
    return _kept[key]


def digest(feeder: Feeder) -> str:
    """Fingerprint of a circuit: its files, the commands after it, and the versions that read it."""
    total = hashlib.sha256(f"{_own_code()} {_version('opendssdirect.py')}".encode())
    for path in circuit_files(feeder.path):
        total.update(path.read_bytes())
    rows = (feeder.name, feeder.commands, feeder.nodes, feeder.injections, feeder.taps, feeder.switches)
    total.update(repr(rows).encode())
    return total.hexdigest()[:32]


def folder() -> Path:
    """Where tables are kept: ``DSS_MARL_CACHE``, or the user's folder for caches."""
    given = os.environ.get("DSS_MARL_CACHE")
    if given:
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "dss_marl" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "dss_marl"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dss_marl"


def _read(key: str) -> Any:
    """What is in the folder; None if there is nothing that can be read."""
    try:
        return pickle.loads((folder() / f"{key}.pickle").read_bytes())  # noqa: S301  # written by this user's processes
    except Exception:  # cut short, of another Python, or none at all: it is made again
        return None


def _written(key: str, value: Any) -> Any:
    """Keep a value for later processes, whole or not at all; a folder that cannot be written is no error."""
    with suppress(OSError):
        place = folder()
        place.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place)
        try:
            with os.fdopen(handle, "wb") as file:
                pickle.dump(value, file)
            Path(name).replace(place / f"{key}.pickle")
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return value


@cache
def _own_code() -> str:
    """Fingerprint of what reads and solves: after a change of it, everything is made again."""
    total = hashlib.sha256()
    for own in (Path(__file__).parent, Path(opendss.__file__).parent):
        for path in sorted(own.rglob("*.py")):
            total.update(path.read_bytes())
    return total.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"

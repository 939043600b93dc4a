"""Scenario files: shipped scenarios by name, and YAML files with their bases."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import yaml

from dss_marl._assets import data_folder, known_names, read_text, read_yaml
from dss_marl._plugins import also_look_in, locate_modules
from dss_marl.envs.scenario import Scenario, merged, scenario_from


def load_scenario(name_or_path: str | Path | Scenario, allow_code: bool = False) -> Scenario:
    """A shipped scenario by name, or one from a YAML file; a ``base:`` names the scenario that it changes.

    Args:
        name_or_path: a shipped scenario's name or a YAML file's path; a Scenario is returned as it is.
        allow_code: accept OpenDSS commands that may touch files or load code; only for files that you trust.

    Raises:
        ValueError: no such scenario or file, or its content is wrong.

    >>> scenario = load_scenario("ieee34_volt_var")
    >>> scenario.steps, scenario.dt_h
    (96, 0.25)
    >>> scenario.replace(steps=48, rewards={"voltage_violation": 100}).rewards
    {'voltage_violation': 100.0}
    """
    if isinstance(name_or_path, Scenario):
        return name_or_path
    return scenario_from(_read_yaml(name_or_path), allow_code)


def _read_yaml(name_or_path: str | Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    known = known_names("scenarios")
    path = Path(name_or_path)
    if str(name_or_path) in known:
        path = data_folder("scenarios") / f"{name_or_path}.yaml"
    elif not path.is_file():
        close = difflib.get_close_matches(str(name_or_path), known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ";"
        raise ValueError(
            f"unknown scenario {str(name_or_path)!r}{hint} known: {', '.join(known)}, or the path of a YAML file"
        )
    path = path.resolve()
    if path in above:
        chain = " -> ".join(p.stem for p in (*above, path))
        raise ValueError(f"scenario {path.stem!r} is its own base: {chain}")
    data = _parsed(path)
    data.setdefault("name", re.sub(r"[^\w.-]+", "_", path.stem).lstrip(".-") or "scenario")
    locate_files(data, path.parent)
    if "base" in data:
        base = str(data.pop("base"))
        beside = path.parent / Path(base).expanduser()  # a file's path is relative to the file that names it
        base = str(beside) if base not in known and beside.is_file() else base
        return merged(_read_yaml(base, (*above, path)), data)
    return data


def locate_files(data: dict[str, Any], folder: Path) -> None:
    """Make the paths of circuit, zones and profiles, which are relative to the scenario's folder, whole; in place."""
    feeder, zones, profiles = (data.get(key) for key in ("feeder", "zones", "profiles"))
    if isinstance(feeder, dict) and str(feeder.get("name", "")).lower().endswith(".dss"):
        feeder["name"] = str((folder / Path(feeder["name"]).expanduser()).resolve())
    if isinstance(zones, dict) and isinstance(zones.get("file"), str):  # or else relative to the working folder
        beside = (folder / Path(zones["file"]).expanduser()).resolve()
        zones["file"] = str(beside) if beside.is_file() else zones["file"]
    if isinstance(profiles, dict) and isinstance(profiles.get("path"), str):
        profiles["path"] = str((folder / Path(profiles["path"]).expanduser()).resolve())
    if isinstance(profiles, dict) and profiles.get("kind") == "sliced" and isinstance(profiles.get("folder"), str):
        profiles["folder"] = str((folder / Path(profiles["folder"]).expanduser()).resolve())


def _parsed(path: Path) -> dict[str, Any]:
    """Keys and values of a YAML file, its modules located."""
    try:
        data = read_yaml(read_text(path, f"scenario file {str(path)!r}"))
        data = {} if data is None else data  # an empty file: the complaint lists what a scenario needs
        if not isinstance(data, dict):
            raise ValueError(f"{str(path)!r} must be a mapping of keys to values, as in the shipped scenarios")
        if path.parent != data_folder("scenarios").resolve():
            also_look_in(path.parent)
        return dict(locate_modules(data, path.parent))
    except yaml.YAMLError as error:
        raise ValueError(f"{str(path)!r} is not YAML: {error}") from None
    except RecursionError:  # an alias of what it is in, too
        raise ValueError(f"{str(path)!r} is nested too deeply") from None

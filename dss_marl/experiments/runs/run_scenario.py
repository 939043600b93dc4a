"""The scenario of a run, with files that have moved with the run found where they are now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dss_marl.envs.scenario import Scenario, scenario_from
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.runs.run_record import RunRecord

_ABOVE = 4  # folders above a run in which its files are looked for, as in my_project/runs/demo


def scenario_of_run(folder: Path, record: RunRecord, allow_code: bool = False) -> Scenario:
    """The scenario that a run was trained on.

    A circuit, table of days, zones file or module that is no longer where the record says is looked for in the folders
    above the run and in the working folder: a project that moved as a whole is found. That the days are still those of
    the run is for ``check_days`` to say.

    Args:
        folder: of the run.
        record: its record.
        allow_code: see load_scenario.

    Raises:
        ValueError: a file is nowhere, or the scenario does not fit this version.
    """
    places = [*list(folder.resolve().parents)[:_ABOVE], Path.cwd()]
    data = {**record.scenario, "training": training_of_run(record)}
    return scenario_from(_found(data, places), allow_code)


def training_of_run(record: RunRecord) -> dict[str, Any]:
    """The scenario's ``training`` of a run, with settings that did not exist then and now have other defaults."""
    defaults = TrainingSettings().model_dump(mode="json")
    names = dict.fromkeys(name.split(".")[0] for name in record.later_settings)
    later = {name: record.settings[name] for name in names if record.settings[name] != defaults[name]}
    return {**record.scenario["training"], **later}


def _found(data: Any, places: list[Path]) -> Any:
    """The data with every missing absolute path, also of ``path.py:name``, replaced by that of the file's new place."""
    if isinstance(data, dict):
        return {_found(key, places): _found(value, places) for key, value in data.items()}
    if isinstance(data, list):
        return [_found(value, places) for value in data]
    if not isinstance(data, str):
        return data
    text, colon, name = data.rpartition(":") if ".py:" in data else (data, "", "")
    path = Path(text)
    if not path.is_absolute() or not path.suffix or path.is_file():
        return data
    moved = next((place for place in _candidates(path, places) if place.is_file()), None)
    return data if moved is None else f"{moved}{colon}{name}"


def _candidates(path: Path, places: list[Path]) -> Iterator[Path]:
    """Where a file may be now: the end of its path, as long as possible, below each place."""
    parts = path.parts[1:]
    for start in range(len(parts)):
        for place in places:
            yield place.joinpath(*parts[start:])

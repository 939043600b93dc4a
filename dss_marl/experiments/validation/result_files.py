"""Result files: a proof as files to commit, and whether they are stale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dss_marl._assets import data_folder, write_text
from dss_marl.controllers.planning.plan_files import digest
from dss_marl.envs.scenario import Scenario
from dss_marl.experiments.evaluation import ComparisonTable
from dss_marl.experiments.validation.check import CheckResult
from dss_marl.experiments.validation.proof import Proof
from dss_marl.profiles import STRESS_SPLITS, SyntheticProfiles
from dss_marl.profiles.stress import stressed

PROOF, TABLE = "validation.json", "table.json"
_DIGITS = 6  # of figures


@dataclass(frozen=True)
class Result:
    """Content of the two files of a scenario.

    Attributes:
        metadata: scenario, digest, version, commit, days and sizes.
        rows: results of the checks.
        figures: controller to figure to its value on each day.
        days_run: controller to the days it was run on.
    """

    metadata: dict[str, Any]
    rows: tuple[CheckResult, ...]
    figures: dict[str, dict[str, list[float]]]
    days_run: dict[str, list[int]]

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return bool(self.metadata["passed"])

    def table(self) -> ComparisonTable:
        """The controllers that ran on all days."""
        days = tuple(self.metadata["days"])
        rows = {
            name: [{figure: values[k] for figure, values in own.items()} for k in range(len(days))]
            for name, own in self.figures.items()
            if tuple(self.days_run[name]) == days
        }
        return ComparisonTable(self.metadata["scenario"], "test", days, rows, self.metadata["reference_controller"])


def scenario_digest(scenario: Scenario) -> str:
    """Short hash of everything in a scenario that affects its results: plans, reference, tuned droop, costs, stress."""
    content: list[Any] = [digest(scenario), scenario.reference_controller, scenario.tuned_droop, list(scenario.costs)]
    if isinstance(scenario.profiles, SyntheticProfiles):
        days = [stressed(scenario.profiles, split) for split in STRESS_SPLITS]
        content.append([spec.model_dump(mode="json", exclude_defaults=True) for spec in days])
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def save(proof: Proof, folder: Path) -> None:
    """Write ``validation.json`` and ``table.json`` into a folder, created if missing."""
    scenario, task = proof.scenario, proof.episodes.task
    about = {
        "scenario": scenario.name,
        "digest": scenario_digest(scenario),
        "version": version("dss_marl"),
        "commit": proof.commit,
        "days": list(proof.budget.days),
    }
    rows = [row._asdict() for row in proof.rows]
    write_text(folder / PROOF, _lines({**about, "passed": proof.passed, "rows": rows}))
    sizes = {
        "feeder": task.feeder.name,
        "agents": len(task.agents.names),
        "devices": sum(group.size for group in task.device_groups),
        "nodes": len(task.feeder.nodes),
        "steps": scenario.steps,
        "dt_h": scenario.dt_h,
    }
    controllers = {}
    for name in proof.controllers:
        days = [day for day in proof.budget.days if day in proof.episodes.results[name]]
        episodes = [proof.episodes.results[name][day].figures for day in days]
        figures = {figure: [float(f"{one[figure]:.{_DIGITS}g}") for one in episodes] for figure in episodes[0]}
        controllers[name] = {"days": days, **{name: values for name, values in figures.items() if any(values)}}
    table = {**about, "reference_controller": scenario.reference_controller, **sizes, "controllers": controllers}
    write_text(folder / TABLE, _lines(table))


def _lines(data: Mapping[str, Any]) -> str:
    """JSON with one line per key, row and controller."""
    parts = []
    for key, value in data.items():
        if isinstance(value, dict):
            inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in value.items())
            text = f"{{\n{inner}\n }}"
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n" + ",\n".join(f"  {json.dumps(one)}" for one in value) + "\n ]"
        else:
            text = json.dumps(value)
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def load(folder: Path) -> Result:
    """Read what ``save`` wrote.

    Raises:
        ValueError: a file is missing or not a results file; names it.
    """
    data = []
    for name in (PROOF, TABLE):
        path = folder / name
        try:
            data.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise ValueError(f"{str(path)!r} cannot be read: {error}; 'dss-marl validate' writes it") from None
    try:
        return _result(*data)
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(
            f"{str(folder)!r} holds no results of this version, or only a part ({error!r}); 'dss-marl validate' writes "
            "them"
        ) from None


def _result(proof: dict[str, Any], table: dict[str, Any]) -> Result:
    days = {name: own.pop("days") for name, own in table["controllers"].items()}
    known = {figure for own in table["controllers"].values() for figure in own}
    figures = {
        name: {figure: own.get(figure, [0.0] * len(days[name])) for figure in sorted(known)}
        for name, own in table["controllers"].items()
    }
    rows = tuple(CheckResult(**row) for row in proof["rows"])
    metadata = {key: value for key, value in {**proof, **table}.items() if key not in ("rows", "controllers")}
    return Result(metadata, rows, figures, days)


def results_folder(name: str) -> Path | None:
    """Folder of a scenario's results: in the working directory, else shipped; None if there is none."""
    for folder in (Path("results") / name, data_folder("results") / name):
        if (folder / PROOF).is_file() and (folder / TABLE).is_file():
            return folder
    return None

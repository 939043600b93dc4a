"""Result files: a proof as files to commit, and whether they are stale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl._assets import data_folder, write_text
from dss_marl.controllers.planning.plan_files import digest, load_plans
from dss_marl.envs.scenario import Scenario
from dss_marl.experiments.evaluation import ComparisonTable
from dss_marl.experiments.validation.bound_stage import DayBounds
from dss_marl.experiments.validation.check import CHECKS, CheckResult
from dss_marl.experiments.validation.proof import Proof
from dss_marl.experiments.validation.standings import Standing, standings, zero_of
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

    @property
    def tutorial(self) -> bool:
        """Whether the scenario is for learning the package, so that no score of the suite counts it."""
        return bool(self.metadata.get("tutorial", False))

    @property
    def returns(self) -> dict[str, dict[int, float]]:
        """Controller to day to team return."""
        return {
            name: dict(zip(self.days_run[name], own["team_return"], strict=True)) for name, own in self.figures.items()
        }

    @property
    def standings(self) -> list[Standing]:
        """Every controller on the days that it played, the highest score first."""
        return standings(self.returns, self.metadata["reference_controller"])

    @property
    def bounds(self) -> DayBounds | None:
        """What no controller exceeds; None if there is no bound."""
        kept = self.metadata.get("bound")
        if kept is None:
            return None
        return DayBounds(kept["name"], kept["says"], dict(zip(kept["days"], kept["returns"], strict=True)))

    @property
    def claim(self) -> str:
        """What the reference controller's return is: an optimum, within a gap of a bound, or the best plan found."""
        reference, returns = self.metadata["reference_controller"], self.returns
        optimum, zero, bounds = self.metadata.get("optimum", ""), zero_of(returns, reference), self.bounds
        if optimum:
            return f"the optimum over {optimum}"
        if bounds is not None and zero is not None:
            gap = bounds.gap(returns[reference], returns[zero])
            return f"within {max(gap, 0.0):.2g} of the range from the bound ({bounds.name})"
        return "the best plan found" if reference == "best_known" else "the strongest controller found"

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
    content += ["tutorial"] if scenario.tutorial else []
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
    table = {**about, "reference_controller": scenario.reference_controller, **sizes, **_claims(proof)}
    write_text(folder / TABLE, _lines({**table, "controllers": controllers}))


def _claims(proof: Proof) -> dict[str, Any]:
    """What the results are said to be: of a tutorial or not, optimal or not, within which bound, with which plans."""
    claims: dict[str, Any] = {"tutorial": proof.scenario.tutorial, "optimum": proof.optimum}
    claims["plans"] = plans_digest(proof.scenario)
    if proof.bounds is not None:
        claims["bound"] = bound_data(proof.bounds)
    return claims


def bound_data(bounds: DayBounds) -> dict[str, Any]:
    """Bounds as they are kept in ``table.json``."""
    returns = [float(f"{one:.{_DIGITS}g}") for one in bounds.returns.values()]
    return {"name": bounds.name, "says": bounds.says, "days": list(bounds.returns), "returns": returns}


def save_bound(bounds: DayBounds, folder: Path) -> None:
    """Put bounds into the ``table.json`` of a folder.

    Raises:
        ValueError: the folder has no results.
    """
    load(folder)
    table = json.loads((folder / TABLE).read_text(encoding="utf-8"))
    controllers = table.pop("controllers")
    write_text(folder / TABLE, _lines({**table, "bound": bound_data(bounds), "controllers": controllers}))


def plans_digest(scenario: Scenario) -> str:
    """Short hash of the plans that the reference controller replays; "" if it replays none."""
    if scenario.reference_controller != "best_known":
        return ""
    try:
        plans = load_plans(scenario)
    except ValueError:
        return ""
    said = [[day, plans.requests[day].astype(np.float16).tobytes().hex()] for day in sorted(plans.requests)]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def stale_reason(scenario: Scenario, result: Result) -> str:
    """Why results are not what ``dss-marl validate`` would write now; "" if they are.

    Args:
        scenario: as it is now.
        result: of it.
    """
    if result.metadata["digest"] != scenario_digest(scenario):
        return "the scenario has changed since"
    made = {row.check for row in result.rows}
    missing = [f"({check})" for check in CHECKS if check not in made]
    if missing:
        return f"checks {', '.join(missing)} were not made"
    return "" if result.metadata.get("plans", "") == plans_digest(scenario) else "the plans have changed since"


def stale_folder(scenario: Scenario, folder: Path) -> str:
    """As ``stale_reason``, of the results in a folder; also if there are none."""
    if not (folder / PROOF).is_file():
        return "there are no results"
    try:
        return stale_reason(scenario, load(folder))
    except ValueError as error:
        return str(error)


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

"""Results collected from records, evaluations and references: of a suite's cells, or of runs trained one by one."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import build_task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.runs.run_folder import check_days
from dss_marl.experiments.runs.run_record import RunRecord, load_run
from dss_marl.experiments.runs.run_scenario import scenario_of_run
from dss_marl.experiments.study.job import evaluate_run, evaluation_of
from dss_marl.experiments.study.reference_returns import (
    ReferenceReturns,
    committed_returns,
    days_of_test,
    ends_of_score,
    play_references,
)
from dss_marl.experiments.study.results import CellResults, FailedCell, Played, ScenarioResults, StudyResults
from dss_marl.experiments.validation.result_files import scenario_digest


def results_of_runs(folders: Sequence[Path], recipe: str, allow_code: bool = False) -> StudyResults:
    """Results of runs that differ in nothing but the seed, as a benchmark of one scenario and one recipe.

    A run that has no evaluation on the frozen test days is played on them, and gets one.

    Args:
        folders: of the runs.
        recipe: what they are called.
        allow_code: see load_scenario.

    Raises:
        ValueError: no run, one that did not finish, two of one seed, or runs of another scenario or other settings.
    """
    if not folders:
        raise ValueError("results need at least one run; name its folder")
    records = [load_run(folder) for folder in folders]
    _check_alike(folders, records)
    scenario = scenario_of_run(folders[0], records[0], allow_code)
    check_days(records[0], scenario)
    days = days_of_test(scenario)
    cells = []
    for folder, record in zip(folders, records, strict=True):
        if evaluation_of(folder, record, days) is None:
            evaluate_run(folder, scenario, days)
        played = evaluation_of(folder, record, days)
        assert played is not None
        cells.append(cell_results(scenario.name, recipe, record, played["figures"]))
    found = committed_returns(scenario, days) or play_references(scenario, days)
    own = scenario_results(scenario, found, {recipe: settings_of(scenario, records[0].engine)})
    suite = {"scenarios": [scenario.name], "recipes": {recipe: {}}, "training": {}}
    return study_results(suite, {scenario.name: own}, cells, [])


def study_results(
    suite: dict[str, Any],
    scenarios: dict[str, ScenarioResults],
    cells: list[CellResults],
    failed: list[FailedCell],
) -> StudyResults:
    """Results made now, by this version, on this machine."""
    return StudyResults(
        name=suite.get("name", ""),
        made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        version=version("dss_marl"),
        machine=f"{platform.system()} {platform.machine()}",
        suite=suite,
        scenarios=scenarios,
        cells=cells,
        failed=failed,
    )


def scenario_results(
    scenario: Scenario, found: ReferenceReturns, settings: Mapping[str, dict[str, Any]]
) -> ScenarioResults:
    """What holds for all recipes of a scenario."""
    zero, one = ends_of_score(found, scenario.reference_controller) or ("", "")
    references = {name: Played(days=list(own), team_return=list(own.values())) for name, own in found.returns.items()}
    return ScenarioResults(
        title=scenario.title,
        version=scenario.version,
        digest=scenario_digest(scenario),
        profiles_sha256=build_task(scenario).profiles.sha256(),
        days=list(found.days),
        zero=zero,
        one=one,
        source=found.source,
        references=references,
        settings=dict(settings),
    )


def settings_of(scenario: Scenario, engine: str) -> dict[str, Any]:
    """All training settings of a scenario, and the engine."""
    return {**TrainingSettings.model_validate(scenario.training).model_dump(mode="json"), "engine": engine}


def cell_results(scenario: str, recipe: str, record: RunRecord, figures: dict[str, list[float]]) -> CellResults:
    """The result of a finished run."""
    return CellResults(
        scenario=scenario,
        recipe=recipe,
        seed=record.seed,
        agent_steps=record.agent_steps,
        seconds=round(record.all_seconds, 1),
        git_commit=record.git_commit,
        history=record.history,
        figures=figures,
    )


def _check_alike(folders: Sequence[Path], records: Sequence[RunRecord]) -> None:
    first = records[0]
    for folder, record in zip(folders, records, strict=True):
        if record.status != "finished":
            raise ValueError(f"the run in {str(folder)!r} did not finish; train it to its end")
        if (record.scenario, record.settings, record.engine) != (first.scenario, first.settings, first.engine):
            raise ValueError(
                f"the runs in {str(folders[0])!r} and {str(folder)!r} differ in scenario or settings; results are of "
                "runs that differ in the seed alone"
            )
    seeds = [record.seed for record in records]
    twice = [seed for seed in seeds if seeds.count(seed) > 1]
    if twice:
        raise ValueError(f"two of the runs have seed {twice[0]}")

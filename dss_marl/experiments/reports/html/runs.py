"""The runs of a report: loaded, named, and sorted into seeds of one scenario."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dss_marl.controllers import Controller
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task, build_task
from dss_marl.experiments.runs.policies import load_policy
from dss_marl.experiments.runs.run_folder import check_days
from dss_marl.experiments.runs.run_record import RunRecord, load_run
from dss_marl.experiments.runs.run_scenario import scenario_of_run

LEARNED = "learned"  # the policy of a report's only run


@dataclass(frozen=True)
class ReportRun:
    """A run with all that is played of it.

    Attributes:
        folder: of the run.
        label: unique within the report.
        record, scenario, task, policy: of the run.
        said: what building the task warned of.
    """

    folder: Path
    label: str
    record: RunRecord
    scenario: Scenario
    task: Task
    policy: Controller
    said: tuple[str, ...] = ()

    @property
    def variant(self) -> str:
        """What runs that differ by their seed alone have in common."""
        return json.dumps([self.record.scenario_sha256, self.record.settings], sort_keys=True)


def load_runs(folders: Sequence[Path], trust: bool = False, allow_code: bool = False) -> list[ReportRun]:
    """The runs in these folders.

    Args:
        folders: of the runs.
        trust: see load_policy.
        allow_code: see load_scenario.

    Raises:
        ValueError: no folder, one given twice, no run there, its policy or days are not those of its record, or the
            runs are of different grids or days.
    """
    if not folders:
        raise ValueError("a report needs at least one run; give the folders that 'dss-marl train' wrote")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError("a run is given twice; name each folder once")
    labels = [LEARNED] if len(folders) == 1 else _labels(folders)
    records = [load_run(folder) for folder in folders]
    for record, folder in zip(records, folders, strict=True):
        _check_same(records[0], record, folders[0], folder)
    parts = zip(folders, labels, records, strict=True)
    return [_load(folder, label, record, trust, allow_code) for folder, label, record in parts]


def seeds_of(runs: Sequence[ReportRun]) -> list[list[ReportRun]]:
    """The runs in groups that differ by their seeds alone, in the order given."""
    groups: dict[str, list[ReportRun]] = {}
    for run in runs:
        groups.setdefault(run.variant, []).append(run)
    return list(groups.values())


def _load(folder: Path, label: str, record: RunRecord, trust: bool, allow_code: bool) -> ReportRun:
    scenario = scenario_of_run(folder, record, allow_code)
    policy = load_policy(folder, trust)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_days(record, scenario)
        task = build_task(scenario)
    said = tuple(dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, UserWarning)))
    return ReportRun(folder, label, record, scenario, task, policy, said)


def _labels(folders: Sequence[Path]) -> list[str]:
    """As few of the last parts of the paths as tell them apart."""
    paths = [folder.resolve() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in paths)):
        labels = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(labels)) == len(labels):
            break
    return labels


_SAME = ("feeder", "profiles", "steps", "dt_h", "start_hour")  # what makes days comparable, of a scenario


def _check_same(first: RunRecord, other: RunRecord, one: Path, folder: Path) -> None:
    """Check that two runs are of the same grid and days."""
    different = [key for key in _SAME if first.scenario.get(key) != other.scenario.get(key)]
    if different:
        raise ValueError(
            f"the runs in {str(one)!r} and {str(folder)!r} have no days in common: {', '.join(different)} of their "
            "scenarios differ; write a report of each"
        )

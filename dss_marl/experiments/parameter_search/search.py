"""The search: what is still to try, trying it here or in processes, and what was found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import build_task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.parameter_search.checks import check_space
from dss_marl.experiments.parameter_search.results import SearchResults, TrialResult, results_of, trial_result
from dss_marl.experiments.parameter_search.space import Space, default_space, read_space, space_from
from dss_marl.experiments.parameter_search.storage import (
    INDEX,
    PRUNERS,
    check_installed,
    check_same,
    end_dead,
    is_done,
    open_study,
    quiet,
    repeat_cut_short,
)
from dss_marl.experiments.parameter_search.trial_job import OBJECTIVES, TRIALS, TrialJob
from dss_marl.experiments.runs.run_record import OPENDSS
from dss_marl.experiments.study.processes import in_processes
from dss_marl.experiments.validation.result_files import scenario_digest

if TYPE_CHECKING:
    from optuna.study import Study

STORAGE, LOGS = "search.db", "logs"  # in the folder of a search
_HOPELESS = 3  # trials that fail before any works


def search(
    scenario: Scenario,
    folder: Path,
    trials: int = 20,
    space: Path | Mapping[str, Any] | None = None,
    storage: Path | None = None,
    seed: int = 0,
    engine: str = OPENDSS,
    objective: str = "best",
    pruner: str = "median",
    num_jobs: int = 1,
    report: Callable[[TrialResult], None] = lambda trial: None,
) -> SearchResults:
    """Search for training settings: trials draw values from a space, learn, and are judged on validation days.

    Values are drawn by a tree-structured Parzen estimator, at random in the first ten trials. Every trial is a run of
    its own in ``folder/trials/NNN`` with the same seed and days, so that trials differ in their settings alone; test
    days are never played. The same call goes on with a search that was stopped: what was cut short is tried again with
    its values, and with ``num_jobs=1`` the trials are those of a search that was never stopped.

    Args:
        scenario: its ``training`` holds for all trials, but for what the space varies.
        folder: of trials and results: ``trials.csv``, and from the first complete trial on ``best.yaml`` and
            ``search.png``. Its name is the search's.
        trials: in the end, with those of earlier calls.
        space: path of a YAML file, or a mapping of dotted keys to ``{low, high, log, step}`` or ``{choices}``; default:
            ``default_space``.
        storage: SQLite file of Optuna's; default: ``search.db`` in the folder.
        seed: of every training, and of the values that are drawn.
        engine: solves the copies that learn; see ``train``.
        objective: "best", the best mean validation return of a day among a run's evaluations, whose policy the run
            keeps; or "last", the mean of the last three evaluations, which one lucky evaluation moves less.
        pruner: "median" gives a trial up whose best evaluation so far is below the median of the others at the same
            evaluation, after five complete trials and a quarter of its evaluations; "hyperband"; or "none".
        num_jobs: trials at once, each in a process; 1: one after the other in this one.
        report: called with each trial that has ended.

    Returns:
        all trials, the best first in ``ranked``, and importances of the settings.

    Raises:
        ValueError: a wrong space, a value that the scenario or the settings refuse, trials of another scenario, space,
            seed, engine or objective in the storage, or the first three trials all failed.
        ImportError: the ``search`` or the ``train`` extra is not installed.
    """
    check_installed()
    _check_arguments(trials, objective, pruner, num_jobs)
    found = _space(space, scenario)
    check_space(found, scenario)
    searching = _Search(scenario, folder, found, storage or folder / STORAGE, seed, engine, objective, pruner)
    with quiet():
        return searching.run(trials, num_jobs, report)


@dataclass(frozen=True)
class _Search:
    scenario: Scenario
    folder: Path
    space: Space
    storage: Path
    seed: int
    engine: str
    objective: str
    pruner: str

    def run(self, trials: int, num_jobs: int, report: Callable[[TrialResult], None]) -> SearchResults:
        """See ``search``."""
        self._check_folder()
        study = self._study()
        check_same(study, self._belongs(), self.storage)
        repeat_cut_short(study)
        told = {one.number for one in study.get_trials(deepcopy=False) if is_done(one)}
        for _ in self._ended(self._jobs(study, trials), num_jobs):
            end_dead(study)
            for trial in study.get_trials(deepcopy=False):
                if is_done(trial) and trial.number not in told:
                    told.add(trial.number)
                    report(trial_result(trial, self.space, self.folder))
            self._check_hopeful(study)
            self._results(study).save()
        return self._saved(study)

    def _saved(self, study: Study) -> SearchResults:
        found = self._results(study)
        found.save()
        return found

    def _results(self, study: Study) -> SearchResults:
        settings = TrainingSettings.model_validate(self.scenario.training)
        about = (
            f"Scenario {self.scenario.name}, version {self.scenario.version}, {scenario_digest(self.scenario)}; "
            f"{settings.agent_steps} agent-steps, seed {self.seed}, engine {self.engine}, objective {self.objective}"
        )
        return results_of(study, self.space, self.scenario, self.folder, about)

    def _study(self) -> Study:
        evaluations = TrainingSettings.model_validate(self.scenario.training).evaluations
        return open_study(self.storage, self.folder.resolve().name, self.seed, self.pruner, evaluations)

    def _belongs(self) -> dict[str, str]:
        """What all trials have in common, as texts."""
        return {
            "scenario": json.dumps({**self.scenario.model_dump(mode="json"), "training": {}}, sort_keys=True),
            "scenario digest": scenario_digest(self.scenario),
            "set of days": build_task(self.scenario).profiles.sha256()[:16],
            "training": json.dumps(self.scenario.model_dump(mode="json")["training"], sort_keys=True),
            "space": json.dumps(self.space.data(), sort_keys=True),
            "seed": str(self.seed),
            "engine": self.engine,
            "objective": self.objective,
        }

    def _check_folder(self) -> None:
        """Check that the folder does not hold trials of which the storage knows nothing.

        Raises:
            ValueError: it does.
        """
        if any((self.folder / TRIALS).glob("*")) and not self.storage.is_file():
            raise ValueError(
                f"{str(self.folder)!r} holds trials, but their storage {str(self.storage)!r} is missing; name it with "
                "--storage, or give another --out"
            )

    def _jobs(self, study: Study, trials: int) -> list[TrialJob]:
        """A job for each trial that is missing."""
        done = {one.user_attrs.get(INDEX) for one in study.get_trials(deepcopy=False) if is_done(one)}
        common = {
            "scenario": self.scenario.model_dump(mode="json"),
            "space": self.space.data(),
            "storage": self.storage,
            "study": study.study_name,
            "folder": self.folder,
            **{name: getattr(self, name) for name in ("seed", "engine", "objective", "pruner")},
            "allow_code": self.scenario.allow_code,
        }
        missing = [index for index in range(trials) if index not in done]
        return [TrialJob.model_validate({**common, "name": f"trial-{k:03d}", "index": k}) for k in missing]

    def _ended(self, jobs: list[TrialJob], num_jobs: int) -> Iterator[TrialJob]:
        """The jobs as they end."""
        if num_jobs > 1:
            for job, _ in in_processes(jobs, num_jobs, self.folder / LOGS, lambda running: None, _WORKER):
                yield job
            return
        for job in jobs:
            job.run()
            yield job

    def _check_hopeful(self, study: Study) -> None:
        """Check that not all of the first trials have failed.

        Raises:
            ValueError: they have; with the reason of the last.
        """
        done = [trial_result(one, self.space, self.folder) for one in study.get_trials(deepcopy=False) if is_done(one)]
        if len(done) == _HOPELESS and all(one.state == "failed" for one in done):
            raise ValueError(f"the first {_HOPELESS} trials of the search failed, the last with: {done[-1].error}")


_WORKER = "dss_marl.experiments.parameter_search.worker"


def _space(space: Path | Mapping[str, Any] | None, scenario: Scenario) -> Space:
    if space is None:
        return default_space(scenario)
    return space_from(space) if isinstance(space, Mapping) else read_space(Path(space))


def _check_arguments(trials: int, objective: str, pruner: str, num_jobs: int) -> None:
    for name, count in (("trials", trials), ("num_jobs", num_jobs)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1; got {count}")
    for name, given, known in (("objective", objective, OBJECTIVES), ("pruner", pruner, PRUNERS)):
        if given not in known:
            raise ValueError(f"unknown {name} {given!r}; known: {', '.join(known)}")

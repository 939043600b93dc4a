"""One trial of a search: values are drawn, a training is run with them, and its validation return is told."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict

from dss_marl.envs.scenario import Scenario, scenario_from
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.parameter_search.space import Space, space_from, with_values
from dss_marl.experiments.parameter_search.storage import (
    ERROR,
    HOST,
    INDEX,
    PROCESS,
    open_study,
    quiet,
    sampler_seed,
)
from dss_marl.experiments.runs.run_record import RunRecord
from dss_marl.experiments.training.train import train

if TYPE_CHECKING:
    from optuna.trial import Trial

Objective: TypeAlias = Literal["best", "last"]
OBJECTIVES = ("best", "last")
TRIALS = "trials"  # folder of the runs
_LAST = 3  # evaluations whose mean is the objective "last"


class TrialJob(BaseModel):
    """What one trial is told, as data, for a process of its own or for this one.

    Attributes:
        name: in messages and of the log file.
        scenario: data of the scenario, with the training settings that all trials have in common.
        space: data of the space.
        storage, study: file of Optuna's storage, and name of the study in it.
        folder: of the search.
        index: which of the trials it is, from 0.
        seed, engine: of every training; the seed is also the sampler's.
        objective: "best" validation return, or mean of the "last" three.
        pruner: see ``search``.
        allow_code: see load_scenario.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    scenario: dict[str, Any]
    space: dict[str, Any]
    storage: Path
    study: str
    folder: Path
    index: int
    seed: int
    engine: str
    objective: Objective
    pruner: str
    allow_code: bool = False

    def run(self, alive: Callable[[], None] = lambda: None) -> None:
        """Do the trial; settings that cannot be learned with make it a failed one, and are no error.

        Args:
            alive: called now and then while learning; raises to stop.
        """
        scenario = scenario_from(self.scenario, self.allow_code)
        space, settings = space_from(self.space), TrainingSettings.model_validate(scenario.training)
        with quiet():
            seed = sampler_seed(self.seed, self.index)
            study = open_study(self.storage, self.study, seed, self.pruner, settings.evaluations)

            def objective(trial: Trial) -> float:
                return self._trained(trial, scenario, space, alive)

            study.optimize(objective, n_trials=1, catch=(TrialFailedError,))

    def _trained(self, trial: Trial, scenario: Scenario, space: Space, alive: Callable[[], None]) -> float:
        """The return of a training with the trial's values.

        Raises:
            TrialPruned: the pruner gave it up.
            TrialFailedError: the training failed.
        """
        import optuna

        for name, own in ((INDEX, self.index), (PROCESS, os.getpid()), (HOST, platform.node())):
            trial.set_user_attr(name, own)
        values = space.suggest(trial)
        evaluations = 0

        def watch(agent_steps: int, figures: Mapping[str, float]) -> bool:
            nonlocal evaluations
            trial.report(figures["team_return"], evaluations)
            evaluations += 1
            return bool(trial.should_prune())

        try:
            changed = with_values(scenario, values)
            folder = trial_folder(self.folder, trial.number)
            record = train(changed, folder, self.seed, 0, report=lambda *_: alive(), engine=self.engine, watch=watch)
        except InterruptedError:  # whoever started this process is gone
            raise
        except Exception as error:
            reason = " ".join(str(error).split()) or "without a message"
            trial.set_user_attr(ERROR, f"{type(error).__name__}: {reason}")
            raise TrialFailedError(reason) from error
        if record.stopped:
            raise optuna.TrialPruned
        return objective_of(record, self.objective)


class TrialFailedError(Exception):
    """The training of a trial failed; the reason is kept with it."""


def trial_folder(folder: Path, number: int) -> Path:
    """Folder of a trial's run."""
    return folder / TRIALS / f"{number:03d}"


def objective_of(record: RunRecord, objective: Objective) -> float:
    """What a search makes large: the best validation return of a run, or the mean of its last three."""
    scores = [row["score"] for row in record.history]
    return float(np.max(scores) if objective == "best" else np.mean(scores[-_LAST:]))

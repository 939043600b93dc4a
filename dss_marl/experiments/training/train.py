"""Training runs: an algorithm of SB3 on a scenario, with one policy for all agents, per kind or per agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dss_marl.envs.inverter_aids import InverterAids
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task, build_task
from dss_marl.envs.training_settings import PLANS, TrainingSettings
from dss_marl.experiments.runs.run_folder import RunFolder, check_free
from dss_marl.experiments.runs.run_record import OPENDSS, RunRecord, new_record
from dss_marl.experiments.training.checkpointing import Figures, Report, Tell, Watch
from dss_marl.experiments.training.learners import new_learner
from dss_marl.experiments.training.logs import Logs
from dss_marl.experiments.training.sections import Course
from dss_marl.experiments.training.teachers import new_teacher
from dss_marl.experiments.training.trackers import check_trackers, open_trackers
from dss_marl.integrations.sb3.setting_checks import check_settings
from dss_marl.integrations.vector import EngineChoice


def silent(agent_steps: int, figures: Mapping[str, float] | None) -> None:
    """Report nothing."""


def to_the_end(agent_steps: int, figures: Figures) -> bool:
    """Watch nothing: training goes on to its end."""
    return False


def train(
    scenario: Scenario,
    folder: Path,
    seed: int = 0,
    num_cpus: int = 0,
    route: str = "native",
    report: Report = silent,
    overwrite: bool = False,
    with_sb3: bool = False,
    engine: str = OPENDSS,
    log: Sequence[str] = (),
    tell: Tell = lambda text: None,
    watch: Watch = to_the_end,
) -> RunRecord:
    """Train a scenario's policy or policies; keep the last ones, and those with the best return on validation days.

    The record is written first, with the status "running", and at every evaluation; a folder holds one run. Validation
    days are played on OpenDSS, whatever engine the policy learns on. A run that was stopped goes on with ``resume``.

    Args:
        scenario: its ``training`` overrides TrainingSettings.
        folder: where policies, the run record, checkpoint and logs go.
        seed: of network initialisation, exploration and days.
        num_cpus: worker processes for the environment copies; 0 runs them in this process.
        route: "native" or "supersuit"; see sb3.to_sb3.
        report: called with the agent-steps done and, after an evaluation, the mean key figures of its days, else None.
        overwrite: replace the run that the folder holds.
        with_sb3: keep SB3's own models too, for programs that load them.
        engine: solves the copies while they learn: ``opendss``, each copy on a circuit of its own, or the name of a
            batch engine as in ``make_batch``. Many copies need other settings than few: see ``with_copies``.
        log: trackers that get the figures of each update too: ``wandb``, ``mlflow``.
        tell: called with a line of text on what happens before learning: each round of imitation.
        watch: asked after each evaluation but the last, with the agent-steps done and the mean key figures of its days,
            whether training should end there; a search gives up trials by it.

    Returns:
        the record, also saved in the folder; its history has the validation score at each evaluation.

    Raises:
        ValueError: unknown or incompatible settings, an engine that is unknown or refuses the feeder, or the folder
            holds a run.
        ImportError: the ``train`` extra is not installed, or a tracker.
    """
    check_free(folder, overwrite)
    check_trackers(log)
    task = checked_task(scenario, route)
    settings = TrainingSettings.model_validate(scenario.training)
    record = new_record(scenario, settings.model_dump(mode="json"), seed, route, num_cpus, engine)
    record.with_sb3, record.profiles_sha256 = with_sb3, task.profiles.sha256()
    run = RunFolder(folder, record)
    learn(run, task, report, log, tell, overwrite, watch=watch)
    return record


def checked_task(scenario: Scenario, route: str) -> Task:
    """The task of a scenario that can be trained.

    Raises:
        ValueError: unknown or incompatible settings.
        ImportError: the ``train`` extra is not installed.
    """
    settings = TrainingSettings.model_validate(scenario.training)
    task = build_task(learned_variant(scenario, settings))  # errors of the scenario, before torch takes its seconds
    check_settings(task, settings, route)  # what it refuses is refused before an earlier run is replaced
    if settings.teacher is not None:
        _check_plans(scenario, settings)
        new_teacher(task, settings.teacher).close()  # likewise
    from dss_marl.integrations.sb3 import to_sb3  # noqa: F401  # before torch, as its ImportError names the cure

    return task


def learn(
    run: RunFolder,
    task: Task,
    report: Report,
    log: Sequence[str],
    tell: Tell,
    overwrite: bool = False,
    found: Mapping[str, Any] | None = None,
    watch: Watch = to_the_end,
) -> None:
    """Learn as a run's record says, from the start or from a checkpoint, and finish the record.

    Args:
        run: the folder; taken for the run if it begins.
        task: that is learned.
        report, log, tell, overwrite: as of ``train``.
        found: the checkpoint to go on from; None: the run begins.
        watch: as of ``train``.
    """
    import torch

    record = run.record
    settings = TrainingSettings.model_validate(record.settings)
    torch.set_num_threads(1)  # small networks run slower on several threads
    place = {"n_envs": settings.n_envs, "num_cpus": record.num_cpus, "route": record.route, "seed": record.seed}
    batched = record.engine != OPENDSS
    place["engine"] = EngineChoice(record.engine, spread=True, lean=True) if batched else None
    learner = new_learner(task, settings, place)
    try:
        if found is None:
            run.start(overwrite)
        logs = Logs(run.path, settings.algorithm, open_trackers(log, run.path, record))
        try:
            record.agent_steps, sections = learner.learn(Course(run, report, logs, found, tell, watch))
        finally:
            logs.close()
    finally:
        learner.close()
    record.seconds = sections.seconds
    record.agent_steps_per_second = record.agent_steps / (record.seconds - sections.keeper.seconds)
    run.finish()


def _check_plans(scenario: Scenario, settings: TrainingSettings) -> None:
    """Refuse plans where inverters do something by themselves that they did not do when these were made."""
    own = [key for key, given in (("guard", settings.guard), ("rest_share", settings.rest_share)) if given]
    if own and settings.teacher is not None and settings.teacher.name == PLANS:
        raise ValueError(
            f"scenario {scenario.name!r}: its plans are of inverters without training.{' and training.'.join(own)}; "
            "leave it out, set it for the devices and solve again, or let a controller be the teacher"
        )


def learned_variant(scenario: Scenario, settings: TrainingSettings) -> Scenario:
    """The scenario in which a policy learns and is validated: with what the settings let inverters do by themselves.

    Raises:
        ValueError: such a setting, and no inverter of mode share.
    """
    return InverterAids.of(settings).applied(scenario)

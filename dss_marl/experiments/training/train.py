"""Training runs: SB3's PPO or MaskablePPO on a scenario, with one policy for all agents or one per kind."""

from __future__ import annotations

from pathlib import Path

from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import build_task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.runs.run_folder import RunFolder, check_free
from dss_marl.experiments.runs.run_record import OPENDSS, RunRecord, new_record
from dss_marl.experiments.training.checkpointing import Report
from dss_marl.experiments.training.learners import new_learner
from dss_marl.integrations.vector import EngineChoice


def train(
    scenario: Scenario,
    folder: Path,
    seed: int = 0,
    num_cpus: int = 0,
    route: str = "native",
    report: Report = lambda steps, score: None,
    overwrite: bool = False,
    with_sb3: bool = False,
    engine: str = OPENDSS,
) -> RunRecord:
    """Train a scenario's policy or policies; keep those with the best return on validation days.

    The record is written first, with the status "running", and at every evaluation; a folder holds one run. Validation
    days are played on OpenDSS, whatever engine the policy learns on.

    Args:
        scenario: its ``training`` overrides TrainingSettings.
        folder: where policies, the run record and TensorBoard's logs go.
        seed: of network initialisation, exploration and days.
        num_cpus: worker processes for the environment copies; 0 runs them in this process.
        route: "native" or "supersuit"; see sb3.to_sb3.
        report: called with the agent-steps done and, after an evaluation, its score, else None.
        overwrite: replace the run that the folder holds.
        with_sb3: keep SB3's own models too, from which SB3 can go on learning.
        engine: solves the copies while they learn: ``opendss``, each copy on a circuit of its own, or the name of a
            batch engine as in ``make_batch``. Many copies need other settings than few: see ``with_copies``.

    Returns:
        the record, also saved in the folder; its history has the validation score at each evaluation.

    Raises:
        ValueError: unknown or incompatible settings, an engine that is unknown or refuses the feeder, or the folder
            holds a run.
        ImportError: the ``train`` extra is not installed.
    """
    check_free(folder, overwrite)
    settings = TrainingSettings.model_validate(scenario.training)
    task = build_task(learned_variant(scenario, settings))  # errors of the scenario, before torch takes its seconds
    from dss_marl.integrations.sb3 import to_sb3  # noqa: F401  # before torch, as its ImportError names the cure
    from dss_marl.integrations.sb3.padded_policy import used_columns

    import torch  # isort: skip

    if settings.algorithm == "maskable_ppo" and not task.encoding.discrete:
        raise ValueError(
            f"scenario {scenario.name!r}: algorithm 'maskable_ppo' needs actions that are choices, but these are "
            f"{scenario.actions!r}; use actions 'multidiscrete', or algorithm 'ppo'"
        )
    if settings.ignore_padding and scenario.actions == "box":
        used_columns(task)  # what it refuses is refused before an earlier run is replaced
    record = new_record(scenario, settings.model_dump(mode="json"), seed, route, num_cpus, engine)
    record.profiles_sha256 = task.profiles.sha256()
    torch.set_num_threads(1)  # small networks run slower on several threads
    place = {"n_envs": settings.n_envs, "num_cpus": num_cpus, "route": route, "seed": seed}
    place["engine"] = None if engine == OPENDSS else EngineChoice(engine, spread=True, lean=True)
    learner = new_learner(task, settings, place)
    try:
        run = RunFolder(folder, record, with_sb3)
        run.start(overwrite)
        record.agent_steps, record.seconds, keeper = learner.learn(run, report)
    finally:
        learner.close()
    record.agent_steps_per_second = record.agent_steps / (record.seconds - keeper.seconds)
    run.finish()
    return record


def learned_variant(scenario: Scenario, settings: TrainingSettings) -> Scenario:
    """The scenario in which a policy learns and is validated: with guarded inverters if the settings have a guard.

    Raises:
        ValueError: a guard, and no inverter that can have one.
    """
    return scenario if settings.guard is None else scenario.guarded(settings.guard)

"""Training runs: SB3's PPO or MaskablePPO on a scenario, with one policy for all agents or one per kind."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task, build_task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.checkpointing import BestCheckpoint, Report
from dss_marl.experiments.run_folder import LOGS, RunFolder, check_free
from dss_marl.experiments.run_record import RunRecord, new_record
from dss_marl.integrations.sb3.trained_policy import PolicyPerKind, SharedPolicy


def train(
    scenario: Scenario,
    folder: Path,
    seed: int = 0,
    num_cpus: int = 0,
    route: str = "native",
    report: Report = lambda steps, score: None,
    overwrite: bool = False,
    with_sb3: bool = False,
) -> RunRecord:
    """Train a scenario's policy or policies; keep those with the best return on validation days.

    The record is written first, with the status "running", and at every evaluation; a folder holds one run.

    Args:
        scenario: its ``training`` overrides TrainingSettings.
        folder: where policies, the run record and TensorBoard's logs go.
        seed: of network initialisation, exploration and days.
        num_cpus: worker processes for the environment copies; 0 runs them in this process.
        route: "native" or "supersuit"; see sb3.to_sb3.
        report: called with the agent-steps done and, after an evaluation, its score, else None.
        overwrite: replace the run that the folder holds.
        with_sb3: keep SB3's own models too, from which SB3 can go on learning.

    Returns:
        the record, also saved in the folder; its history has the validation score at each evaluation.

    Raises:
        ValueError: unknown or incompatible settings, or the folder holds a run.
        ImportError: the ``train`` extra is not installed.
    """
    check_free(folder, overwrite)
    settings = TrainingSettings.model_validate(scenario.training)
    task = build_task(scenario)  # errors of the scenario, before torch takes its seconds
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
    record = new_record(scenario, settings.model_dump(mode="json"), seed, route, num_cpus)
    record.profiles_sha256 = task.profiles.sha256()
    torch.set_num_threads(1)  # small networks run slower on several threads
    place = {"n_envs": settings.n_envs, "num_cpus": num_cpus, "route": route, "seed": seed}
    learn = _shared if settings.policies == "shared" else _per_kind
    run = RunFolder(folder, record, with_sb3)
    run.start(overwrite)
    record.agent_steps, record.seconds, keeper = learn(task, settings, place, run, report)
    record.agent_steps_per_second = record.agent_steps / (record.seconds - keeper.seconds)
    run.finish()
    return record


def _shared(
    task: Task, settings: TrainingSettings, place: dict[str, Any], run: RunFolder, report: Report
) -> tuple[int, float, BestCheckpoint]:
    """Agent-steps, seconds, and the checkpoint."""
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import VecMonitor

    from dss_marl.integrations.sb3 import to_sb3
    from dss_marl.integrations.sb3.models import new_model

    class Trying(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            self._log(keeper.maybe_evaluate(self.num_timesteps))

        def _on_training_end(self) -> None:
            self._log(keeper.evaluate(self.num_timesteps))

        def _log(self, score: float | None) -> None:
            if score is not None:
                self.logger.record("validation/team_return", score)

    venv = VecMonitor(to_sb3(functools.partial(ZoneEnv, task), **place))
    model, _ = new_model(settings, venv, task, place["seed"], str(run.path / LOGS))
    keeper = BestCheckpoint(task, SharedPolicy(model), settings, run, report)
    begin = time.perf_counter()
    try:
        model.learn(settings.agent_steps, callback=Trying(), tb_log_name=settings.algorithm)
    finally:
        keeper.close()
        venv.close()
    return model.num_timesteps, time.perf_counter() - begin, keeper


def _per_kind(
    task: Task, settings: TrainingSettings, place: dict[str, Any], run: RunFolder, report: Report
) -> tuple[int, float, BestCheckpoint]:
    """Agent-steps, seconds, and the checkpoint."""
    from dss_marl.experiments.alternating_training import learn_in_turns, models_per_kind
    from dss_marl.integrations.sb3.per_kind import PerKindGame

    kinds = dict(zip(task.agents.names, task.agents.kinds, strict=True))
    game = PerKindGame(functools.partial(ZoneEnv, task), **place, kinds=kinds)
    rates = models_per_kind(game, task, settings, place["seed"], run.path / LOGS)
    keeper = BestCheckpoint(task, PolicyPerKind(game.models), settings, run, report)
    begin = time.perf_counter()
    try:
        done = learn_in_turns(game, rates, settings, keeper)
    finally:
        keeper.close()
        game.close()
    return done, time.perf_counter() - begin, keeper

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
from dss_marl.experiments.run_record import RunRecord, new_record
from dss_marl.integrations.sb3.trained_policy import PolicyPerKind, SharedPolicy


def train(
    scenario: Scenario,
    folder: Path,
    seed: int = 0,
    num_cpus: int = 0,
    route: str = "native",
    report: Report = lambda steps, score: None,
) -> RunRecord:
    """Train a scenario's policy or policies; keep those with the best return on validation days.

    Args:
        scenario: its ``training`` overrides TrainingSettings.
        folder: where models, the run record and TensorBoard's logs go.
        seed: of network initialisation, exploration and days.
        num_cpus: worker processes for the environment copies; 0 runs them in this process.
        route: "native" or "supersuit"; see sb3.to_sb3.
        report: called with the agent-steps done and, after an evaluation, its score, else None.

    Returns:
        the record, also saved in the folder; its history has the validation score at each evaluation.

    Raises:
        ValueError: unknown or incompatible settings.
        ImportError: the ``train`` extra is not installed.
    """
    from dss_marl.integrations.sb3 import to_sb3  # noqa: F401  # first, as its ImportError names the cure

    import torch  # isort: skip

    settings = TrainingSettings.model_validate(scenario.training)
    task = build_task(scenario)
    if settings.algorithm == "maskable_ppo" and not task.encoding.discrete:
        raise ValueError(
            f"scenario {scenario.name!r}: algorithm 'maskable_ppo' needs actions that are choices, but these are "
            f"{scenario.actions!r}; use actions 'multidiscrete', or algorithm 'ppo'"
        )
    record = new_record(scenario, settings.model_dump(mode="json"), seed, route, num_cpus)
    record.profiles_sha256 = task.profiles.sha256()
    torch.set_num_threads(1)  # small networks run slower on several threads
    place = {"n_envs": settings.n_envs, "num_cpus": num_cpus, "route": route, "seed": seed}
    learn = _shared if settings.policies == "shared" else _per_kind
    record.agent_steps, record.seconds, keeper = learn(task, settings, place, folder, report)
    record.agent_steps_per_second = record.agent_steps / (record.seconds - keeper.seconds)
    record.history = keeper.history
    record.save(folder)
    return record


def _shared(
    task: Task, settings: TrainingSettings, place: dict[str, Any], folder: Path, report: Report
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
    model, _ = new_model(settings, venv, task, place["seed"], str(folder / "logs"))
    keeper = BestCheckpoint(task, SharedPolicy(model), settings, folder, report)
    begin = time.perf_counter()
    try:
        model.learn(settings.agent_steps, callback=Trying(), tb_log_name=settings.algorithm)
    finally:
        keeper.close()
        venv.close()
    return model.num_timesteps, time.perf_counter() - begin, keeper


def _per_kind(
    task: Task, settings: TrainingSettings, place: dict[str, Any], folder: Path, report: Report
) -> tuple[int, float, BestCheckpoint]:
    """Agent-steps, seconds, and the checkpoint."""
    from dss_marl.experiments.alternating_training import learn_in_turns, models_per_kind
    from dss_marl.integrations.sb3.per_kind import PerKindGame

    kinds = dict(zip(task.agents.names, task.agents.kinds, strict=True))
    game = PerKindGame(functools.partial(ZoneEnv, task), **place, kinds=kinds)
    rates = models_per_kind(game, task, settings, place["seed"], folder)
    keeper = BestCheckpoint(task, PolicyPerKind(game.models), settings, folder, report)
    begin = time.perf_counter()
    try:
        done = learn_in_turns(game, rates, settings, keeper)
    finally:
        keeper.close()
        game.close()
    return done, time.perf_counter() - begin, keeper

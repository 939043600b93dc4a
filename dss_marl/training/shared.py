"""One policy shared by all agents: training with SB3's PPO, and its use as a controller."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl.env import ZoneEnv
from dss_marl.scenario import Scenario, Task
from dss_marl.training.evaluation import run_day
from dss_marl.training.record import RunRecord, load_run, new_record
from dss_marl.training.settings import TrainingSettings

MODEL = "model.zip"
Report = Callable[[int, float | None], None]


class SharedPolicy:
    """A trained model as a controller: every agent's action from its own observation, without exploration.

    Args:
        model: an SB3 model whose spaces are those of one agent.
    """

    circuit_controls = False

    def __init__(self, model: Any) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path) -> SharedPolicy:
        """The best policy of a run.

        Raises:
            ValueError: no run there.
        """
        from stable_baselines3 import PPO

        load_run(folder)
        return cls(PPO.load(folder / MODEL, device="cpu"))

    def start(self, env: ZoneEnv) -> None:
        """Check that the model fits.

        Raises:
            ValueError: the environment's spaces are not the model's.
        """
        agent = env.possible_agents[0]
        for name, mine, its in (
            ("observation", self.model.observation_space, env.observation_space(agent)),
            ("action", self.model.action_space, env.action_space(agent)),
        ):
            if mine.shape != its.shape:
                raise ValueError(
                    f"the model's {name} has shape {mine.shape}, that of scenario {env.task.scenario.name!r} "
                    f"{its.shape}; evaluate it on the scenario that it was trained on"
                )

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """All agents' actions, in one call of the network."""
        rows, _ = self.model.predict(np.stack([observations[a] for a in env.agents]), deterministic=True)
        return dict(zip(env.agents, rows, strict=True))


def train(
    scenario: Scenario,
    folder: Path,
    seed: int = 0,
    num_cpus: int = 0,
    route: str = "native",
    report: Report = lambda steps, score: None,
) -> RunRecord:
    """Train a shared policy; keep the one that does best on validation days.

    Args:
        scenario: its ``training`` overrides TrainingSettings.
        folder: where the model, the run record and TensorBoard's logs go.
        seed: of network, exploration and days.
        num_cpus: worker processes for the environment copies; 0 runs them here.
        route: "native" or "supersuit"; see sb3.to_sb3.
        report: called with the agent-steps done and, after an evaluation, its score, else None.

    Returns:
        the record, also saved in the folder; its history has the validation score at each evaluation.

    Raises:
        ValueError: settings that do not exist.
        ImportError: the extra ``train`` is not installed.
    """
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecMonitor

    from dss_marl.sb3 import to_sb3

    settings = TrainingSettings.model_validate(scenario.training)
    record = new_record(scenario, settings.model_dump(mode="json"), seed, route, num_cpus)
    torch.set_num_threads(1)  # small networks run slower on several threads
    task = scenario.build()
    record.profiles_sha256 = task.profiles.sha256()
    venv = VecMonitor(to_sb3(functools.partial(ZoneEnv, task), settings.n_envs, num_cpus, route, seed))
    model = PPO("MlpPolicy", venv, seed=seed, device="cpu", tensorboard_log=str(folder / "logs"), **_ppo(settings))
    keeper = _keep_best(task, folder, settings, report)
    begin = time.perf_counter()
    try:
        model.learn(settings.agent_steps, callback=keeper, tb_log_name="ppo")
    finally:
        venv.close()
    record.seconds = time.perf_counter() - begin
    record.agent_steps = model.num_timesteps
    record.agent_steps_per_second = model.num_timesteps / (record.seconds - keeper.seconds)
    record.history = keeper.history
    record.save(folder)
    return record


def _ppo(settings: TrainingSettings) -> dict[str, Any]:
    first, last = settings.learning_rate, settings.final_learning_rate
    return {
        "learning_rate": lambda left: last + (first - last) * left,
        "n_steps": settings.n_steps,
        "batch_size": settings.batch_size,
        "n_epochs": settings.n_epochs,
        "gamma": settings.gamma,
        "gae_lambda": settings.gae_lambda,
        "clip_range": settings.clip_range,
        "ent_coef": settings.ent_coef,
        "policy_kwargs": {"net_arch": list(settings.net_arch), "log_std_init": settings.log_std_init},
    }


def _keep_best(task: Task, folder: Path, settings: TrainingSettings, report: Report) -> Any:
    """A callback that tries the policy on validation days and saves it when it is the best so far."""
    from stable_baselines3.common.callbacks import BaseCallback

    class KeepBest(BaseCallback):
        def __init__(self) -> None:
            super().__init__()
            self.history: list[dict[str, float]] = []
            self.seconds = 0.0
            self._env = ZoneEnv(task, "validation")
            days = self._env.days
            self._days = days[:: max(1, len(days) // settings.evaluation_days)][: settings.evaluation_days]
            self._next = 0.0

        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.num_timesteps >= self._next:
                self._next += settings.agent_steps / settings.evaluations
                self._try()
            else:
                report(self.num_timesteps, None)

        def _on_training_end(self) -> None:
            self._try()
            self._env.close()

        def _try(self) -> None:
            begin = time.perf_counter()
            policy = SharedPolicy(self.model)
            score = float(np.mean([run_day(self._env, policy, day)["team_return"] for day in self._days]))
            if not self.history or score > max(row["score"] for row in self.history):
                folder.mkdir(parents=True, exist_ok=True)
                self.model.save(folder / MODEL)
            self.history.append({"agent_steps": float(self.num_timesteps), "score": score})
            self.logger.record("validation/team_return", score)
            self.seconds += time.perf_counter() - begin
            report(self.num_timesteps, score)

    return KeepBest()

"""Learners: SB3 models on the copies of an environment, one for all agents or one per kind."""

from __future__ import annotations

import functools
import time
from typing import Any, Protocol

from dss_marl.envs.task import Task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.runs.run_folder import LOGS, RunFolder
from dss_marl.experiments.training.checkpointing import BestCheckpoint, Report, Tell
from dss_marl.integrations.sb3.trained_policy import PolicyPerKind, SharedPolicy


class Learner(Protocol):
    """Copies of an environment, and the models that learn on them; what refuses the copies does so as it is made."""

    def learn(self, run: RunFolder, report: Report, tell: Tell) -> tuple[int, float, BestCheckpoint]:
        """Agent-steps, seconds, and the checkpoint; ``tell`` is called with a line for each round of imitation."""

    def close(self) -> None:
        """Close the copies."""


def new_learner(task: Task, settings: TrainingSettings, place: dict[str, Any]) -> Learner:
    """The learner of a task.

    Args:
        task: to learn.
        settings: of the training.
        place: n_envs, num_cpus, route, seed and engine of the copies, as ``to_sb3`` takes them.
    """
    return (SharedLearner if settings.policies == "shared" else PerKindLearner)(task, settings, place)


class SharedLearner:
    """One policy for all agents."""

    def __init__(self, task: Task, settings: TrainingSettings, place: dict[str, Any]) -> None:
        from stable_baselines3.common.vec_env import VecMonitor

        from dss_marl.integrations.sb3 import to_sb3
        from dss_marl.integrations.sb3.time_limits import ValuedTimeLimits

        self._task, self._settings, self._seed = task, settings, place["seed"]
        self._venv: Any = VecMonitor(to_sb3(functools.partial(ZoneEnv, task), **place))
        self._ends = None if place["engine"] is None else ValuedTimeLimits(self._venv)

    def learn(self, run: RunFolder, report: Report, tell: Tell) -> tuple[int, float, BestCheckpoint]:
        """See Learner."""
        from stable_baselines3.common.callbacks import BaseCallback

        from dss_marl.integrations.sb3.imitation_loss import hold_actor
        from dss_marl.integrations.sb3.models import new_model

        class Trying(BaseCallback):
            def _on_step(self) -> bool:
                return True

            def _on_rollout_start(self) -> None:
                if settings.teacher is not None:
                    hold_actor(self.model, settings.teacher.critic_warmup)
                self._log(keeper.maybe_evaluate(self.num_timesteps))

            def _on_training_end(self) -> None:
                self._log(keeper.evaluate(self.num_timesteps))

            def _log(self, score: float | None) -> None:
                if score is not None:
                    self.logger.record("validation/team_return", score)

        settings = self._settings
        model, _ = new_model(settings, self._ends or self._venv, self._task, self._seed, str(run.path / LOGS))
        if self._ends is not None:
            self._ends.model = model
        policy = SharedPolicy(model)
        _warm_start(self._task, settings, policy, self._seed, run, tell)
        keeper = BestCheckpoint(self._task, policy, settings, run, report, self._ends is not None)
        begin = time.perf_counter()
        try:
            model.learn(settings.agent_steps, callback=Trying(), tb_log_name=settings.algorithm)
        finally:
            keeper.close()
        return model.num_timesteps, time.perf_counter() - begin, keeper

    def close(self) -> None:
        """Close the copies."""
        self._venv.close()


class PerKindLearner:
    """A policy for each kind of agent."""

    def __init__(self, task: Task, settings: TrainingSettings, place: dict[str, Any]) -> None:
        from dss_marl.integrations.sb3.per_kind import PerKindGame

        self._task, self._settings, self._seed = task, settings, place["seed"]
        self._together = place["engine"] is not None
        kinds = dict(zip(task.agents.names, task.agents.kinds, strict=True))
        self._game = PerKindGame(functools.partial(ZoneEnv, task), **place, kinds=kinds)

    def learn(self, run: RunFolder, report: Report, tell: Tell) -> tuple[int, float, BestCheckpoint]:
        """See Learner."""
        from dss_marl.experiments.training.alternating_training import learn_in_turns, models_per_kind

        game, settings = self._game, self._settings
        rates = models_per_kind(game, self._task, settings, self._seed, run.path / LOGS)
        policy = PolicyPerKind(game.models)
        _warm_start(self._task, settings, policy, self._seed, run, tell)
        keeper = BestCheckpoint(self._task, policy, settings, run, report, self._together)
        begin = time.perf_counter()
        try:
            done = learn_in_turns(game, rates, settings, keeper)
        finally:
            keeper.close()
        return done, time.perf_counter() - begin, keeper

    def close(self) -> None:
        """Close the copies."""
        self._game.close()


def _warm_start(
    task: Task, settings: TrainingSettings, policy: PolicyPerKind, seed: int, run: RunFolder, tell: Tell
) -> None:
    """Let a policy imitate the settings' teacher, if there is one, and note it in the run's record."""
    if settings.teacher is None:
        return
    from dss_marl.experiments.training.imitation import imitate

    run.record.imitation = imitate(task, settings, policy, seed, tell)

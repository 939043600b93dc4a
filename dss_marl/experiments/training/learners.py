"""Learners: SB3 models on the copies of an environment, one for all agents, per kind or per agent."""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Protocol

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.training.sections import Course, Sections
from dss_marl.integrations.sb3.trained_policy import POLICIES, PolicyPerKind, SharedPolicy


class Learner(Protocol):
    """Copies of an environment, and the models that learn on them; what refuses the copies does so as it is made."""

    def learn(self, course: Course) -> tuple[int, Sections]:
        """Agent-steps done, and the sections in which they were."""

    def close(self) -> None:
        """Close the copies."""


def new_learner(task: Task, settings: TrainingSettings, place: dict[str, Any]) -> Learner:
    """The learner of a task.

    Args:
        task: to learn.
        settings: of the training.
        place: n_envs, num_cpus, route, seed and engine of the copies, as ``to_sb3`` takes them.
    """
    return (SharedLearner if settings.sharing == "all" else AlternatingLearner)(task, settings, place)


class SharedLearner:
    """One policy for all agents."""

    def __init__(self, task: Task, settings: TrainingSettings, place: dict[str, Any]) -> None:
        from stable_baselines3.common.vec_env import VecMonitor

        from dss_marl.integrations.sb3 import to_sb3
        from dss_marl.integrations.sb3.time_limits import ValuedTimeLimits

        self._task, self._settings, self._seed = task, settings, place["seed"]
        rows = to_sb3(functools.partial(ZoneEnv, task), **place)
        rows.days_go_on = settings.days_go_on
        self._venv: Any = VecMonitor(rows)
        self._together = place["engine"] is not None
        # a replay buffer needs the flag of a time limit, and values of a policy with memory its state
        valued = self._together and not (settings.is_off_policy or settings.is_recurrent)
        self._ends = ValuedTimeLimits(self._venv) if valued else None

    def learn(self, course: Course) -> tuple[int, Sections]:
        """Agent-steps done, and the sections in which they were."""
        from dss_marl.integrations.sb3.models import new_model

        settings = self._settings
        model, _ = new_model(settings, self._ends or self._venv, self._task, self._seed)
        if self._ends is not None:
            self._ends.model = model
        policy = SharedPolicy(model)
        _warm_start(self._task, settings, policy, self._seed, course)
        sections = Sections(
            self._task, settings, self._seed, policy, model.n_envs, functools.partial(_restart, model), course,
            self._together,
        )  # fmt: skip
        try:
            if sections.begin():
                self._learn(model, sections, course)
        finally:
            sections.keeper.close()
        return model.num_timesteps, sections

    def _learn(self, model: Any, sections: Sections, course: Course) -> None:
        with contextlib.suppress(_EnoughError):
            model.learn(
                self._settings.agent_steps - model.num_timesteps,
                callback=[_pausing(sections, self._settings), *course.logs.callbacks()],
                # updates, or of an algorithm without rollouts episodes: about as many as all copies end together
                log_interval=model.n_envs if self._settings.is_off_policy else 1,
                reset_num_timesteps=course.found is None,
            )
            sections.finish(model.num_timesteps)

    def close(self) -> None:
        """Close the copies."""
        self._venv.close()


class AlternatingLearner:
    """A policy for each kind of agent, or for each agent, which learn in turns."""

    def __init__(self, task: Task, settings: TrainingSettings, place: dict[str, Any]) -> None:
        from dss_marl.integrations.sb3.per_kind import PerKindGame

        self._task, self._settings, self._seed = task, settings, place["seed"]
        self._together = place["engine"] is not None
        names = task.agents.names
        kinds = dict(zip(names, task.agents.kinds if settings.sharing == "per_kind" else names, strict=True))
        self._game = PerKindGame(functools.partial(ZoneEnv, task), **place, kinds=kinds)
        rows: Any = self._game.venv.venv
        rows.days_go_on = settings.days_go_on

    def learn(self, course: Course) -> tuple[int, Sections]:
        """Agent-steps done, and the sections in which they were."""
        from dss_marl.experiments.training.alternating_training import learn_in_turns, models_per_kind

        game, settings = self._game, self._settings
        rates = models_per_kind(game, self._task, settings, self._seed)
        policy = POLICIES[settings.sharing](game.models)
        _warm_start(self._task, settings, policy, self._seed, course)

        def restart(seed: int) -> None:
            game.venv.seed(seed)
            game.reset()

        sections = Sections(
            self._task, settings, self._seed, policy, game.venv.num_envs, restart, course, self._together
        )
        try:
            if sections.begin():
                if course.found is None:
                    game.reset()
                learn_in_turns(game, rates, settings, sections, course.logs.callbacks())
        finally:
            sections.keeper.close()
        return sections.done, sections

    def close(self) -> None:
        """Close the copies."""
        self._game.close()


class _EnoughError(Exception):
    """Ends SB3's loop between two rollouts."""


def _pausing(sections: Sections, settings: TrainingSettings) -> Any:
    """SB3's callback that lets the sections pause it before a rollout."""
    from stable_baselines3.common.callbacks import BaseCallback

    from dss_marl.integrations.sb3.imitation_loss import hold_actor

    class Pausing(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if not sections.pause(self.model.num_timesteps):
                raise _EnoughError
            if settings.teacher is not None:
                hold_actor(self.model, settings.teacher.critic_warmup)

    return Pausing()


def _restart(model: Any, seed: int) -> None:
    """Start an episode in all copies, as SB3 does before its first rollout."""
    model.env.seed(seed)
    model._last_obs = model.env.reset()
    model._last_episode_starts = np.ones(model.n_envs, dtype=bool)  # a memory starts anew where it says so


def _warm_start(task: Task, settings: TrainingSettings, policy: PolicyPerKind, seed: int, course: Course) -> None:
    """Let a policy imitate the settings' teacher, if there is one, and note it in the run's record."""
    if settings.teacher is None or course.found is not None:
        return
    from dss_marl.experiments.training.imitation import imitate

    course.run.record.imitation = imitate(task, settings, policy, seed, course.tell)

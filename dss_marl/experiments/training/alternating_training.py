"""Alternating training: one model per kind of agent, or per agent, each learning against the others as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dss_marl.envs.task import Task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.training.sections import Sections
from dss_marl.integrations.sb3.imitation_loss import hold_actor
from dss_marl.integrations.sb3.models import LinearSchedule, new_model
from dss_marl.integrations.sb3.per_kind import KindVecEnv, PerKindGame


def models_per_kind(game: PerKindGame, task: Task, settings: TrainingSettings, seed: int) -> dict[str, LinearSchedule]:
    """Create a model for every kind of the game; returns the learning-rate schedule of each."""
    rates = {}
    for number, (kind, view) in enumerate(game.views.items()):
        game.models[kind], rates[kind] = new_model(
            settings, view, task, seed + number
        )  # otherwise kinds with equal spaces would start from equal networks
    game.venv.seed(seed)  # every new model has reseeded the shared environment
    return rates


def learn_in_turns(
    game: PerKindGame,
    rates: Mapping[str, LinearSchedule],
    settings: TrainingSettings,
    sections: Sections,
    callbacks: Sequence[Any] = (),
) -> None:
    """Let the kinds take turns of one rollout each, in whole rounds.

    Learning is alternating, not simultaneous: in a turn all agents act with exploration, but one kind learns, from its
    own rows; with n kinds, each learns from every n-th turn. The game continues from turn to turn without a reset,
    and sections end between two rounds.
    """
    done = sections.done
    a_turn = settings.n_steps * game.venv.num_envs
    while done < settings.agent_steps:
        if not sections.pause(done):
            return
        left = 1.0 - (done + a_turn * len(game.views)) / settings.agent_steps  # after the round, as SB3 counts
        for kind, view in game.views.items():
            rates[kind].left = left
            if settings.teacher is not None:
                hold_actor(game.models[kind], settings.teacher.critic_warmup)
            _turn(game.models[kind], view, settings.n_steps, callbacks)
            done += a_turn
    sections.finish(done)


def _turn(model: Any, view: KindVecEnv, n_steps: int, callbacks: Sequence[Any]) -> None:
    # The other kinds' turns have advanced the game; without this, SB3 would continue from its last observation.
    model._last_obs = view.seen()
    model._last_episode_starts = view.game.began[view.rows]
    model.learn(n_steps * view.num_envs, callback=list(callbacks), reset_num_timesteps=False)

"""Learning in turns: one model per kind of agent, each in the company of the others as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dss_marl.envs.task import Task
from dss_marl.experiments.checkpointing import BestCheckpoint
from dss_marl.integrations.sb3.models import LinearSchedule, new_model
from dss_marl.integrations.sb3.per_kind import KindVecEnv, PerKindGame
from dss_marl.integrations.sb3.settings import TrainingSettings


def models_per_kind(
    game: PerKindGame, task: Task, settings: TrainingSettings, seed: int, folder: Path
) -> dict[str, LinearSchedule]:
    """Give every kind of the game a model; the learning rate of each."""
    from stable_baselines3.common.logger import configure

    rates = {}
    for number, (kind, view) in enumerate(game.views.items()):
        model, rates[kind] = new_model(
            settings, view, task, seed + number
        )  # or kinds alike would begin with equal networks
        model.set_logger(configure(str(folder / "logs" / kind), ["tensorboard"]))  # one for all turns
        game.models[kind] = model
    game.venv.seed(seed)  # each model seeded its environment, which is one
    return rates


def learn_in_turns(
    game: PerKindGame, rates: Mapping[str, LinearSchedule], settings: TrainingSettings, keeper: BestCheckpoint
) -> int:
    """Let the kinds take turns of one rollout each, in whole rounds; the agent-steps done.

    This is alternating and not simultaneous: in a turn all act, exploring, but one kind learns, from its own rows, so
    that each learns from one turn in as many as there are kinds. The game goes on from turn to turn without a reset.
    """
    done = 0
    a_turn = settings.n_steps * game.venv.num_envs
    game.reset()
    while done < settings.agent_steps:
        left = 1.0 - (done + a_turn * len(game.views)) / settings.agent_steps  # after the round, as SB3 counts
        for kind, view in game.views.items():
            score = keeper.maybe_evaluate(done)
            if score is not None:
                game.models[kind].logger.record("validation/team_return", score)
            rates[kind].left = left
            _turn(game.models[kind], view, settings.n_steps)
            done += a_turn
    keeper.evaluate(done)
    return done


def _turn(model: Any, view: KindVecEnv, n_steps: int) -> None:
    # The others' turns moved the game on since this model looked; without this SB3 would take up where it left off.
    model._last_obs = view.seen()
    model._last_episode_starts = view.game.began[view.rows]
    model.learn(n_steps * view.num_envs, reset_num_timesteps=False)

"""SB3 models with a scenario's training settings."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import VecEnv

from dss_marl.envs.task import Task
from dss_marl.envs.training_settings import OFF_POLICY, RECURRENT, TrainingSettings
from dss_marl.integrations.sb3.entry_layout import EntryLayout, guided_entries
from dss_marl.integrations.sb3.mixed_policy import MixedPolicy
from dss_marl.integrations.sb3.padded_policy import MaskedGaussianPolicy, used_columns
from dss_marl.integrations.sb3.zone_ppo import ZonePPO


class LinearSchedule:
    """A learning rate that decreases linearly from ``first`` to ``last``.

    SB3 calls it with the remaining fraction of ``learn``. In alternating training with many short calls of ``learn``,
    ``left`` is set to the remaining fraction of the whole training.
    """

    def __init__(self, first: float, last: float) -> None:
        self.first, self.last = first, last
        self.left: float | None = None

    def __call__(self, left: float) -> float:
        """The current rate; stays at the last one if training overruns."""
        left = left if self.left is None else self.left
        return self.last + (self.first - self.last) * max(left, 0.0)


def algorithm_for(name: str, action_space: spaces.Space[Any]) -> Any:
    """SB3's class for an algorithm of the settings; PPO for ``maskable_ppo`` if actions are continuous.

    Raises:
        ImportError: sb3_contrib is not installed.
    """
    if name == "sac":
        return SAC
    if name in ("ppo", "mappo") or (name == "maskable_ppo" and isinstance(action_space, spaces.Box)):
        return PPO
    try:
        from sb3_contrib import TQC, MaskablePPO, RecurrentPPO
    except ImportError as error:
        raise ImportError(f"algorithm {name!r} needs sb3_contrib: pip install 'dss_marl[train]'") from error
    return {"maskable_ppo": MaskablePPO, "tqc": TQC, RECURRENT: RecurrentPPO}[name]


def new_model(
    settings: TrainingSettings, venv: VecEnv, task: Task, seed: int, logs: str | None = None
) -> tuple[Any, LinearSchedule]:
    """A model for these rows, and its learning rate.

    Args:
        settings: training settings.
        venv: its rows are the agents that share the model.
        task: the task.
        seed: for network, exploration and days.
        logs: folder of TensorBoard logs.
    """
    rate = LinearSchedule(settings.learning_rate, settings.final_learning_rate)
    if settings.algorithm in OFF_POLICY:
        return _off_policy_model(settings, venv, task, seed, rate, logs), rate
    network, policy = _network(settings, venv, task)
    own = _own_options(settings, task) if settings.beyond_ppo else {}
    kind = ZonePPO if settings.beyond_ppo else algorithm_for(settings.algorithm, venv.action_space)
    model = kind(
        network,
        venv,
        learning_rate=rate,
        n_steps=settings.n_steps,
        batch_size=min(settings.batch_size, settings.n_steps * venv.num_envs),  # a kind may have only a few agents
        n_epochs=settings.n_epochs,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        clip_range=settings.clip_range,
        ent_coef=settings.ent_coef,
        policy_kwargs=policy,
        seed=seed,
        device="cpu",
        tensorboard_log=logs,
        **own,
    )
    return model, rate


def _off_policy_model(
    settings: TrainingSettings, venv: VecEnv, task: Task, seed: int, rate: LinearSchedule, logs: str | None
) -> Any:
    """SAC or TQC for these rows."""
    own = settings.off_policy
    options: dict[str, Any] = {}
    if settings.algorithm == "tqc":
        options["top_quantiles_to_drop_per_net"] = own.dropped_quantiles
    return algorithm_for(settings.algorithm, venv.action_space)(
        "MlpPolicy",
        venv,
        learning_rate=rate,
        buffer_size=own.buffer_size,
        learning_starts=own.learning_starts,
        batch_size=settings.batch_size,
        tau=own.tau,
        gamma=settings.gamma,
        train_freq=own.train_freq,
        gradient_steps=max(1, round(own.update_ratio * own.train_freq * venv.num_envs)),
        ent_coef=own.ent_coef,
        target_entropy=target_entropy(task),
        policy_kwargs={"net_arch": list(settings.net_arch)},
        seed=seed,
        device="cpu",
        tensorboard_log=logs,
        **options,
    )


def target_entropy(task: Task) -> float:
    """The entropy of an action at which SAC aims: -1 for each entry with a device, as SB3 does, in the mean of agents.

    Padding has no effect on rewards, and so the entropy of a uniform draw from [-1, 1], log 2. If it counted as an
    entry, the others would have to make up for its entropy by acting almost without exploration.
    """
    used = task.agents.action_layout.used
    return float((used * -1.0 + ~used * math.log(2)).sum(axis=1).mean())


def _network(settings: TrainingSettings, venv: VecEnv, task: Task) -> tuple[Any, dict[str, Any]]:
    """The class of a policy, or its name, and its options."""
    options: dict[str, Any] = {"net_arch": list(settings.net_arch)}
    if isinstance(venv.action_space, spaces.Box):
        options["log_std_init"] = settings.log_std_init
    if settings.entries == "mixed":
        layout = EntryLayout.of_task(task, getattr(venv, "kind", None))
        return MixedPolicy, {**options, **asdict(layout), "hold_probability": settings.hold_probability}
    masked = settings.ignore_padding and task.scenario.actions == "box"  # discrete actions have masks instead
    if settings.is_recurrent:
        from dss_marl.integrations.sb3.recurrent_policy import MaskedRecurrentPolicy

        options |= {"lstm_hidden_size": settings.recurrent.units, "n_lstm_layers": settings.recurrent.layers}
        return (
            (MaskedRecurrentPolicy, {**options, "columns": used_columns(task)})
            if masked
            else ("MlpLstmPolicy", options)
        )
    return (MaskedGaussianPolicy, {**options, "columns": used_columns(task)}) if masked else ("MlpPolicy", options)


def _own_options(settings: TrainingSettings, task: Task) -> dict[str, Any]:
    """The options of ZonePPO that SB3's PPO does not have."""
    shared = task.scenario.reward_sharing == "team"
    return {
        "ratio": settings.ratio,
        "critic": "central" if settings.central else "local",
        "values": 1 if shared else len(task.agents.names),
        "slope": settings.slope,
        "guided": None if settings.slope is None else guided_entries(task, settings.slope.kinds),
        "log_std_final": settings.log_std_final,
        "temperature_final": settings.temperature_final,
    }

"""SB3 models with a scenario's training settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from dss_marl.envs.task import Task
from dss_marl.envs.training_settings import TrainingSettings
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
    """SB3's class for ``ppo``, ``mappo`` or ``maskable_ppo``; PPO in either case for continuous actions.

    Raises:
        ImportError: sb3_contrib is not installed.
    """
    if name in ("ppo", "mappo") or isinstance(action_space, spaces.Box):
        return PPO
    try:
        from sb3_contrib import MaskablePPO
    except ImportError as error:
        raise ImportError("algorithm 'maskable_ppo' needs sb3_contrib: pip install 'dss_marl[train]'") from error
    return MaskablePPO


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


def _network(settings: TrainingSettings, venv: VecEnv, task: Task) -> tuple[Any, dict[str, Any]]:
    """The class of a policy, or its name, and its options."""
    options: dict[str, Any] = {"net_arch": list(settings.net_arch)}
    if isinstance(venv.action_space, spaces.Box):
        options["log_std_init"] = settings.log_std_init
    if settings.entries == "mixed":
        layout = EntryLayout.of_task(task, getattr(venv, "kind", None))
        return MixedPolicy, {**options, **asdict(layout), "hold_probability": settings.hold_probability}
    if settings.ignore_padding and task.scenario.actions == "box":  # discrete actions have masks instead
        return MaskedGaussianPolicy, {**options, "columns": used_columns(task)}
    return "MlpPolicy", options


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

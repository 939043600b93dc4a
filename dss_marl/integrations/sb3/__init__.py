"""Stable-Baselines3: environments as a VecEnv, PPO models, and trained policies as controllers.

Stable-Baselines3 is imported on first use: reading settings and stepping workers do not need it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.integrations.sb3.trained_policy import PolicyPerAgent, PolicyPerKind, SharedPolicy

if TYPE_CHECKING:
    from dss_marl.integrations.sb3.mixed_policy import MixedPolicy
    from dss_marl.integrations.sb3.padded_policy import MaskedGaussianPolicy
    from dss_marl.integrations.sb3.per_kind import PerKindGame
    from dss_marl.integrations.sb3.time_limits import ValuedTimeLimits
    from dss_marl.integrations.sb3.vec_env import RowVecEnv, to_sb3
    from dss_marl.integrations.sb3.zone_ppo import ZonePPO

__all__ = [
    "MaskedGaussianPolicy",
    "MixedPolicy",
    "PerKindGame",
    "PolicyPerAgent",
    "PolicyPerKind",
    "RowVecEnv",
    "SharedPolicy",
    "TrainingSettings",
    "ValuedTimeLimits",
    "ZonePPO",
    "to_sb3",
]

_NEED_SB3 = {
    "MaskedGaussianPolicy": "padded_policy",
    "MixedPolicy": "mixed_policy",
    "PerKindGame": "per_kind",
    "RowVecEnv": "vec_env",
    "ValuedTimeLimits": "time_limits",
    "ZonePPO": "zone_ppo",
    "to_sb3": "vec_env",
}


def __getattr__(name: str) -> Any:
    if name not in _NEED_SB3:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_NEED_SB3[name]}")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{__name__}.{name} needs Stable-Baselines3 ({error}); get it with: pip install 'dss_marl[train]'"
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Gaussian policy that masks padded action entries in log-probability and entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch as th
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy

from dss_marl.integrations.sb3.entry_layout import used_columns

__all__ = ["MaskedGaussian", "MaskedGaussianPolicy", "used_columns"]


class MaskedGaussian(DiagGaussianDistribution):
    """A diagonal Gaussian whose log-probability and entropy exclude unused entries.

    Attributes:
        used: (n, W) 1 where an entry is used, else 0.
    """

    used: th.Tensor

    def log_prob(self, actions: th.Tensor) -> th.Tensor:
        """(n), over used entries."""
        return (self.distribution.log_prob(actions) * self.used).sum(dim=1)

    def entropy(self) -> th.Tensor:
        """(n), over used entries."""
        return (self.distribution.entropy() * self.used).sum(dim=1)


class MaskedGaussianPolicy(ActorCriticPolicy):
    """SB3's policy for a Box, reading from the observation which entries of the action are padding.

    Samples for padded entries have no effect, yet they would add noise to the probability ratio of PPO.

    Args:
        columns: (W) observation columns with this information, see ``used_columns``.
    """

    def __init__(self, *args: Any, columns: Sequence[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.columns = list(columns)
        self._entries = MaskedGaussian(len(self.columns))
        self.action_dist = self._entries  # it has no parameters, so the networks remain valid

    def forward(self, obs: Any, deterministic: bool = False) -> Any:
        """Actions (n, W), values (n, 1) and log-probabilities (n)."""
        self._entries.used = obs[:, self.columns]
        return super().forward(obs, deterministic)

    def evaluate_actions(self, obs: Any, actions: th.Tensor) -> Any:
        """Values (n, 1), log-probabilities (n) and entropy (n)."""
        self._entries.used = obs[:, self.columns]
        return super().evaluate_actions(obs, actions)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "columns": self.columns}

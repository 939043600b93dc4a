"""Recurrent Gaussian policy that masks padded action entries; for sb3_contrib's RecurrentPPO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch as th
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy

from dss_marl.integrations.sb3.padded_policy import MaskedGaussian


class MaskedRecurrentPolicy(RecurrentActorCriticPolicy):
    """As MaskedGaussianPolicy, with a memory.

    Args:
        columns: (W) observation columns that say which entries are used, see ``used_columns``.
    """

    def __init__(self, *args: Any, columns: Sequence[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.columns = list(columns)
        self._entries = MaskedGaussian(len(self.columns))
        self.action_dist = self._entries  # it has no parameters, so the networks remain valid

    def forward(self, obs: th.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Actions (n, W), values (n, 1), log-probabilities (n) and the states of the memory."""
        self._entries.used = obs[:, self.columns]
        return super().forward(obs, *args, **kwargs)

    def evaluate_actions(self, obs: Any, actions: th.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Values (n, 1), log-probabilities (n) and entropy (n); rows that fill up short sequences are all padding."""
        self._entries.used = obs[:, self.columns]
        return super().evaluate_actions(obs, actions, *args, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "columns": self.columns}

"""MixedPolicy: one actor for numbers and choices, for Box actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from dss_marl.integrations.sb3.entry_layout import NONE
from dss_marl.integrations.sb3.mixed_distribution import ChoiceHeads, MixedDistribution


class MixedPolicy(ActorCriticPolicy):
    """SB3's policy for a Box whose entries are numbers for some agents and positions of devices for others.

    Taps, banks and switches are drawn from a categorical distribution over their positions, and stand in the action as
    the number that the device takes for this position: what steps, records and evaluates actions needs nothing new.
    Which entries are choices is read from the observation. A Gaussian whose samples are rounded has a dead zone
    instead: with little noise no device ever moves, with much they move at random.

    Args:
        columns, signatures, levels, hold: see EntryLayout; ``hold`` is needed for the first weights alone.
        hold_probability: of the position ``hold`` of each head at the start.

    Attributes:
        temperature: () what logits are divided by; a learner may lower it from 1, so that samples come to be what
            would be chosen without exploration.
    """

    temperature: th.Tensor

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        lr_schedule: Any,
        *args: Any,
        columns: Sequence[int],
        signatures: Sequence[Sequence[float]],
        levels: Sequence[Sequence[int]],
        hold: Sequence[Sequence[int]] = (),
        hold_probability: float = 0.4,
        **kwargs: Any,
    ) -> None:
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)
        self._given: dict[str, Any] = {"columns": columns, "signatures": signatures, "levels": levels, "hold": hold}
        self._given["hold_probability"] = hold_probability
        self.columns, self.signatures, self.levels = list(columns), signatures, levels
        self._signatures = th.tensor(np.asarray(signatures, np.float32).reshape(len(levels), len(self.columns)))
        heads = ChoiceHeads(levels)
        self.action_dist = self._entries = MixedDistribution(heads)
        self.choice_net = nn.Linear(self.mlp_extractor.latent_dim_pi, heads.size) if heads.size else None
        if self.ortho_init and self.choice_net is not None:
            self.init_weights(self.choice_net, gain=0.01)
            with th.no_grad():
                self.choice_net.bias.add_(_bias(heads, hold, hold_probability))
        self.register_buffer("temperature", th.ones(()))
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def forward(self, obs: Any, deterministic: bool = False) -> Any:
        """Actions (n, W), values (n, 1) and log-probabilities (n)."""
        self._read(obs)
        return super().forward(obs, deterministic)

    def evaluate_actions(self, obs: Any, actions: th.Tensor) -> Any:
        """Values (n, 1), log-probabilities (n) and entropy (n)."""
        self._read(obs)
        return super().evaluate_actions(obs, actions)

    def get_distribution(self, obs: Any) -> Any:
        """The distribution of the action."""
        self._read(obs)
        return super().get_distribution(obs)

    def imitation_loss(
        self, observations: th.Tensor, targets: th.Tensor, used: th.Tensor, masks: th.Tensor | None
    ) -> th.Tensor:
        """See Imitates; a Box has no masks."""
        distribution: Any = self.get_distribution(observations)
        loss: th.Tensor = (distribution.distance_of_entries(targets) * used).sum(dim=1).mean()
        return loss

    def _read(self, obs: th.Tensor) -> None:
        """Keep the pattern of each row: the one whose signature is nearest."""
        seen = obs[:, self.columns].float()
        self._pattern = (seen[:, None] - self._signatures).square().sum(-1).argmin(-1)

    def _get_action_dist_from_latent(self, latent_pi: th.Tensor) -> MixedDistribution:
        logits = None if self.choice_net is None else self.choice_net(latent_pi)
        return self._entries.proba_distribution(
            self.action_net(latent_pi), self.log_std, logits, self._pattern, self.temperature
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), **self._given}


def _bias(heads: ChoiceHeads, hold: Sequence[Sequence[int]], probability: float) -> th.Tensor:
    """(size) what gives each head's position of an uncontrolled device this probability, where agents agree on it."""
    bias, start = th.zeros(heads.size), 0
    for h, (column, count) in enumerate(zip(heads.column, heads.count, strict=True)):
        there = {row[column] for row, active in zip(hold, heads.active[:, h], strict=True) if active} if hold else set()
        if count > 1 and len(there) == 1 and NONE not in there:
            bias[start + there.pop()] = float(np.log(probability * (count - 1) / (1 - probability)))
        start += count
    return bias

"""MixedDistribution: numbers from Gaussians beside choices from categorical distributions, as rows of a Box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.distributions import Distribution
from torch import nn
from torch.distributions import Categorical, Normal

_NEVER = -1e9  # logit of a position that there is not
_CHOICE = 0.3  # weight of cross entropies beside squared errors, so that numbers are learned in the same time


class ChoiceHeads:
    """The categorical heads of some patterns of entries: one for each column and number of positions in it.

    A position k of n stands in the action as the number 2 k / (n - 1) - 1, which is what a device takes it for.

    Args:
        levels: (P, W) number of positions of each entry; 0 of a number, -1 of padding.

    Attributes:
        column, count: (H) column of each head, and its number of positions.
        size: number of logits of all heads.
        active: (P, H) 1 where a pattern has the head's entry.
        number, used: (P, W) 1 where an entry is a number; and where it is no padding.
        to_column: (H, W) 1 in each head's column.
        exists: (H, L) True where a head has a position.
        values: (H, L) what stands for it in the action.
    """

    def __init__(self, levels: Sequence[Sequence[int]]) -> None:
        table = np.asarray(levels, np.int64)
        pairs = sorted({(w, int(n)) for row in table for w, n in enumerate(row) if n > 0})
        self.column, self.count = [w for w, _ in pairs], [n for _, n in pairs]
        self.size = sum(self.count)
        self.number, self.used = th.tensor(table == 0).float(), th.tensor(table >= 0).float()
        self.active = th.tensor(table[:, self.column] == np.array(self.count, np.int64)).float()
        self.to_column = th.zeros(len(pairs), table.shape[1])
        self.exists = th.zeros(len(pairs), max(self.count, default=0), dtype=th.bool)
        self.values = th.zeros(self.exists.shape)
        for h, (w, n) in enumerate(pairs):
            self.to_column[h, w] = 1.0
            self.exists[h, :n] = True
            self.values[h, :n] = th.linspace(-1, 1, n) if n > 1 else 0.0
        self.last = th.tensor(self.count).float() - 1

    def positions(self, actions: th.Tensor) -> th.Tensor:
        """(n, H) the position of each head in actions (n, W), the nearest to the number that stands there."""
        share = (actions[:, self.column].clamp(-1, 1) + 1) / 2
        return th.round(share * self.last).long()


class MixedDistribution(Distribution):
    """Independent entries, each a Gaussian or a categorical choice, or padding, which counts for nothing.

    Args:
        heads: of the choices.

    Attributes:
        numbers: (n, W) the Gaussians.
        choices: (n, H) the categorical distributions; None without choices.
        used: (n, W) 1 where an entry is no padding.
    """

    numbers: Normal
    choices: Categorical | None
    used: th.Tensor

    def __init__(self, heads: ChoiceHeads) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.heads = heads

    def proba_distribution_net(self, latent_dim: int) -> Any:
        """Layers of the means and of the logits."""
        return nn.Linear(latent_dim, self.heads.used.shape[1]), nn.Linear(latent_dim, self.heads.size)

    def proba_distribution(
        self,
        mean: th.Tensor,
        log_std: th.Tensor,
        logits: th.Tensor | None,
        pattern: th.Tensor,
        temperature: th.Tensor,
    ) -> MixedDistribution:
        """Set the parameters.

        Args:
            mean: (n, W).
            log_std: (W).
            logits: (n, size) of all heads, one after the other; None if there are none.
            pattern: (n) of the entries.
            temperature: () what logits are divided by.
        """
        heads = self.heads
        self.numbers = Normal(mean, log_std.exp().expand_as(mean), validate_args=False)
        self.used, self._is_number, self._is_active = (
            table[pattern] for table in (heads.used, heads.number, heads.active)
        )
        self.choices = None
        if logits is not None:
            padded = logits.new_full((len(logits), *heads.exists.shape), _NEVER)
            padded[:, heads.exists] = logits / temperature
            self.choices = Categorical(logits=padded, validate_args=False)
        return self

    def log_prob_of_entries(self, actions: th.Tensor) -> th.Tensor:
        """(n, W) of each entry; 0 of padding."""
        found = self.numbers.log_prob(actions) * self._is_number
        if self.choices is None:
            return found
        return found + (self.choices.log_prob(self.heads.positions(actions)) * self._is_active) @ self.heads.to_column

    def distance_of_entries(self, targets: th.Tensor) -> th.Tensor:
        """(n, W) how far each entry is from a target: squared error of a number, weighted cross entropy of a choice."""
        found = (self.numbers.mean - targets).square() * self._is_number
        if self.choices is None:
            return found
        missed = -self.choices.log_prob(self.heads.positions(targets)) * self._is_active
        return found + _CHOICE * missed @ self.heads.to_column

    def entropy_of_entries(self) -> th.Tensor:
        """(n, W) of each entry; 0 of padding."""
        found = self.numbers.entropy() * self._is_number
        if self.choices is None:
            return found
        return found + (self.choices.entropy() * self._is_active) @ self.heads.to_column

    def log_prob(self, actions: th.Tensor) -> th.Tensor:
        """(n) of whole actions."""
        return self.log_prob_of_entries(actions).sum(dim=1)

    def entropy(self) -> th.Tensor:
        """(n) of whole actions."""
        return self.entropy_of_entries().sum(dim=1)

    def sample(self) -> th.Tensor:
        """(n, W) an action of each; 0 in padding."""
        return self._joined(self.numbers.rsample(), None if self.choices is None else self.choices.sample())

    def mode(self) -> th.Tensor:
        """(n, W) means, and the likeliest positions."""
        return self._joined(self.numbers.mean, None if self.choices is None else self.choices.logits.argmax(-1))

    def _joined(self, numbers: th.Tensor, positions: th.Tensor | None) -> th.Tensor:
        found = numbers * self._is_number
        if positions is None:
            return found
        values = self.heads.values[th.arange(len(self.heads.count)), positions]
        return found + (values * self._is_active) @ self.heads.to_column

    def actions_from_params(self, *given: Any, deterministic: bool = False) -> th.Tensor:
        """Actions for these parameters."""
        return self.proba_distribution(*given).get_actions(deterministic)

    def log_prob_from_params(self, *given: Any) -> tuple[th.Tensor, th.Tensor]:
        """Actions for these parameters, and their log-probabilities."""
        actions = self.actions_from_params(*given)
        return actions, self.log_prob(actions)

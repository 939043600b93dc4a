"""The loss of imitation: how far a policy's actions are from those of a teacher."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch as th
from stable_baselines3.common.distributions import (
    CategoricalDistribution,
    DiagGaussianDistribution,
    MultiCategoricalDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy


@runtime_checkable
class Imitates(Protocol):
    """A policy with a loss of its own, for distributions that ``imitation_loss`` does not know."""

    def imitation_loss(
        self, observations: th.Tensor, targets: th.Tensor, used: th.Tensor, masks: th.Tensor | None
    ) -> th.Tensor:
        """The mean loss; arguments as of the function ``imitation_loss``."""


def imitation_loss(
    policy: Any, observations: th.Tensor, targets: th.Tensor, used: th.Tensor, masks: th.Tensor | None = None
) -> th.Tensor:
    """The mean over observations of the sum over used entries: squared error of a number, cross entropy of a choice.

    Args:
        policy: see ``check_imitates``.
        observations: (n, ...).
        targets: (n, W) actions to imitate, each as one row: numbers, or numbers of choices.
        used: (n, W) 1 for entries that count, else 0.
        masks: (n, choices) allowed choices; None without masks.
    """
    if isinstance(policy, Imitates):
        return policy.imitation_loss(observations, targets, used, masks)
    asked: Any = policy.get_distribution
    distribution = asked(observations) if masks is None else asked(observations, action_masks=masks)
    if isinstance(distribution, DiagGaussianDistribution):
        losses = (distribution.distribution.mean - targets) ** 2
    else:
        choices = [part.log_prob(own) for part, own in zip(_parts(distribution), targets.long().T, strict=True)]
        losses = -th.stack(choices, dim=1)
    return (losses * used).sum(dim=1).mean()


def check_imitates(policy: Any) -> None:
    """Check that a policy has a loss of imitation.

    Raises:
        ValueError: its actions have a distribution without one.
    """
    known = (DiagGaussianDistribution, CategoricalDistribution, MultiCategoricalDistribution, *_masked())
    plain = isinstance(policy, ActorCriticPolicy) or hasattr(policy, "get_distribution")
    if not (isinstance(policy, Imitates) or (plain and isinstance(getattr(policy, "action_dist", None), known))):
        raise ValueError(
            f"a {type(policy).__name__} cannot imitate a teacher: it needs a method imitation_loss, or actions "
            "that are Gaussian or categorical; remove 'teacher' from the training settings"
        )


def actor_parameters(policy: Any) -> list[th.nn.Parameter]:
    """The parameters of a policy that decide its actions: all but those of the value function."""
    return [one for name, one in policy.named_parameters() if not _of_critic(name)]


def critic_parameters(policy: Any) -> list[th.nn.Parameter]:
    """The parameters of a policy's value function."""
    return [one for name, one in policy.named_parameters() if _of_critic(name)]


def hold_actor(model: Any, rollouts: int) -> None:
    """Let only the value function of a PPO model learn in its first rollouts; to be called before each.

    Its advantages are noise until it fits the policy, and would lead a policy that has imitated a teacher astray.

    Args:
        model: whose ``num_timesteps`` say how many rollouts there were.
        rollouts: number of those in which the actor is held.
    """
    held = model.num_timesteps < rollouts * model.n_steps * model.n_envs
    for one in actor_parameters(model.policy):
        one.requires_grad_(not held)


def _of_critic(name: str) -> bool:
    return "value_net" in name or name.startswith("vf_") or "critic" in name


def _parts(distribution: Any) -> list[Any]:
    """The categorical distributions of SB3's and sb3_contrib's classes, one for each choice."""
    if hasattr(distribution, "distributions"):
        return list(distribution.distributions)
    inner = distribution.distribution
    return inner if isinstance(inner, list) else [inner]


def _masked() -> tuple[type, ...]:
    try:
        from sb3_contrib.common.maskable.distributions import (
            MaskableCategoricalDistribution,
            MaskableMultiCategoricalDistribution,
        )
    except ImportError:
        return ()
    return (MaskableCategoricalDistribution, MaskableMultiCategoricalDistribution)

"""Rollouts with what PPO alone does not need: entries of actions, slopes of the reward, and states of the copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from dss_marl.integrations.sb3.mixed_distribution import MixedDistribution
from dss_marl.integrations.sb3.padded_policy import MaskedGaussian
from dss_marl.integrations.vector import Watched

_FIELDS = ("observations", "actions", "advantages", "returns", "values")


class EntryTerms(NamedTuple):
    """A policy's view of some actions, entry by entry; a space other than a Box counts as one entry.

    Attributes:
        values: (n) of the policy's own critic.
        log_prob, entropy: (n, W).
        used: (n, W) 1 where an entry is no padding.
        mean: (n, W) of the Gaussians; (n, 1) zeros where there are none.
    """

    values: th.Tensor
    log_prob: th.Tensor
    entropy: th.Tensor
    used: th.Tensor
    mean: th.Tensor


def entry_terms(policy: Any, observations: th.Tensor, actions: th.Tensor) -> EntryTerms:
    """The terms of an actor-critic policy of SB3, of one that masks padding, or of MixedPolicy."""
    if isinstance(policy.action_space, spaces.Discrete):
        actions = actions.long().flatten()
    values, log_prob, entropy = policy.evaluate_actions(observations, actions)
    found = policy.action_dist  # which the policy has just set to that of these observations
    if isinstance(found, MixedDistribution):
        terms = found.log_prob_of_entries(actions), found.entropy_of_entries(), found.used, found.numbers.mean
    elif isinstance(found, DiagGaussianDistribution):
        own = found.distribution
        used = found.used if isinstance(found, MaskedGaussian) else th.ones_like(actions)
        terms = own.log_prob(actions) * used, own.entropy() * used, used, own.mean
    else:
        one = log_prob[:, None]
        terms = one, entropy[:, None], th.ones_like(one), th.zeros_like(one)
    return EntryTerms(values.flatten(), *terms)


class WatchedBuffer(RolloutBuffer):
    """SB3's buffer, with the states before each step and the slopes of the actions that were played in it.

    Attributes:
        states: per step, (copies, S); empty where nobody asks for them.
        slopes: per step, (rows, W); likewise.
        value_states: (copies, S) -> (rows,) values; None leaves those of the policy.
        last_states: (copies, S) after the last step.
    """

    states: list[np.ndarray]
    slopes: list[np.ndarray]
    value_states: Callable[[np.ndarray], np.ndarray] | None = None
    last_states: np.ndarray

    def reset(self) -> None:
        """Empty the buffer."""
        super().reset()
        self.states, self.slopes = [], []

    def compute_returns_and_advantage(self, last_values: th.Tensor, dones: np.ndarray) -> None:
        """As SB3, with values of the states where there are any."""
        if self.value_states is not None:
            self.values = np.stack([self.value_states(states) for states in self.states])
            last_values = th.as_tensor(self.value_states(self.last_states))
        super().compute_returns_and_advantage(last_values, dones)

    def flattened(self) -> dict[str, th.Tensor]:
        """What SB3 collects, (n, ...) with row after row."""
        return {name: self.to_torch(self.swap_and_flatten(getattr(self, name))) for name in _FIELDS}


class WatchedSteps(VecEnvWrapper):
    """Rows that hand what is kept of each step over to the buffer of a model, and the values of ends to the rewards.

    SB3 values the last observations of cut episodes one by one, and by the policy's own critic.

    Args:
        venv: rows.
        model: ZonePPO.
    """

    def __init__(self, venv: VecEnv, model: Any) -> None:
        super().__init__(venv)
        self._model, self._buffer = model, model.rollout_buffer
        self._states = self._watched().states

    def reset(self) -> Any:
        """Start an episode in all copies."""
        observations = self.venv.reset()
        self._states = self._watched().states
        return observations

    def step_wait(self) -> Any:
        """As of the rows, with the rewards of cut rows raised by what was to come."""
        observations, rewards, dones, infos = self.venv.step_wait()
        kept = self._watched()
        if self._states is not None:
            self._buffer.states.append(self._states)
            self._buffer.last_states = self._states = kept.states
        if kept.slopes is not None:
            self._buffer.slopes.append(kept.slopes.astype(np.float32))
        cut = [row for row in np.flatnonzero(dones).tolist() if infos[row].get("TimeLimit.truncated")]
        if cut:
            rewards = np.array(rewards)
            last = np.stack([infos[row]["terminal_observation"] for row in cut])
            rewards[cut] += self._model.gamma * self._model.end_values(cut, last, kept.final_states)
            for row in cut:
                infos[row]["TimeLimit.truncated"] = False
        return observations, rewards, dones, infos

    def _watched(self) -> Watched:
        return self.venv.watched() if self._model.watches else Watched()  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Rollout:
    """Samples of an update; n rows of single steps.

    Attributes:
        observations, actions, advantages, returns: (n, ...) as SB3's.
        log_prob: (n, W) of the entries when they were drawn.
        free: (n, W) 1 where PPO learns an entry; 0 in padding, and where slopes guide it.
        guided: (n, W) 1 where slopes guide an entry.
        target: (n, W) where the slopes lead its mean to.
        state: (n) the row of ``states``; agent: (n) the value of that state.
        states: (m, S) of the copies; all minibatches share them.
    """

    observations: th.Tensor
    actions: th.Tensor
    advantages: th.Tensor
    returns: th.Tensor
    log_prob: th.Tensor
    free: th.Tensor
    guided: th.Tensor
    target: th.Tensor
    state: th.Tensor
    agent: th.Tensor
    states: th.Tensor

    def __len__(self) -> int:
        return len(self.observations)

    def taken(self, rows: Any) -> Rollout:
        """Some rows."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        return Rollout(**{name: part if name == "states" else part[rows] for name, part in parts.items()})


def slope_targets(mean: th.Tensor, slopes: th.Tensor, guided: th.Tensor, step: float, clip: float) -> th.Tensor:
    """(n, W) where slopes lead the means to, within the range of an action.

    Args:
        mean: (n, W) of the Gaussians that acted.
        slopes: (n, W) of the reward.
        guided: (n, W) 1 where they count.
        step, clip: see SlopeSettings.
    """
    sizes = slopes.abs()[(guided > 0) & (slopes != 0)]
    scale = sizes.median() if sizes.numel() else th.ones(())
    moved = mean + step * (slopes / scale).clamp(-clip, clip)
    return moved.clamp(-1, 1)  # beyond the range a mean changes nothing, and would have to come all the way back

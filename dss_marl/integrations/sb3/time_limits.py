"""Values of states where the time limit cut an episode, for all rows at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper


class ValuedTimeLimits(VecEnvWrapper):
    """Adds the discounted value of the last observation to the last reward of each row that a time limit cut.

    SB3's on-policy algorithms do so themselves, with one call of the network for each row, which many short calls make
    slow where some copies end at every step. They leave it to this wrapper, as it takes the flag out of the infos.

    A model with the attribute ``values_ends``, such as ZonePPO, does so for all rows at once too, and is left to it.

    Attributes:
        model: whose value network and discount factor count; to be set before the first step.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.model: Any = None

    def reset(self) -> Any:
        """Start an episode in all copies."""
        return self.venv.reset()

    def step_wait(self) -> Any:
        """As of the copies, with the rewards of cut rows raised by what was to come."""
        observations, rewards, dones, infos = self.venv.step_wait()
        if getattr(self.model, "values_ends", False):
            return observations, rewards, dones, infos
        cut = [row for row in np.flatnonzero(dones).tolist() if infos[row].get("TimeLimit.truncated")]
        if cut:
            rewards = np.array(rewards)
            rewards[cut] += self.model.gamma * self._values(np.stack([infos[r]["terminal_observation"] for r in cut]))
            for row in cut:
                infos[row]["TimeLimit.truncated"] = False
        return observations, rewards, dones, infos

    def _values(self, last: np.ndarray) -> np.ndarray:
        import torch

        policy = self.model.policy
        with torch.no_grad():
            values: np.ndarray = policy.predict_values(policy.obs_to_tensor(last)[0]).numpy().ravel()
        return values

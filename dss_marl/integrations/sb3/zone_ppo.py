"""ZonePPO: PPO for agents of one grid, with ratios per entry, a critic on the state, and slopes of the reward."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch as th
from stable_baselines3 import PPO
from stable_baselines3.common.utils import explained_variance
from torch import nn
from torch.nn import functional

from dss_marl.envs.training_settings import SlopeSettings
from dss_marl.integrations.sb3.rollouts import Rollout, WatchedBuffer, WatchedSteps, entry_terms, slope_targets
from dss_marl.integrations.vector import Watch


class CentralCritic(nn.Module):
    """Values of the state of all zones.

    Args:
        size: of a state.
        values: number of values of a state: one for all agents, or one for each if their rewards differ.
        net_arch: units of each hidden layer.
    """

    def __init__(self, size: int, values: int, net_arch: Sequence[int]) -> None:
        super().__init__()
        widths = [size, *net_arch]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [_orthogonal(nn.Linear(before, after), 2**0.5), nn.Tanh()]
        self.net = nn.Sequential(*layers, _orthogonal(nn.Linear(widths[-1], values), 1.0))

    def forward(self, states: th.Tensor) -> th.Tensor:
        """(n, values) of states (n, S)."""
        found: th.Tensor = self.net(states)
        return found


class ZonePPO(PPO):
    """PPO with options for agents that share a policy and a grid; without any of them it learns what SB3's does.

    Args:
        policy, env, options: as of SB3's PPO; ``critic`` and ``slope`` need rows of ``to_sb3`` or of a PerKindGame.
        ratio: clip the probability ratio of whole actions, or that of each entry: of many entries drawn at once, one
            that moved far then does not stop the others from learning.
        critic: "local" values the agent's observation; "central" the state of all zones, as MAPPO does.
        values: number of values of a state, see CentralCritic.
        slope: learn numbers from the slope of the reward; None: by PPO like all others.
        guided: (A, W) True for the numbers that learn so, see ``guided_entries``.
        log_std_final: log of the standard deviation at the end, reached linearly; None: it is learned.
        temperature_final: MixedPolicy's temperature at the end, reached geometrically; None: it stays.

    Attributes:
        central: the central critic; None if it is local.
        values_ends: True: it values the ends of episodes itself.
    """

    values_ends = True
    rollout_buffer: WatchedBuffer

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        ratio: Literal["joint", "per_entry"] = "joint",
        critic: Literal["local", "central"] = "local",
        values: int = 1,
        slope: SlopeSettings | None = None,
        guided: Any = None,
        log_std_final: float | None = None,
        temperature_final: float | None = None,
        _init_setup_model: bool = True,
        **options: Any,
    ) -> None:
        if options.get("clip_range_vf") is not None:
            raise ValueError("ZonePPO does not clip values; leave clip_range_vf out")
        super().__init__(policy, env, rollout_buffer_class=WatchedBuffer, _init_setup_model=False, **options)
        self.ratio, self.critic, self.values, self.slope = ratio, critic, values, slope
        self.guided = None if guided is None else np.asarray(guided, bool)
        self.log_std_final, self.temperature_final = log_std_final, temperature_final
        self.state_size = 0
        self.central: CentralCritic | None = None
        if _init_setup_model:
            self._setup_model()

    @property
    def watches(self) -> bool:
        """Whether it needs more of a step than SB3 hands over."""
        return self.critic == "central" or self.slope is not None

    def _setup_model(self) -> None:
        super()._setup_model()
        self._begin_watching()
        if self.critic == "central":
            arch = self.policy.net_arch if isinstance(self.policy.net_arch, list) else self.policy.net_arch["vf"]
            self.central = CentralCritic(self.state_size, self.values, arch).to(self.device)
            self.policy.optimizer.add_param_group({"params": list(self.central.parameters())})
        if self.log_std_final is not None:
            self.policy.log_std.requires_grad_(False)

    def _begin_watching(self) -> None:
        if self.env is None or not self.watches:
            return
        central, slope = self.critic == "central", self.slope
        rows: Any = self.env  # of to_sb3, or a view of a PerKindGame
        rows.watch(Watch(central, slope is not None, 0.0 if slope is None else slope.margin_pu))
        if central and not self.state_size:
            self.state_size = self.env.get_attr("state_space", indices=0)[0].shape[0]

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """See SB3's."""
        super().set_env(env, force_reset)
        self._begin_watching()

    # --- rollouts ----------------------------------------------------------------------------------------------------

    def collect_rollouts(self, env: Any, callback: Any, rollout_buffer: Any, n_rollout_steps: int) -> bool:
        """See SB3's; exploration is that of the present moment of training."""
        self._sharpen()
        if self.central is not None:
            rollout_buffer.value_states = self._row_values
        return super().collect_rollouts(WatchedSteps(env, self), callback, rollout_buffer, n_rollout_steps)

    def _sharpen(self) -> None:
        """Set the noise of numbers and the temperature of choices, where they follow a schedule."""
        left = getattr(self.learning_rate, "left", None)  # of the whole training, where many calls of learn are one
        past = 1.0 - (self._current_progress_remaining if left is None else left)
        policy: Any = self.policy
        if self.log_std_final is not None:
            first = policy.log_std_init
            policy.log_std.data.fill_(first + (self.log_std_final - first) * past)
        if self.temperature_final is not None:
            policy.temperature.fill_(self.temperature_final**past)

    def _row_values(self, states: np.ndarray) -> np.ndarray:
        """(rows,) values of the states (copies, S)."""
        assert self.central is not None
        with th.no_grad():
            found: np.ndarray = self.central(th.as_tensor(states, device=self.device)).cpu().numpy()
        return found[self.env.row_copy, self._value_of(self.env.row_agent)]  # type: ignore[union-attr]

    def _value_of(self, agent: np.ndarray) -> np.ndarray:
        """(n) which of a state's values is an agent's."""
        return agent if self.values > 1 else np.zeros_like(agent)

    def end_values(self, rows: Sequence[int], last: np.ndarray, states: np.ndarray | None) -> np.ndarray:
        """(n) values of the last observations (n, ...) of some rows; of the states (copies, S) if the critic is."""
        if self.central is not None:
            assert states is not None
            return self._row_values(states)[list(rows)]
        with th.no_grad():
            found: np.ndarray = self.policy.predict_values(self.policy.obs_to_tensor(last)[0]).cpu().numpy().ravel()
        return found

    # --- updates -----------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Update the policy from the rollout."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        rollout, figures = self._rollout(), defaultdict[str, list[float]](list)
        for _ in range(self.n_epochs):
            order = np.random.permutation(len(rollout))  # noqa: NPY002  # the stream that SB3 seeds
            kl = 0.0
            for start in range(0, len(rollout), self.batch_size):
                kl = self._update(rollout.taken(order[start : start + self.batch_size]), figures)
                if self._too_far(kl):
                    break
            self._n_updates += 1
            if self._too_far(kl):
                break
        for name, values in figures.items():
            self.logger.record(f"train/{name}", np.mean(values))
        buffer = self.rollout_buffer
        self.logger.record(
            "train/explained_variance", explained_variance(buffer.values.ravel(), buffer.returns.ravel())
        )
        policy: Any = self.policy
        if hasattr(policy, "log_std"):
            self.logger.record("train/std", policy.log_std.exp().mean().item())
        if hasattr(policy, "temperature"):
            self.logger.record("train/temperature", policy.temperature.item())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _too_far(self, kl: float) -> bool:
        return self.target_kl is not None and kl > 1.5 * self.target_kl

    def _rollout(self) -> Rollout:
        """What was collected, with the policy's view of it before the update."""
        buffer = self.rollout_buffer
        rows = buffer.flattened()
        steps, n_rows = buffer.buffer_size, buffer.n_envs
        with th.no_grad():
            old = entry_terms(self.policy, rows["observations"], rows["actions"])
        guided, target = th.zeros_like(old.log_prob), th.zeros_like(old.log_prob)
        if self.slope is not None and self.guided is not None:
            mine = np.repeat(self.guided[self.env.row_agent], steps, axis=0)  # type: ignore[union-attr]
            guided = th.as_tensor(mine, dtype=th.float32, device=self.device)
            slopes = buffer.to_torch(buffer.swap_and_flatten(np.stack(buffer.slopes)))
            guided = guided * (slopes != 0)  # without a slope, such as where a device starts, PPO is what there is
            target = slope_targets(old.mean, slopes, guided, self.slope.step, self.slope.clip)
        state = agent = th.zeros(steps * n_rows, dtype=th.long)
        states = th.zeros(0)
        if self.central is not None:
            copy, own = self.env.row_copy, self._value_of(self.env.row_agent)  # type: ignore[union-attr]
            state = th.as_tensor(np.add.outer(copy * steps, np.arange(steps)).ravel())
            agent = th.as_tensor(np.repeat(own, steps))
            states = buffer.to_torch(buffer.swap_and_flatten(np.stack(buffer.states)))
        one_each = {name: rows[name].flatten() for name in ("advantages", "returns")}
        free = old.used * (1 - guided)
        return Rollout(
            rows["observations"],
            rows["actions"],
            **one_each,
            log_prob=old.log_prob,
            free=free,
            guided=guided,
            target=target,
            state=state,
            agent=agent,
            states=states,
        )

    def _update(self, batch: Rollout, figures: dict[str, list[float]]) -> float:
        """A gradient step; returns the divergence from the policy that acted."""
        now = entry_terms(self.policy, batch.observations, batch.actions)
        advantages = batch.advantages
        if self.normalize_advantage and len(batch) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        log_ratio = (now.log_prob - batch.log_prob) * batch.free
        clip_range: float = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        surrogate = clipped_surrogate(log_ratio, batch.free, advantages, clip_range, self.ratio)
        values = now.values
        if self.central is not None:
            values = self.central(batch.states[batch.state]).gather(1, batch.agent[:, None]).flatten()
        value_loss = functional.mse_loss(batch.returns, values)
        entropy = (now.entropy * batch.free).sum(1).mean()
        loss = surrogate - self.ent_coef * entropy + self.vf_coef * value_loss
        if self.slope is not None:
            guidance = slope_loss(now.mean, batch.target, batch.guided, self.slope.step)
            figures["slope_loss"].append(guidance.item())
            loss = loss + self.slope.weight * guidance
        kl = _divergence(log_ratio)
        if not self._too_far(kl):
            self._descend(loss)
        for name, value in (("policy_gradient_loss", surrogate), ("value_loss", value_loss), ("loss", loss)):
            figures[name].append(value.item())
        figures["entropy_loss"].append(-entropy.item())
        figures["approx_kl"].append(kl)
        return kl

    def _descend(self, loss: th.Tensor) -> None:
        self.policy.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        if self.central is not None:
            nn.utils.clip_grad_norm_(self.central.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()

    # --- files -------------------------------------------------------------------------------------------------------

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        parts, others = super()._get_torch_save_params()
        return ([*parts, "central"] if self.critic == "central" else parts), others

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "central"]


def clipped_surrogate(
    log_ratio: th.Tensor, free: th.Tensor, advantages: th.Tensor, clip_range: float, ratio: str
) -> th.Tensor:
    """() PPO's loss, the mean over rows.

    Args:
        log_ratio: (n, W) of the probabilities of entries now and when they were drawn; 0 where they do not count.
        free: (n, W) 1 where they count.
        advantages: (n).
        clip_range: of ratios around 1.
        ratio: "joint", of whole actions; "per_entry", the sum over entries that are clipped one by one.
    """
    if ratio == "joint":
        log_ratio, free = log_ratio.sum(1, keepdim=True), th.ones_like(log_ratio[:, :1])
    ratios, gain = log_ratio.exp(), advantages[:, None]
    least = th.min(gain * ratios, gain * ratios.clamp(1 - clip_range, 1 + clip_range))
    return -(least * free).sum(1).mean()


def slope_loss(mean: th.Tensor, target: th.Tensor, guided: th.Tensor, step: float) -> th.Tensor:
    """() squared distance of means from their targets over twice the step, so that its slope is that of the reward."""
    return ((mean - target).square() * guided).sum(1).mean() / (2 * step)


def _divergence(log_ratio: th.Tensor) -> float:
    with th.no_grad():
        whole = log_ratio.sum(1)
        return float((whole.exp() - 1 - whole).mean())


def _orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer

"""CentralEnv: the same task for one agent that moves every device, as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from dss_marl.envs.flattening import split
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.zone_env import EnvRenderer, ZoneEnv
from dss_marl.mdp.actions import BoxEncoding, MultiDiscreteEncoding, encoding_kind
from dss_marl.mdp.rewards import Term
from dss_marl.zones import over_zones

_NOT_SUMMED = ("failed", "day", "TimeLimit.truncated")  # alike for all agents


class CentralEnv(gymnasium.Env):
    """All agents of a scenario as one.

    It sees ``ZoneEnv.state()``: what all zones would see if they measured perfectly. Its action is all agents' actions
    one after the other without padding: a Box, or a MultiDiscrete with ``action_masks`` as sb3_contrib's MaskablePPO
    asks for them. It is paid what the team is paid, however the scenario shares that.

    Infos hold numbers under the same keys in ``reset`` and ``step``: those of ZoneEnv, reward terms and costs summed
    over zones and counts over agents; and ``action_mask`` (choices,) bool where actions are choices.

    Args:
        scenario: the task as data.
        split: where days come from.
        render_mode, renderer: see ZoneEnv.

    Attributes:
        env: the environment of many agents inside.
    """

    metadata: dict[str, Any] = ZoneEnv.metadata

    def __init__(
        self,
        scenario: Scenario,
        split: str = "train",
        render_mode: str | None = None,
        renderer: EnvRenderer | None = None,
    ) -> None:
        if not issubclass(encoding_kind(scenario.actions), BoxEncoding | MultiDiscreteEncoding):
            raise ValueError(
                f"scenario {scenario.name!r} has actions {scenario.actions!r}, which are no one array; "
                "for one agent use actions='box' or 'multidiscrete'"
            )
        self.env = ZoneEnv(scenario.replace(reward_sharing="team"), split, render_mode=render_mode, renderer=renderer)
        task = self.env.task
        self.render_mode = render_mode
        self._used = task.agents.action_layout.used  # (A, W)
        self._counts = task.encoding.counts[
            task.agents.action_layout.place[self._used]
        ]  # levels of each entry, 0: a number
        self.observation_space = self.env.state_space
        self.action_space: spaces.Space[Any] = (
            spaces.MultiDiscrete(self._counts)
            if task.encoding.discrete
            else spaces.Box(-1.0, 1.0, self._counts.shape, np.float32)
        )
        zones = task.agents.zone.tolist()
        self._one_per_zone = [self.env.possible_agents[zones.index(z)] for z in sorted(set(zones))]
        self._empty = [z for z in range(len(task.zones)) if z not in zones]  # zones that no agent looks at
        self._mask: NDArray[np.bool_] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start a day; seed and options as for ZoneEnv."""
        super().reset(seed=seed)
        observations, infos = self.env.reset(seed=seed, options=options)
        return self.env.state(), self._info(observations, infos)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Operate one interval.

        Raises:
            ValueError: the action has a wrong shape, or holds NaN or no such choice.
        """
        observations, rewards, terminations, truncations, infos = self.env.step(self.actions(action))
        first = self.env.possible_agents[0]
        info = self._info(observations, infos)
        return self.env.state(), float(rewards[first]), terminations[first], truncations[first], info

    def actions(self, action: Any) -> dict[str, Any]:
        """The agents' actions that this one stands for; padded slots are neutral.

        Raises:
            ValueError: it has a wrong shape.
        """
        given = np.asarray(action)
        if given.shape != self._counts.shape:
            raise ValueError(f"the action has shape {given.shape}; it must be {self._counts.shape}, an entry a device")
        task = self.env.task
        neutral = task.encoding.encode(task.default_action)
        rows = np.array([neutral[agent] for agent in self.env.possible_agents])
        rows = rows.reshape(self._used.shape).astype(np.promote_types(rows.dtype, given.dtype))
        rows[self._used] = given
        shape = self.env.action_space(self.env.possible_agents[0]).shape
        return {agent: row.reshape(shape) for agent, row in zip(self.env.possible_agents, rows, strict=True)}

    def action_masks(self) -> NDArray[np.bool_]:
        """(choices,) what is allowed at present, entry after entry.

        Raises:
            AttributeError: actions are numbers.
            RuntimeError: before ``reset``.
        """
        if not self.env.task.encoding.discrete:
            raise AttributeError("actions are numbers, which have no masks; use actions='multidiscrete'")
        if self._mask is None:
            raise RuntimeError("action_masks needs an episode; call reset first")
        return self._mask

    def render(self) -> Any:
        """See ZoneEnv."""
        return self.env.render()

    def close(self) -> None:
        """Give the solver back."""
        self.env.close()

    def _info(self, observations: Mapping[str, Any], infos: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        agents = self.env.possible_agents
        info: dict[str, Any] = {}
        for key, value in infos[agents[0]].items():
            if key in _NOT_SUMMED:
                info[key] = value
            elif "/" in key:
                info[key] = sum(infos[agent][key] for agent in self._one_per_zone)
            else:
                info[key] = sum(infos[agent][key] for agent in agents)
        if self._empty and self.env.before is not None and not info["failed"]:
            for key, value in self._in_empty_zones().items():
                info[key] += value
        if self.env.task.encoding.discrete:
            self._mask = info["action_mask"] = self._allowed(observations)
        return info

    def _in_empty_zones(self) -> dict[str, float]:
        """Reward terms and costs of the zones that no agent reports."""
        task, before, after = self.env.task, self.env.before, self.env.after

        def there(term: Term) -> float:
            zone_terms = over_zones(term, task.zones, task.all_zones, before, after)  # or one value, the same in all
            return float(np.broadcast_to(zone_terms, len(task.zones))[self._empty].sum())

        terms = {f"reward/{name}": weight * there(term) for name, (weight, term) in task.rewards.items()}
        return terms | {f"cost/{name}": there(cost) for name, cost in task.costs.items()}

    def _allowed(self, observations: Mapping[str, Any]) -> NDArray[np.bool_]:
        """(choices,) of all agents' masks what belongs to a device."""
        pieces = []
        for a, agent in enumerate(self.env.possible_agents):
            mask = split(observations[agent])[1]
            parts = mask if isinstance(mask, tuple) else (mask,)
            pieces += [part for part, used in zip(parts, self._used[a], strict=True) if used]
        return np.concatenate([part[:n] for part, n in zip(pieces, self._counts, strict=True)]).astype(bool)

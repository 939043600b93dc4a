"""CentralEnv: the same task for one agent that controls every device, as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from dss_marl.engines.base import Engine
from dss_marl.envs.flattening import split_mask
from dss_marl.envs.rendering import EnvRenderer
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.mdp.actions import BoxEncoding, MultiDiscreteEncoding, encoding_kind
from dss_marl.mdp.rewards import Term
from dss_marl.zones import over_zones

_NOT_SUMMED = ("failed", "day", "TimeLimit.truncated")  # alike for all agents


class CentralEnv(gymnasium.Env):
    """All agents of a scenario as one.

    It observes ``ZoneEnv.state()``, the observations of all zones under perfect sensing. Its action joins all agents'
    actions without padding: a Box, or a MultiDiscrete with the ``action_masks`` of sb3_contrib's MaskablePPO. Its
    reward is the team reward, whatever the scenario's ``reward_sharing``.

    Infos hold numbers under the same keys in ``reset`` and ``step``: those of ZoneEnv, reward terms and costs summed
    over zones and counts over agents; and ``action_mask`` (choices,) bool where actions are choices.

    Args:
        scenario: the task as data.
        split: from which days are drawn.
        engine, render_mode, renderer: see ZoneEnv.

    Attributes:
        env: the underlying multi-agent environment.
    """

    metadata: dict[str, Any] = ZoneEnv.metadata

    def __init__(
        self,
        scenario: Scenario,
        split: str = "train",
        engine: Engine | str | None = None,
        render_mode: str | None = None,
        renderer: EnvRenderer | None = None,
    ) -> None:
        check_one_array(scenario)
        self.env = ZoneEnv(scenario.replace(reward_sharing="team"), split, engine, render_mode, renderer)
        task = self.env.task
        self.render_mode = render_mode
        self._used = task.agents.action_layout.used  # (A, W)
        self.observation_space = self.env.state_space
        self.action_space = joint_action_space(task)
        zones = task.agents.zone.tolist()
        self._one_per_zone = [self.env.possible_agents[zones.index(z)] for z in sorted(set(zones))]
        self._empty = [z for z in range(len(task.zones)) if z not in zones]  # zones that are no agent's view
        self._mask: NDArray[np.bool_] | None = None

    @property
    def task(self) -> Task:
        """The task, see Task."""
        return self.env.task

    def labels(self) -> dict[str, list[str]]:
        """Labels of the entries of ``observation`` and ``action``, after the zone's or agent's name; "-" is padding."""
        layout = self.task.agents.action_layout
        entries = [f"{layout.agents[a]}/{layout.labels[a][w]}" for a, w in np.argwhere(self._used)]
        return {"observation": self.env.state_labels(), "action": entries}

    def __str__(self) -> str:
        seen, moves = self.env.state_space.shape[0], int(self._used.sum())
        return f"{self.task}\ncentral       one agent for all: it observes {seen} numbers and sets {moves}"

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
        """The agents' actions that correspond to the central action; padded entries are neutral.

        Raises:
            ValueError: it has a wrong shape.
        """
        given = np.asarray(action)
        wanted = self.action_space.shape
        if given.shape != wanted:
            raise ValueError(f"the action has shape {given.shape}; it must be {wanted}, one per entry")
        task = self.env.task
        neutral = task.encoding.encode(task.default_action)
        rows = np.array([neutral[agent] for agent in self.env.possible_agents])
        rows = rows.reshape(self._used.shape).astype(np.promote_types(rows.dtype, given.dtype))
        rows[self._used] = given
        shape = self.env.action_space(self.env.possible_agents[0]).shape
        return {agent: row.reshape(shape) for agent, row in zip(self.env.possible_agents, rows, strict=True)}

    def action_masks(self) -> NDArray[np.bool_]:
        """(choices,) mask of the coming interval, entry by entry.

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
        """Close the engine."""
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
            self._mask = info["action_mask"] = joint_mask(self.env, observations)
        return info

    def _in_empty_zones(self) -> dict[str, float]:
        """Reward terms and costs of the zones that are no agent's view."""
        task, before, after = self.env.task, self.env.before, self.env.after

        def there(term: Term) -> float:
            zone_terms = over_zones(term, task.zones, task.all_zones, before, after)  # or one value, the same in all
            return float(np.broadcast_to(zone_terms, len(task.zones))[self._empty].sum())

        terms = {f"reward/{name}": weight * there(term) for name, (weight, term) in task.rewards.items()}
        return terms | {f"cost/{name}": there(cost) for name, cost in task.costs.items()}


def check_one_array(scenario: Scenario) -> None:
    """Check that the actions of all agents fit into one array.

    Raises:
        ValueError: they do not; names the encodings that do.
    """
    if not issubclass(encoding_kind(scenario.actions), BoxEncoding | MultiDiscreteEncoding):
        raise ValueError(
            f"scenario {scenario.name!r} has actions {scenario.actions!r}, which do not form one array; "
            "for one agent use actions='box' or 'multidiscrete'"
        )


def joint_action_space(task: Task) -> spaces.Space[Any]:
    """The space of all agents' actions one after the other without padding: a Box, or a MultiDiscrete."""
    layout = task.agents.action_layout
    counts = task.encoding.counts[layout.place[layout.used]]  # levels of each entry, 0: a number
    return spaces.MultiDiscrete(counts) if task.encoding.discrete else spaces.Box(-1.0, 1.0, counts.shape, np.float32)


def joint_mask(env: ZoneEnv, observations: Mapping[str, Any]) -> NDArray[np.bool_]:
    """(choices,) all agents' masks without the padding, entry by entry."""
    layout = env.task.agents.action_layout
    pieces = []
    for a, agent in enumerate(env.possible_agents):
        mask = split_mask(observations[agent])[1]
        parts = mask if isinstance(mask, tuple) else (mask,)
        counts = env.task.encoding.counts[layout.place[a]]
        pieces += [part[:n] for part, n, used in zip(parts, counts, layout.used[a], strict=True) if used]
    return np.concatenate(pieces).astype(bool)

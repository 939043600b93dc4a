"""Flattening: observations and actions as arrays, with action masks separate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv
from pettingzoo.utils import BaseParallelWrapper

ByAgent: TypeAlias = dict[str, Any]  # agent to its observation, action, reward, flag or info

_MASKS = ("action_mask", "choice_mask")


def split_mask(observation: Any) -> tuple[Any, Any]:
    """The observation without its mask, and the mask or None; also of an observation space."""
    if isinstance(observation, Mapping | spaces.Dict) and len(observation) == 2:
        keys = set(observation.keys())
        for mask in _MASKS:
            if keys == {"observation", mask}:
                return observation["observation"], observation[mask]
    return observation, None


def n_choices(space: spaces.Space[Any]) -> int:
    """Length of a mask: the number of choices of a Discrete or MultiDiscrete space; 0 for any other."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    return int(space.nvec.sum()) if isinstance(space, spaces.MultiDiscrete) else 0


def width(space: spaces.Space[Any]) -> int:
    """Number of values in an action of a Box, Discrete or MultiDiscrete space, or of a Dict or Tuple of them."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return sum(map(width, _parts(space)))
    return 1 if isinstance(space, spaces.Discrete) else int(np.prod(space.shape or ()))


def flatten_space(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """A Dict or Tuple of numbers as one Box, or of choices as one MultiDiscrete; any other space as it is."""
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        return space
    parts = [flatten_space(part) for part in _parts(space)]
    if all(isinstance(part, spaces.Box) for part in parts):
        low, high = (np.concatenate([np.ravel(getattr(part, end)) for part in parts]) for end in ("low", "high"))
        return spaces.Box(low, high, dtype=np.float32)
    if all(n_choices(part) for part in parts):
        return spaces.MultiDiscrete(
            np.concatenate([np.ravel(getattr(part, "nvec", n_choices(part))) for part in parts])
        )
    return space


def action_in(space: spaces.Space[Any], numbers: Any) -> Any:
    """The action of a space from its ``width(space)`` values, the inverse of flattening."""
    row = np.ravel(numbers)
    if isinstance(space, spaces.Discrete):
        return np.int64(row[0])
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = _parts(space)
        cut = np.split(row, np.cumsum([width(part) for part in parts])[:-1])
        own = [action_in(part, piece) for part, piece in zip(parts, cut, strict=True)]
        return dict(zip(space.keys(), own, strict=True)) if isinstance(space, spaces.Dict) else tuple(own)
    return row.reshape(space.shape).astype(space.dtype)


def action_row(space: spaces.Space[Any], action: Any) -> np.ndarray:
    """(``width(space)``) the values of an action, from which ``action_in`` makes it again."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        own = [action[key] for key in space] if isinstance(space, spaces.Dict) else action
        return np.concatenate([action_row(part, piece) for part, piece in zip(_parts(space), own, strict=True)])
    return np.ravel(action)


def random_rows(given: Sequence[spaces.Space[Any]], shape: tuple[int, ...]) -> np.ndarray:
    """(B, A, W) a random action of each copy and agent; see ``ActionRows``.

    Args:
        given: the agents' spaces.
        shape: (B, A, W).
    """
    numbers = [[action_row(space, space.sample()) for space in given] for _ in range(shape[0])]
    rows = np.zeros(shape, np.result_type(*(row for own in numbers for row in own)))
    for b, own in enumerate(numbers):
        for a, row in enumerate(own):
            rows[b, a, : len(row)] = row
    return rows


def flat_mask(space: spaces.Space[Any], mask: Any) -> NDArray[np.bool_]:
    """(choices,) bool: the masks of an action space's parts, concatenated as sb3_contrib expects them."""
    if isinstance(space, spaces.Dict | spaces.Tuple):  # in the space's order, which a dict of masks need not have
        own = [mask[key] for key in space] if isinstance(space, spaces.Dict) else mask
        return np.concatenate([flat_mask(part, piece) for part, piece in zip(_parts(space), own, strict=True)])
    return np.concatenate(mask).astype(bool) if isinstance(mask, tuple) else np.asarray(mask, dtype=bool)


class FlattenedEnv(BaseParallelWrapper):
    """An environment with arrays as observations and actions; ``masks`` returns the action masks.

    Observations {"observation", "action_mask"} become their first entry. Dict and Tuple actions become a Box if all
    their parts are numbers, or a MultiDiscrete if all are choices; mixed ones are unchanged.
    """

    def __init__(self, env: ParallelEnv) -> None:
        super().__init__(env)
        agents = env.possible_agents
        self.observation_spaces = {a: split_mask(env.observation_space(a))[0] for a in agents}
        self.action_spaces = {a: flatten_space(env.action_space(a)) for a in agents}
        self._nested = [a for a in agents if self.action_spaces[a] is not env.action_space(a)]
        given = [a for a in agents if split_mask(env.observation_space(a))[1] is not None]
        masked = {a: n_choices(self.action_spaces[a]) for a in given if n_choices(self.action_spaces[a])}
        self._masked = dict.fromkeys(masked)  # agent -> its latest mask
        self.mask_width = max(masked.values(), default=0)

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Space of the agent's observation, without the mask."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Space of the agent's action as an array."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[ByAgent, ByAgent]:
        """Reset the environment and keep its masks."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return self.see(observations), infos

    def step(self, actions: Mapping[str, Any]) -> tuple[ByAgent, ByAgent, ByAgent, ByAgent, ByAgent]:
        """Step the environment and keep its masks."""
        if self._nested:
            nested = {a: action_in(self.env.action_space(a), actions[a]) for a in self._nested if a in actions}
            actions = {**actions, **nested}
        observations, *rest = self.env.step(actions)
        return self.see(observations), *rest

    def masks(self) -> NDArray[np.bool_] | None:
        """(agents, choices) masks of the coming interval; None if no agent has one.

        Agents without a mask may choose anything; shorter rows are padded with False.
        """
        if not self._masked:
            return None
        rows = np.zeros((len(self.possible_agents), self.mask_width), dtype=bool)
        for row, agent in zip(rows, self.possible_agents, strict=True):
            mask = self._masked.get(agent)
            if mask is None:
                row[: n_choices(self.action_spaces[agent])] = True
            else:
                own = flat_mask(self.env.action_space(agent), mask)
                row[: len(own)] = own
        return rows

    def see(self, observations: Mapping[str, Any]) -> dict[str, Any]:
        """The observations without their masks, which are kept as the latest."""
        if not self._masked:
            return {agent: split_mask(observation)[0] for agent, observation in observations.items()}
        seen = {}
        for agent, observation in observations.items():
            seen[agent], mask = split_mask(observation)
            if agent in self._masked:
                self._masked[agent] = mask
        return seen


def flatten_env(env: ParallelEnv) -> tuple[ParallelEnv, FlattenedEnv]:
    """The environment with a FlattenedEnv around it unless one is inside already, and that FlattenedEnv."""
    inner: Any = env
    while inner is not None:
        if isinstance(inner, FlattenedEnv):
            return env, inner
        inner = vars(inner).get("env") or vars(inner).get("aec_env")  # SuperSuit sometimes converts to AEC and back
    outer = FlattenedEnv(env)
    return outer, outer


def _parts(space: spaces.Dict | spaces.Tuple[Any]) -> list[spaces.Space[Any]]:
    return list(space.values() if isinstance(space, spaces.Dict) else space.spaces)

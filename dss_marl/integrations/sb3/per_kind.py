"""One model per kind of agent: the rows of each kind as a VecEnv."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from dss_marl.engines import BatchEngine
from dss_marl.envs.flattening import n_choices, width
from dss_marl.integrations.sb3.vec_env import MASKS, to_sb3
from dss_marl.integrations.vector import EngineChoice, MakeEnv, UniformSpaces, Watch, Watched


def kind_by_name(agents: Sequence[str]) -> dict[str, str]:
    """The kind of each agent: its name without the number, ``regulator`` of ``regulator_2``."""
    return {agent: re.sub(r"_?\d+$", "", agent) or agent for agent in agents}


class PerKindGame:
    """A Markov game with one model per kind of agent.

    A step of one kind's VecEnv is a step of the whole environment: the models of the other kinds choose their actions,
    with exploration, as in their own training. So while one model learns, the others are part of its environment.

    Attributes:
        views: kind -> the VecEnv of its rows, all copies'.
        models: kind -> its SB3 model, or any object with ``predict``; to be filled before the first step.
        seen: (rows, n) float32, current observations of all agents.
        began: (rows,) bool, whether they are the first of an episode.
    """

    def __init__(
        self,
        make_env: MakeEnv,
        n_envs: int = 1,
        num_cpus: int | None = 0,
        route: str = "native",
        seed: int | None = None,
        kinds: Mapping[str, str] | None = None,
        engine: str | BatchEngine | EngineChoice | None = None,
    ) -> None:
        """Build the copies.

        Args:
            make_env, n_envs, num_cpus, route, seed, engine: see ``to_sb3``; agents need equal spaces within a kind
                only.
            kinds: agent -> kind; None uses the names without their numbers.

        Raises:
            ValueError: agents of one kind have different spaces, or ones that SB3 does not support.
        """
        copies = to_sb3(functools.partial(_numbers, make_env), n_envs, num_cpus, route, seed, engine)
        self.venv = VecMonitor(copies)
        agents: Sequence[str] = self.venv.agents
        own = self.venv.env_method("own_spaces", indices=0)[0]
        kind_of = kind_by_name(agents) if kinds is None else kinds
        self.models: dict[str, Any] = {}
        self.views: dict[str, KindVecEnv] = {}
        self.seen: Any = np.empty(0, np.float32)
        self.began = np.ones(self.venv.num_envs, bool)
        self._width = width(self.venv.action_space)
        for kind in dict.fromkeys(kind_of[agent] for agent in agents):
            mine = [a for a, agent in enumerate(agents) if kind_of[agent] == kind]
            _check_alike(kind, {agents[a]: own[agents[a]] for a in mine})
            rows = np.add.outer(np.arange(n_envs) * len(agents), mine).ravel()
            self.views[kind] = KindVecEnv(self, kind, rows, *own[agents[mine[0]]])

    def reset(self) -> None:
        """Start an episode in all copies."""
        self.seen = self.venv.reset()
        self.began = np.ones(self.venv.num_envs, bool)

    def step(self, kind: str, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step with these actions of one kind, and actions of the other kinds chosen by their models.

        Returns:
            rewards (rows,), dones (rows,) and infos of all rows; ``seen`` and ``began`` are updated.
        """
        numbers = np.zeros((self.venv.num_envs, self._width))
        for other, view in self.views.items():
            chosen = np.asarray(actions if other == kind else view.choose())
            numbers[view.rows, : view.action_width] = chosen.reshape(len(view.rows), -1)
        self.seen, rewards, self.began, infos = self.venv.step(numbers)
        return rewards, self.began, infos

    def close(self) -> None:
        """Close the environments."""
        self.venv.close()


class KindVecEnv(VecEnv):
    """The agents of one kind in all copies; a reset or seed applies to the whole game.

    Attributes:
        rows: (n) row indices in the game.
    """

    def __init__(
        self,
        game: PerKindGame,
        kind: str,
        rows: np.ndarray,
        observation_space: spaces.Box,
        action_space: spaces.Space[Any],
    ) -> None:
        self.game, self.kind, self.rows = game, kind, rows
        self.action_width = width(action_space)
        self._size = width(observation_space)
        masked = game.venv.has_attr(MASKS) and n_choices(action_space)
        self.mask_width = n_choices(action_space) if masked else 0
        super().__init__(len(rows), deepcopy(observation_space), deepcopy(action_space))

    def seen(self) -> np.ndarray:
        """(n, ...) current observations of these agents."""
        return self._own(self.game.seen[self.rows])

    @property
    def row_copy(self) -> np.ndarray:
        """(n) the copy that each row belongs to."""
        copies: np.ndarray = self.game.venv.row_copy[self.rows]
        return copies

    @property
    def row_agent(self) -> np.ndarray:
        """(n) the agent that each row is of, as an index of the game's agents."""
        agents: np.ndarray = self.game.venv.row_agent[self.rows]
        return agents

    def watch(self, watch: Watch) -> None:
        """See RowVecEnv.watch; the same for all kinds."""
        self.game.venv.watch(watch)

    def watched(self) -> Watched:
        """See RowVecEnv.watched, of these agents."""
        whole: Watched = self.game.venv.watched()
        if whole.slopes is None:
            return whole
        return replace(whole, slopes=whole.slopes[self.rows, : self.action_width])

    def masks(self) -> np.ndarray | None:
        """(n, choices) bool current action masks; None without masks."""
        if not self.mask_width:
            return None
        return np.stack(self.game.venv.env_method(MASKS, indices=self.rows))[:, : self.mask_width]

    def choose(self, deterministic: bool = False) -> np.ndarray:
        """(n, ...) actions chosen by this kind's model.

        Raises:
            RuntimeError: it has no model.
        """
        if self.kind not in self.game.models:
            raise RuntimeError(f"kind {self.kind!r} has no model to choose its actions; add one to PerKindGame.models")
        return predicted(self.game.models[self.kind], self.seen(), self.masks(), deterministic)

    def reset(self) -> np.ndarray:
        """Start an episode of the game; returns the observations of these agents."""
        self.game.reset()
        self.reset_infos = [self.game.venv.reset_infos[row] for row in self.rows]
        return self.seen()

    def step_async(self, actions: np.ndarray) -> None:
        """Start a step."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Observations, rewards, dones and infos of these agents."""
        rewards, dones, infos = self.game.step(self.kind, self._actions)
        own = [infos[row] for row in self.rows]
        for info in own:
            if "terminal_observation" in info:
                info["terminal_observation"] = self._own(info["terminal_observation"][None])[0]
        return self.seen(), rewards[self.rows], dones[self.rows], own

    def close(self) -> None:
        """Does nothing, since other kinds may still run; ``PerKindGame.close`` closes the environments."""

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the game's next reset."""
        seeds = self.game.venv.seed(seed)
        return [seeds[row] for row in self.rows]

    def has_attr(self, attr_name: str) -> bool:
        """Whether the environments have the attribute; "action_masks" if this kind has masks."""
        return bool(self.mask_width) if attr_name == MASKS else self.game.venv.has_attr(attr_name)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute of the environment, per row."""
        return self.game.venv.get_attr(attr_name, self._theirs(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set the attribute in the copies that hold the rows."""
        self.game.venv.set_attr(attr_name, value, self._theirs(indices))

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call the method once in each copy that holds one of the rows; "action_masks" is per row."""
        theirs = self._theirs(indices)
        answers = self.game.venv.env_method(method_name, *method_args, indices=theirs, **method_kwargs)
        return [mask[: self.mask_width] for mask in answers] if method_name == MASKS else answers

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Whether the environment of each row is wrapped in this class."""
        return self.game.venv.env_is_wrapped(wrapper_class, self._theirs(indices))

    def _theirs(self, indices: Any) -> list[int]:
        return [int(self.rows[row]) for row in self._get_indices(indices)]

    def _own(self, rows: np.ndarray) -> np.ndarray:
        space = self.observation_space
        return rows[:, : self._size].reshape(-1, *(space.shape or ())).astype(space.dtype)


def predicted(model: Any, rows: np.ndarray, masks: np.ndarray | None, deterministic: bool) -> np.ndarray:
    """(n, ...) a model's actions for n observations, within their masks if the model supports them."""
    if masks is not None and takes_masks(model):
        return model.predict(rows, deterministic=deterministic, action_masks=masks)[0]
    return model.predict(rows, deterministic=deterministic)[0]


def takes_masks(model: Any) -> bool:
    """Whether a model supports masks, as MaskablePPO does."""
    return _asks(model.predict.__func__) if inspect.ismethod(model.predict) else False


@functools.cache
def _asks(predict: Callable[..., Any]) -> bool:
    return "action_masks" in inspect.signature(predict).parameters


def _numbers(make_env: MakeEnv) -> ParallelEnv:
    return UniformSpaces(make_env())


def _check_alike(kind: str, own: Mapping[str, tuple[spaces.Space[Any], spaces.Space[Any]]]) -> None:
    first, *others = own
    for place, what in enumerate(("observation", "action")):
        for agent in others:
            if own[agent][place] != own[first][place]:
                raise ValueError(
                    f"one policy for kind {kind!r} needs one {what} space, but {first!r} has {own[first][place]} and "
                    f"{agent!r} has {own[agent][place]}; use agents='device', or actions='box' or 'multidiscrete'"
                )

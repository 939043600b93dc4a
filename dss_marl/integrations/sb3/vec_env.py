"""PettingZoo environments for Stable-Baselines3: every agent of every copy is one row of a VecEnv.

SB3 then trains one policy shared by all agents. Two routes give the same result: "native" over ``integrations.vector``,
and "supersuit" over SuperSuit's converters, with their omissions corrected. For discrete actions, rows contain plain
observations, and `action_masks` the allowed choices, for sb3_contrib's MaskablePPO.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from dss_marl.engines import BatchEngine
from dss_marl.integrations.vector import (
    EngineChoice,
    Failure,
    Layout,
    MakeEnv,
    ParallelCopies,
    Start,
    SuperSuitCopy,
    Watch,
    Watched,
    copy_seeds,
    pickled,
)
from dss_marl.integrations.vector.copies import Interruption, check_rows

MASKS = "action_masks"  # name used by sb3_contrib


def to_sb3(
    make_env: MakeEnv,
    n_envs: int = 1,
    num_cpus: int | None = 0,
    route: str = "native",
    seed: int | None = None,
    engine: str | BatchEngine | EngineChoice | None = None,
) -> RowVecEnv:
    """A Stable-Baselines3 VecEnv with one row per agent of each copy.

    Args:
        make_env: returns a new ParallelEnv at each call; its agents share one observation space and one action space,
            apart from masks, and all end at the same step.
        n_envs: copies of the environment, each with a random stream of its own.
        num_cpus: worker processes over which the copies are distributed; 0 steps them in this process; None measures a
            few steps and takes workers where they pay (route "native"; the other takes none).
        route: "native" or "supersuit".
        seed: for all copies; None draws one from the operating system. An algorithm with a seed sets its own.
        engine: a batch engine that solves all copies of a process together, by name as in ``make_batch``, or an open
            one; ``make_env`` is then called once in each process, and must return what ``dss_marl.make`` does. None:
            each copy has its environment's engine. See ``EngineChoice`` for more.

    Returns:
        VecEnv with n_envs x agents rows. SB3 counts timesteps and episodes in rows: one step of the environment is
        `agents` timesteps, one episode of it `agents` episodes.

    Raises:
        ValueError: unknown route, bad counts, agents with different spaces, or a factory that cannot be pickled where
            it must be; an engine that is unknown, or refuses the feeder or the copies.

    >>> import dss_marl
    >>> venv = to_sb3(lambda: dss_marl.make("ieee13_volt_var"), n_envs=2)
    >>> venv.num_envs  # two copies with three agents each
    6
    >>> venv.reset().shape[0]
    6
    >>> venv.close()
    """
    routes: dict[str, Callable[..., RowVecEnv]] = {"native": NativeVecEnv, "supersuit": SuperSuitVecEnv}
    if route not in routes:
        raise ValueError(f"unknown route {route!r}; known: {', '.join(sorted(routes))}")
    if n_envs < 1 or (num_cpus or 0) < 0:
        raise ValueError(f"n_envs must be at least 1 and num_cpus at least 0, not {n_envs} and {num_cpus}")
    if engine is None:
        return routes[route](make_env, n_envs, num_cpus, seed)
    if route != "native":
        raise ValueError(f"route {route!r} steps copies one by one, and engine= all together; use route='native'")
    choice = engine if isinstance(engine, EngineChoice) else EngineChoice(engine)
    return NativeVecEnv(make_env, n_envs, num_cpus, seed, choice)


class RowVecEnv(VecEnv):
    """Common part of both routes: seeds, attributes and methods, with rows as SB3's indices.

    A row stands for the copy that holds it: `env_method` on all rows calls each copy once, not once per agent.

    Attributes:
        agents: names of the rows of one copy.
        n_copies: number of environments.
        mask_width: entries of a row's mask; 0 where there are none.
        days_go_on: False: the time limit ends an episode for good, so that SB3 values nothing beyond it.
    """

    days_go_on = True

    def __init__(self, layout: Layout, n_copies: int, seed: int | None) -> None:
        self.agents = layout.agents
        self.mask_width = layout.mask_width
        self.n_copies = n_copies
        super().__init__(n_copies * len(layout.agents), layout.observation_space, layout.action_space)
        self.seed(seed)

    @property
    def row_copy(self) -> np.ndarray:
        """(rows,) the copy that each row belongs to."""
        return np.repeat(np.arange(self.n_copies), len(self.agents))

    @property
    def row_agent(self) -> np.ndarray:
        """(rows,) the agent that each row is of, as an index of ``agents``."""
        return np.tile(np.arange(len(self.agents)), self.n_copies)

    def _limits(self, ended: np.ndarray, infos: Any) -> Any:
        """Infos per row, without the time limit's flag where it ends an episode for good."""
        if not self.days_go_on:
            for row in np.flatnonzero(ended).tolist():
                infos[row]["TimeLimit.truncated"] = False
        return infos

    def watch(self, watch: Watch) -> None:
        """Keep this of each step from now on, for ``watched``.

        Raises:
            ValueError: the environments do not have it, or the route hands nothing over.
        """
        raise ValueError("states and slopes of the reward are not handed over on this route; use route='native'")

    def watched(self) -> Watched:
        """What was kept of the last step; without ``watch`` nothing."""
        return Watched()

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the next reset; the seed of each row, one stream per copy."""
        self._seeds = [own for own in copy_seeds(seed, self.n_copies) for _ in self.agents]
        return self._seeds

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode in all copies; observations (rows, ...)."""
        if seed is not None:
            self.seed(seed)
        if options is not None:
            self.set_options(options)
        observations = self._reset(self._starts())
        self._reset_seeds()  # the streams continue through later resets
        self._reset_options()
        return observations

    def has_attr(self, attr_name: str) -> bool:
        """Whether every copy has the attribute; "action_masks" if actions have masks."""
        if attr_name == MASKS and self.mask_width:
            return True
        return all(self._ask(range(self.n_copies), "has_attr", attr_name).values())

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute of the environment, per row."""
        return self._per_row(indices, "get_attr", attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set the attribute in the copies that hold the rows."""
        self._per_row(indices, "set_attr", attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call the method once in each copy that holds one of the rows; its result per row.

        "action_masks" gives each row's own (choices,) bool mask, received with the observations.
        """
        if method_name == MASKS and self.mask_width:
            masks = self._masks()
            return [masks[row] for row in self._get_indices(indices)]
        return self._per_row(indices, "env_method", method_name, method_args, method_kwargs)

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Whether the environment of each row lies in such a wrapper."""
        if issubclass(wrapper_class, gymnasium.Wrapper):  # they hold no ParallelEnv; and VecMonitor asks for SB3's
            return [False for _ in self._get_indices(indices)]  # Monitor, for which each worker would import torch
        return self._per_row(indices, "env_is_wrapped", wrapper_class)

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One image per copy, (height, width, 3) uint8, where `render_mode` is "rgb_array"."""
        if self.render_mode != "rgb_array":
            return [None] * self.n_copies
        return list(self._ask(range(self.n_copies), "env_method", "render", (), {}).values())

    def _starts(self) -> list[Start]:
        team = len(self.agents)
        starts: list[Start] = []
        for first in range(0, self.num_envs, team):
            options = self._options[first]
            if any(other != options for other in self._options[first : first + team]):
                raise ValueError(f"rows {first} to {first + team - 1} are one environment and need the same options")
            starts.append((self._seeds[first], options or None))
        return starts

    def _per_row(self, indices: Any, question: str, *args: Any) -> list[Any]:
        rows = [range(self.num_envs)[row] for row in self._get_indices(indices)]  # negative indices count from the end
        team = len(self.agents)
        answers = self._ask({row // team for row in rows}, question, *args)
        return [answers[row // team] for row in rows]

    @abstractmethod
    def _masks(self) -> np.ndarray:
        """(rows, choices) bool, if there are masks."""

    @abstractmethod
    def _reset(self, starts: list[Start]) -> Any:
        """Reset copy k with starts[k] and set `reset_infos`; observations (rows, ...)."""

    @abstractmethod
    def _ask(self, copies: Collection[int], question: str, *args: Any) -> dict[int, Any]:
        """Query some copies with one of dss_marl.integrations.vector's QUESTIONS; returns the answer of each."""


class NativeVecEnv(RowVecEnv):
    """Rows over dss_marl.integrations.vector."""

    def __init__(
        self,
        make_env: MakeEnv,
        n_envs: int,
        num_cpus: int | None,
        seed: int | None,
        choice: EngineChoice | None = None,
    ) -> None:
        self.copies = ParallelCopies(make_env, n_envs, num_cpus, choice)
        super().__init__(self.copies.layout, n_envs, seed)

    def step_async(self, actions: np.ndarray) -> None:
        """Start a step with actions (rows, ...); errors as ``ParallelCopies.step_async``."""
        self.copies.step_async(actions)

    def step_wait(self) -> Any:
        """Observations (rows, ...), rewards (rows,), dones (rows,) and infos per row."""
        observations, rewards, terminated, truncated, infos = self.copies.step_wait()
        return observations, rewards, terminated | truncated, self._limits(truncated, infos)

    def watch(self, watch: Watch) -> None:
        """See RowVecEnv.watch."""
        self.copies.watch(watch)

    def watched(self) -> Watched:
        """See RowVecEnv.watched."""
        return self.copies.watched()

    def close(self) -> None:
        """Close the environments and end the workers."""
        self.copies.close()

    def _masks(self) -> np.ndarray:
        if self.copies.masks is None:
            raise RuntimeError("no masks before the first episode; call reset first")
        return self.copies.masks

    def _reset(self, starts: list[Start]) -> Any:
        observations = self.copies.reset(starts)
        self.reset_infos = self.copies.reset_infos  # not a copy: steps that end an episode write into it
        return observations

    def _ask(self, copies: Collection[int], question: str, *args: Any) -> dict[int, Any]:
        return self.copies.ask(copies, question, *args)


class SuperSuitVecEnv(RowVecEnv):
    """Rows over SuperSuit, whose own SB3 wrapper has no seed, attributes or methods and hides every time limit.

    All missing functions use one channel: SuperSuit passes the argument of `env_is_wrapped` to every copy, in any
    process, and returns a list. `SuperSuitCopy.answer` is the other end.
    """

    def __init__(self, make_env: MakeEnv, n_envs: int, num_cpus: int | None, seed: int | None) -> None:
        num_cpus = num_cpus or 0
        try:
            import supersuit
        except ImportError as error:
            raise ImportError("route 'supersuit' needs SuperSuit: pip install 'dss_marl[train]'") from error
        pickled(make_env)  # SuperSuit copies by pickling, even within one process
        template = SuperSuitCopy(make_env)
        vector = supersuit.pettingzoo_env_to_vec_env_v1(template)
        vector.env_is_wrapped = template.answer
        self.venv = supersuit.concat_vec_envs_v1(vector, n_envs, num_cpus=num_cpus, base_class="stable_baselines3")
        self._tokens, identities = zip(*self.venv.env_is_wrapped(None), strict=True)
        if len(set(identities)) < n_envs:
            raise ValueError("make_env returned the same environment twice; it must build a new one at each call")
        template.close()
        self._known_masks: np.ndarray | None = None
        self._interruption = Interruption(final=num_cpus > 0)  # SuperSuit's workers end with the first error
        super().__init__(template.layout, n_envs, seed)

    def step_async(self, actions: np.ndarray) -> None:
        """Start a step with actions (rows, ...); errors as ``ParallelCopies.step_async``."""
        self._interruption.check()
        check_rows(self.action_space, np.asarray(actions))
        with self._interruption.noted():
            self.venv.step_async(actions)

    def step_wait(self) -> Any:
        """Observations (rows, ...), rewards (rows,), dones (rows,) and infos per row."""
        with self._interruption.noted():
            observations, rewards, dones, infos = self.venv.step_wait()
        self._known_masks = None
        if dones.any():
            self._fetch_reset_infos()
        # within one process SuperSuit's dones are uint8, which would index as row numbers instead of a mask
        return observations, rewards, dones.astype(bool), self._limits(dones, infos)

    def close(self) -> None:
        """Close the environments and end the workers; a second call does nothing."""
        if not self._tokens:
            return
        with contextlib.suppress(OSError, EOFError):  # of workers that died, where nothing is left to close
            self._post(dict.fromkeys(self._tokens, ("close",)))  # SuperSuit ends workers without closing environments
        self._tokens = ()
        self.venv.venv.close()

    def _masks(self) -> np.ndarray:
        if self._known_masks is None:  # fetched on demand: SuperSuit transports only observations
            self._known_masks = np.concatenate(self._post(dict.fromkeys(self._tokens, ("masks",))))
        return self._known_masks

    def _reset(self, starts: list[Start]) -> Any:
        self._interruption.check(resetting=True)
        self._known_masks = None
        # SuperSuit numbers seeds per process and then per copy, so two copies would get the same: seed each by token
        self._post({token: ("prepare", start) for token, start in zip(self._tokens, starts, strict=True)})
        with self._interruption.noted():
            observations = self.venv.reset()
        self._interruption.cause = ""
        self._fetch_reset_infos()
        return observations

    def _fetch_reset_infos(self) -> None:
        self.reset_infos = list(chain(*self._post(dict.fromkeys(self._tokens, ("last_reset_infos",)))))

    def _ask(self, copies: Collection[int], question: str, *args: Any) -> dict[int, Any]:
        answers = self._post({self._tokens[k]: ("ask", question, *args) for k in copies})
        return {k: answers[k] for k in copies}

    def _post(self, request: dict[str, tuple[Any, ...]]) -> list[Any]:
        answers = self.venv.env_is_wrapped(request)
        for answer in answers:
            if isinstance(answer, Failure):
                answer.throw()
        return answers

"""Copies of an environment as rows of arrays, within one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv
from pettingzoo.utils import BaseParallelWrapper

from dss_marl.envs.flattening import ByAgent, flatten_env
from dss_marl.integrations.vector.watching import CopyWatcher, Watch, Watched

MakeEnv: TypeAlias = Callable[[], ParallelEnv]  # a new environment at each call
Start: TypeAlias = tuple[int | None, dict[str, Any] | None]  # seed and options of one reset
Infos: TypeAlias = list[dict[str, Any]]  # one per row


class Layout(NamedTuple):
    """Agents and spaces common to all copies; ``mask_width`` is the length of an agent's mask, 0 without masks."""

    agents: tuple[str, ...]
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    mask_width: int = 0


def shared_layout(env: ParallelEnv) -> Layout:
    """The agents and their common observation and action spaces.

    Raises:
        ValueError: agents with different spaces, or actions that are not arrays.
    """
    first, *others = env.possible_agents
    for kind, space in (("observation", env.observation_space), ("action", env.action_space)):
        for agent in others:
            if space(agent) != space(first):
                raise ValueError(
                    f"one shared policy needs one {kind} space, but {first!r} has {space(first)} and {agent!r} has "
                    f"{space(agent)}; use actions='box' or 'multidiscrete', which are equal for all agents, or one "
                    "policy per kind of agent (training: {sharing: per_kind}, dss_marl.integrations.sb3.per_kind)"
                )
    if isinstance(env.action_space(first), spaces.Dict | spaces.Tuple):
        raise ValueError(
            f"{first!r} has the action space {env.action_space(first)}, which SB3's algorithms do not support; "
            "use actions='box' or 'multidiscrete'"
        )
    # deep copies: SB3 seeds the action space it receives, which must not be the environment's own
    return Layout((first, *others), deepcopy(env.observation_space(first)), deepcopy(env.action_space(first)))


def _checked(env: Any) -> ParallelEnv:
    if not isinstance(env, ParallelEnv):
        raise ValueError(
            f"make_env must return a PettingZoo ParallelEnv, not {type(env).__name__}; "
            "pettingzoo.utils.conversions.aec_to_parallel turns an AECEnv into one"
        )
    if not env.possible_agents:
        raise ValueError(f"{env} has no possible_agents, so there is nothing to train")
    return env


class Copy(BaseParallelWrapper):
    """One flattened environment, checked at each step; both routes to SB3 use it.

    Observations are arrays of the space's dtype and infos are dicts, both new at each step; infos carry
    "TimeLimit.truncated" for SB3. The infos of a reset are kept in `reset_infos`.
    """

    def __init__(self, make_env: MakeEnv) -> None:
        env, self._plain = flatten_env(_checked(make_env()))
        self.layout = shared_layout(env)._replace(mask_width=self._plain.mask_width)
        super().__init__(env)
        self.reset_infos: Infos = []
        if not hasattr(env, "render_mode"):
            env.unwrapped.render_mode = None  # optional in PettingZoo, but SB3 and SuperSuit read it

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[ByAgent, ByAgent]:
        """Start an episode: observations and infos by agent."""
        observations, infos = self.env.reset(seed=seed, options=options)
        agents = self.layout.agents
        self._check_alive(observations, ())
        self.reset_infos = [dict(infos.get(agent, {})) for agent in agents]
        return self._arrays(observations), dict(zip(agents, self.reset_infos, strict=True))

    def step(self, actions: dict[str, Any]) -> tuple[ByAgent, ByAgent, ByAgent, ByAgent, ByAgent]:
        """The environment's step, with every agent in all five dicts.

        Raises:
            RuntimeError: an agent ended before the others.
        """
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        agents = self.layout.agents
        self._check_alive(observations, [a for a in agents if terminated.get(a) or truncated.get(a)])
        terminated = {agent: bool(terminated[agent]) for agent in agents}
        truncated = {agent: bool(truncated[agent]) for agent in agents}
        infos = {
            agent: {**infos.get(agent, {}), "TimeLimit.truncated": truncated[agent] and not terminated[agent]}
            for agent in agents
        }
        return self._arrays(observations), {a: float(rewards[a]) for a in agents}, terminated, truncated, infos

    def masks(self) -> Any:
        """(agents, choices) bool current masks; None without masks."""
        return self._plain.masks()

    def see(self, observations: ByAgent) -> None:
        """Take the masks off observations that the environment made outside of a step, as its latest ones."""
        self._plain.see(observations)

    def ask(self, question: str, *args: Any) -> Any:
        """Answer one of QUESTIONS about the environment."""
        return QUESTIONS[question](self.env, *args)

    def _arrays(self, observations: dict[str, Any]) -> dict[str, Any]:
        return {agent: _array(self.layout.observation_space, observations[agent]) for agent in self.layout.agents}

    def _check_alive(self, observations: dict[str, Any], ended: Sequence[str]) -> None:
        agents = self.layout.agents
        gone = [a for a in agents if a not in observations] or (ended if len(ended) < len(agents) else [])
        if gone:
            raise RuntimeError(
                f"{', '.join(map(repr, gone))} ended before the other agents of {self.env}; the rows of a shared "
                "policy must end at the same step: keep the agent in all dicts until then, or train with a library "
                "that supports early termination of agents (RLlib, TorchRL)"
            )


def _array(space: spaces.Space[Any], value: Any) -> Any:
    """One agent's observation as a copy: environments may overwrite theirs in the next step."""
    if isinstance(space, spaces.Dict):
        return {key: _array(part, value[key]) for key, part in space.items()}
    return np.array(value, dtype=space.dtype)


def gather(space: spaces.Space[Any], parts: Sequence[Any], combine: Callable[[Sequence[Any]], np.ndarray]) -> Any:
    """Observations combined by `combine` (np.stack, np.concatenate), key by key in a Dict space."""
    if isinstance(space, spaces.Dict):
        return {key: gather(inner, [part[key] for part in parts], combine) for key, inner in space.items()}
    return combine(parts)


def check_rows(space: spaces.Space[Any], actions: np.ndarray) -> None:
    """Whether an environment could take these actions (rows, ...); asked before any copy has moved.

    Raises:
        ValueError: NaN, or a choice that there is not; names the row.
    """
    bad = np.isnan(actions) if np.issubdtype(actions.dtype, np.inexact) else np.zeros(actions.shape, bool)
    if isinstance(space, spaces.Discrete):
        bad = bad | (actions < space.start) | (actions >= space.start + space.n)
    elif isinstance(space, spaces.MultiDiscrete):
        bad = bad | (actions < space.start) | (actions >= space.start + space.nvec)
    if bad.any():
        row = int(np.argwhere(bad)[0, 0])
        raise ValueError(f"the action of row {row}, {actions[row]}, is not in {space}; no copy has moved")


class Interruption:
    """Whether the copies of a vector may go on: not after an error that only some of them know of.

    Attributes:
        cause: the error; "" where they may.
        final: True if not even a reset mends it.
    """

    def __init__(self, final: bool = False) -> None:
        self.cause = ""
        self.final = final

    def check(self, resetting: bool = False) -> None:
        """Refuse to go on.

        Raises:
            RuntimeError: copies were interrupted; says by what, and the cure.
        """
        if self.cause and not (resetting and not self.final):
            cure = "close these environments and build new ones" if self.final else "call reset first"
            raise RuntimeError(f"some copies stepped and others did not after an error ({self.cause}); {cure}")

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note an error within, and raise it."""
        try:
            yield
        except BaseException as error:
            self.cause = f"{type(error).__name__}: {error}"
            raise


def _set_attr(env: ParallelEnv, name: str, value: Any) -> None:
    """Set an attribute where it is defined: on an outer wrapper it would only shadow the environment's."""
    while isinstance(env, BaseParallelWrapper) and name not in vars(env) and not hasattr(type(env), name):
        env = env.env
    setattr(env, name, value)


def _env_method(env: ParallelEnv, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return getattr(env, name)(*args, **kwargs)


def _env_is_wrapped(env: Any, wrapper_class: type) -> bool:
    while env is not None:
        if isinstance(env, wrapper_class):
            return True
        env = vars(env).get("env")
    return False


QUESTIONS: dict[str, Callable[..., Any]] = {
    "get_attr": getattr,
    "has_attr": hasattr,
    "set_attr": _set_attr,
    "env_method": _env_method,
    "env_is_wrapped": _env_is_wrapped,
}


class Block:
    """The copies that one process holds."""

    def __init__(self, make_env: MakeEnv, n: int) -> None:
        self.copies = [Copy(make_env) for _ in range(n)]
        if len({id(copy.unwrapped) for copy in self.copies}) < n:
            raise ValueError("make_env returned the same environment twice; it must build a new one at each call")
        self._watcher: CopyWatcher | None = None

    def watch(self, watch: Watch) -> None:
        """Keep this of each step from now on.

        Raises:
            ValueError: the environments do not have it.
        """
        self._watcher = CopyWatcher(watch, [copy.env for copy in self.copies])

    def watched(self) -> Watched:
        """What was kept of the last step."""
        return Watched() if self._watcher is None else self._watcher.watched()

    def layouts(self) -> list[Layout]:
        """The layout of each copy."""
        return [copy.layout for copy in self.copies]

    def masks(self) -> Any:
        """(rows, choices) bool current masks; None without masks."""
        if not self.copies[0].layout.mask_width:
            return None
        return np.concatenate([copy.masks() for copy in self.copies])

    def reset(self, starts: Sequence[Start]) -> tuple[Any, Any, list[Infos]]:
        """Reset each copy with its seed and options: observations and masks (rows, ...), and infos by copy."""
        agents, space, *_ = self.copies[0].layout
        rows: list[Any] = []
        if self._watcher is not None:
            self._watcher.begin()
        for copy, (seed, options) in zip(self.copies, starts, strict=True):
            seen, _ = copy.reset(seed=seed, options=options)
            rows += [seen[agent] for agent in agents]
        return gather(space, rows, np.stack), self.masks(), [copy.reset_infos for copy in self.copies]

    def step(self, actions: np.ndarray) -> tuple[Any, Any, np.ndarray, Iterable[Any], dict[int, Infos]]:
        """Step each copy, and immediately reset those that ended.

        Args:
            actions: (rows, ...).

        Returns:
            Observations and masks (rows, ...), of the reset where a copy ended; (3, rows) float64: reward, terminated,
            truncated; the infos per row, with "terminal_observation" where a copy ended; reset infos of the copies
            that ended.
        """
        agents, space, *_ = self.copies[0].layout
        rows: list[Any] = []
        numbers: list[tuple[float, bool, bool]] = []
        infos: Infos = []
        reset_infos: dict[int, Infos] = {}
        if self._watcher is not None:
            self._watcher.begin()
        for k, copy in enumerate(self.copies):
            own = actions[k * len(agents) : (k + 1) * len(agents)]
            seen, rewards, terminated, truncated, info = copy.step(dict(zip(agents, own, strict=True)))
            if self._watcher is not None:
                self._watcher.note(k, terminated[agents[0]] or truncated[agents[0]])
            if terminated[agents[0]] or truncated[agents[0]]:  # all agents end together: Copy.step checks it
                for agent in agents:
                    info[agent]["terminal_observation"] = seen[agent]
                seen, _ = copy.reset()  # without a seed, so the copy's random stream continues
                reset_infos[k] = copy.reset_infos
            rows += [seen[agent] for agent in agents]
            numbers += [(rewards[agent], terminated[agent], truncated[agent]) for agent in agents]
            infos += [info[agent] for agent in agents]
        return gather(space, rows, np.stack), self.masks(), np.array(numbers, dtype=float).T, infos, reset_infos

    def ask(self, copies: Iterable[int], question: str, *args: Any) -> list[Any]:
        """Answers of some copies to one of QUESTIONS."""
        return [self.copies[k].ask(question, *args) for k in copies]

    def close(self) -> None:
        """Close every copy, even if closing one of them fails."""
        with ExitStack() as stack:
            for copy in self.copies:
                stack.callback(copy.close)

"""What learners ask for beside a step: the states of the copies, and the slopes of the reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dss_marl.envs.batch_env import BatchStep, BatchZoneEnv
from dss_marl.envs.zone_env import ZoneEnv


@dataclass(frozen=True)
class Watch:
    """What to keep of each step.

    Attributes:
        states: ``state()`` of the environments, for a central critic.
        slopes: ``last_gradient()``, of environments whose actions are ``box``.
        margin_pu: of the slopes, see ``ZoneEnv.gradient``.
    """

    states: bool = False
    slopes: bool = False
    margin_pu: float = 0.0


@dataclass(frozen=True)
class Watched:
    """What was kept of the last step; None where nobody asked for it.

    Attributes:
        states: (copies, S) float32, of the coming interval.
        final_states: (copies, S) the same; of copies that ended, after their last step instead.
        slopes: (rows, W) of the team's reward with respect to the actions of the last step; 0 where an entry has none,
            in copies that ended, and before a step.
    """

    states: np.ndarray | None = None
    final_states: np.ndarray | None = None
    slopes: np.ndarray | None = None

    @classmethod
    def joined(cls, parts: Sequence[Watched]) -> Watched:
        """Of several blocks of copies, in order."""
        kept = ([getattr(part, field.name) for part in parts] for field in fields(cls))
        return cls(*(None if own[0] is None else np.concatenate(own) for own in kept))


class CopyWatcher:
    """Keeps what is asked for of copies that are stepped one by one.

    Args:
        watch: what that is.
        envs: the environments, within their wrappers.

    Raises:
        ValueError: slopes are asked for of another environment than a scenario's, or it has none.
    """

    def __init__(self, watch: Watch, envs: Sequence[Any]) -> None:
        self._watch, self._envs = watch, tuple(envs)
        team = len(envs[0].possible_agents)
        self._final: dict[int, np.ndarray] = {}
        self._shape: tuple[int, ...] = (0,)
        if watch.slopes:
            for env in envs:
                if not isinstance(env.unwrapped, ZoneEnv):
                    raise ValueError(f"slopes of the reward need the environment of a scenario, not {env.unwrapped}")
                env.unwrapped.check_gradient(watch.margin_pu)
            layout = envs[0].unwrapped.task.agents.action_layout
            self._shape = team, layout.width
        self._slopes = np.zeros((len(envs), *self._shape))

    def begin(self) -> None:
        """Forget the last step of all copies: another one starts, or episodes do."""
        self._final = {}
        self._slopes[:] = 0.0

    def note(self, k: int, ended: bool) -> None:
        """Keep what is asked for of copy k, which was stepped, and not reset yet if it ended."""
        if self._watch.states and ended:
            self._final[k] = self._envs[k].state()
        if self._watch.slopes and not ended:
            self._slopes[k] = np.nan_to_num(self._envs[k].unwrapped.last_gradient(self._watch.margin_pu).by_agent)

    def watched(self) -> Watched:
        """What was kept."""
        states = final = None
        if self._watch.states:
            states = np.stack([env.state() for env in self._envs])
            final = states.copy()
            for k, row in self._final.items():
                final[k] = row
        slopes = self._slopes.reshape(-1, self._shape[-1]).copy() if self._watch.slopes else None
        return Watched(states, final, slopes)


def watched_batch(watch: Watch, batch: BatchZoneEnv, done: BatchStep | None) -> Watched:
    """What is asked for of copies that are stepped together, after a step; None: after a reset."""
    states = final = slopes = None
    if watch.states:
        states = final = batch.state()
        if done is not None and done.final_observations is not None:
            assert batch.reached is not None
            last = batch.observation_model.state(batch.reached, done.final_observations)
            final = np.where((done.terminated | done.truncated)[:, None], last, states)
    if watch.slopes:
        shape = batch.copies, *batch.task.agents.action_layout.place.shape
        found = np.zeros(shape) if done is None else np.nan_to_num(batch.last_gradient(watch.margin_pu).by_agent)
        if done is not None:
            found[done.terminated | done.truncated] = 0.0
        slopes = found.reshape(-1, shape[-1])
    return Watched(states, final, slopes)

"""Copies of a scenario's environment stepped as one batch, with the rows that they give one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dss_marl.engines import batch_of
from dss_marl.envs.batch_env import BatchStep, BatchZoneEnv
from dss_marl.envs.flattening import FlattenedEnv
from dss_marl.envs.snapshot import EpisodeState
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.copies import rows_of
from dss_marl.grid.state import GridState
from dss_marl.integrations.vector.copies import Block, Copy, Infos, Start
from dss_marl.integrations.vector.numeric_actions import UniformSpaces
from dss_marl.integrations.vector.watching import Watch, Watched, watched_batch

_READS = ("get_attr", "has_attr", "env_is_wrapped")  # questions that leave an environment as it is


def plain_zone_env(env: Any) -> ZoneEnv | None:
    """The environment within wrappers that only flatten; None where there is another one."""
    while type(env) in (FlattenedEnv, UniformSpaces):
        env = env.env
    plain = type(env) is ZoneEnv and env.render_mode is None and not {"step", "reset"} & vars(env).keys()
    return env if plain and env.now is None else None


def alike(env: ZoneEnv, other: ZoneEnv | None) -> bool:
    """Whether two environments are of the same scenario and days."""
    if other is None or env.days != other.days:
        return False
    return env.task is other.task or env.task.scenario == other.task.scenario


@dataclass(frozen=True)
class RowInfos:
    """Infos of all rows as arrays, which become a dict for each row where they are iterated.

    Attributes:
        keys: of the numbers.
        values: (B, keys, A).
        truncated: (B) whether the time limit was reached.
        ended: copies that ended.
        final: (b, A, n) their last observations.
    """

    keys: tuple[str, ...]
    values: np.ndarray
    truncated: np.ndarray
    ended: tuple[int, ...] = ()
    final: np.ndarray | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        keys, team = (*self.keys, "TimeLimit.truncated"), self.values.shape[-1]
        both = zip(self.values.swapaxes(1, 2).tolist(), self.truncated.tolist(), strict=True)
        infos = [dict(zip(keys, (*row, end), strict=True)) for rows, end in both for row in rows]
        if self.final is not None:
            for b, last in zip(self.ended, self.final, strict=True):
                for a in range(team):
                    infos[b * team + a]["terminal_observation"] = last[a].copy()
        return iter(infos)


class RowBlock(Block):
    """A Block whose copies are stepped by a BatchZoneEnv.

    Args:
        batch: the copies.
        dtype: of the actions that it takes.
    """

    def __init__(self, batch: BatchZoneEnv, dtype: Any) -> None:
        self._batch: BatchZoneEnv | None = batch
        self._dtype = dtype
        self._watch = Watch()
        self._done: BatchStep | None = None

    @property
    def batch(self) -> BatchZoneEnv:
        """The copies.

        Raises:
            RuntimeError: they are closed.
        """
        if self._batch is None:
            raise RuntimeError("these copies are closed; build new ones")
        return self._batch

    def watch(self, watch: Watch) -> None:
        """See Block.watch."""
        if watch.slopes:
            self.batch.check_gradient(watch.margin_pu)
        self._watch = watch

    def watched(self) -> Watched:
        """See Block.watched."""
        return watched_batch(self._watch, self.batch, self._done)

    def masks(self) -> Any:
        """See Block.masks."""
        masks = self.batch.masks
        return None if masks is None else masks.reshape(-1, masks.shape[-1])

    def reset(self, starts: Sequence[Start]) -> tuple[Any, Any, list[Infos]]:
        """See Block.reset."""
        batch = self.batch
        seeds, options = zip(*starts, strict=True)
        batch.reset(list(seeds), list(options))
        self._done = None
        return self._rows(batch.observations), self.masks(), self._reset_infos(range(batch.copies))

    def step(self, actions: np.ndarray) -> tuple[Any, Any, np.ndarray, Iterable[Any], dict[int, Infos]]:
        """See Block.step."""
        batch = self.batch
        done = self._done = batch.step(actions.reshape(*batch.action_rows.shape[:2], -1).astype(self._dtype))
        team = len(batch.agents)
        numbers = np.stack([done.rewards.ravel(), np.repeat(done.terminated, team), np.repeat(done.truncated, team)])
        ended = np.flatnonzero(done.terminated | done.truncated).tolist()
        final = None if done.final_observations is None else done.final_observations[ended]
        infos = self._infos(batch.step_info.keys, done.values, done.truncated, tuple(ended), final)
        fresh = dict(zip(ended, self._reset_infos(ended), strict=True))
        return self._rows(done.observations), self.masks(), numbers, infos, fresh

    def _infos(self, *given: Any) -> Iterable[Any]:
        """Of a step, from the fields of RowInfos."""
        return RowInfos(*given)

    def _rows(self, observations: np.ndarray) -> np.ndarray:
        """(rows, n) new."""
        return observations.reshape(-1, observations.shape[-1]).copy()

    def _reset_infos(self, copies: Iterable[int]) -> list[Infos]:
        """Infos of the last reset of some copies."""
        keys, values, going_on = self.batch.step_info.keys, self.batch.reset_values, np.zeros(1, bool)
        return [list(RowInfos(keys, values[k : k + 1], going_on)) for k in copies]


def action_dtype(batch: BatchZoneEnv, env: ZoneEnv) -> Any:
    """What an action of the environment has, of which the batch takes rows."""
    return env.action_space(env.possible_agents[0]).dtype if batch.task.encoding.by_rows else np.float64


class BatchBlock(RowBlock):
    """Copies stepped by a BatchZoneEnv on the copies' own engines and random streams.

    A copy's environment is brought up to date when somebody asks for it. Once something in one may have been changed
    from outside, all go on one by one, with the same results.

    Args:
        block: of the copies.
        envs: their environments, all of the same scenario.
    """

    def __init__(self, block: Block, envs: Sequence[ZoneEnv]) -> None:
        self.copies, self._watcher = block.copies, None
        self._envs = tuple(envs)
        first = envs[0]
        batch = BatchZoneEnv(first.task, len(envs), first.split, batch_of([env.engine for env in envs]))
        batch.days = first.days
        batch.rngs = [env.episode.rng for env in envs]
        super().__init__(batch, action_dtype(batch, first))

    def watch(self, watch: Watch) -> None:
        """See Block.watch."""
        Block.watch(self, watch)  # for when they go on one by one
        if self._batch is not None:
            super().watch(watch)

    def watched(self) -> Watched:
        """See Block.watched."""
        return Block.watched(self) if self._batch is None else super().watched()

    def masks(self) -> Any:
        """See Block.masks."""
        return Block.masks(self) if self._batch is None else super().masks()

    def reset(self, starts: Sequence[Start]) -> tuple[Any, Any, list[Infos]]:
        """See Block.reset."""
        return Block.reset(self, starts) if self._batch is None else super().reset(starts)

    def step(self, actions: np.ndarray) -> tuple[Any, Any, np.ndarray, Iterable[Any], dict[int, Infos]]:
        """See Block.step."""
        return Block.step(self, actions) if self._batch is None else super().step(actions)

    def ask(self, copies: Iterable[int], question: str, *args: Any) -> list[Any]:
        """See Block.ask; what may change an environment ends the batch."""
        batch, copies = self._batch, list(copies)
        if batch is None:
            return super().ask(copies, question, *args)
        for k in copies:
            bring_up_to_date(batch, k, self.copies[k], self._envs[k])
        before = [marks(self._envs[k]) for k in copies]
        try:
            return super().ask(copies, question, *args)
        finally:
            changed = [marks(self._envs[k]) for k in copies] != before
            if question == "set_attr" or (question not in _READS and changed):
                self._part(set(copies))

    def close(self) -> None:
        """See Block.close."""
        self._batch = None
        super().close()

    def _reset_infos(self, copies: Iterable[int]) -> list[Infos]:
        """Infos of the last reset of some copies, and kept by these as their own resets do."""
        copies = list(copies)
        found = super()._reset_infos(copies)
        for k, infos in zip(copies, found, strict=True):
            self.copies[k].reset_infos = infos
        return found

    def _part(self, known: set[int]) -> None:
        """Go on one by one; the copies ``known`` are up to date, and may have been changed."""
        for k, env in enumerate(self._envs):
            if k not in known:
                bring_up_to_date(self.batch, k, self.copies[k], env)
        self._batch = None


def bring_up_to_date(batch: BatchZoneEnv, k: int, copy: Copy, env: ZoneEnv) -> None:
    """Put a copy of the batch into an environment, which the other ``copy`` wraps."""
    env.episode = _episode(batch, k)
    if batch.interrupted or batch.now is None:
        return
    env.simulator.conditions = batch.simulator.many.alone(k)
    model = batch.observation_model
    env.messages.state = model.messages[k].state
    if env.sensing is not None:
        env.sensing.state = model.sensing[k].state
    if env.attack is not None:
        env.attack.state = batch.attack.attacks[k].state
    copy.see(env._observations())  # noqa: SLF001  # as its own step would hand them over


def _episode(batch: BatchZoneEnv, k: int) -> EpisodeState:
    """The running episode of one copy, as its environment alone would have it."""
    episode = EpisodeState(batch.rngs[k], batch.observations[k].copy(), interrupted=batch.interrupted)
    if batch.interrupted or batch.now is None:
        return episode
    episode.agents, episode.day, episode.now = list(batch.agents), int(batch.day[k]), _alone(batch.now, k)
    if batch.levels is not None:
        episode.levels = type(batch.levels)(*(own[k] for own in batch.levels))
    if episode.now.step and batch.before is not None and batch.after is not None:
        episode.before, episode.after = _alone(batch.before, k), _alone(batch.after, k)
        episode.team_reward = float(batch.team_reward[k])
    return episode


def _alone(state: GridState, k: int) -> GridState:
    own = rows_of(state, k)
    return own.replace(step=int(own.step), hour=float(own.hour))


def marks(env: ZoneEnv) -> tuple[Any, ...]:
    """What a method of an environment replaces when it changes the episode."""
    episode = env.episode
    parts = (episode, episode.now, episode.rng, env.simulator.conditions if episode.now is not None else None)
    return (*map(id, parts), episode.rng.bit_generator.state["state"], len(episode.agents), episode.interrupted)

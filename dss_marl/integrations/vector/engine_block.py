"""Copies of a scenario's environment as one batch on an engine of choice, without an environment for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dss_marl.engines import BatchEngine
from dss_marl.envs.batch_env import BatchStep, BatchZoneEnv
from dss_marl.integrations.vector.batched import (
    RowBlock,
    RowInfos,
    action_dtype,
    bring_up_to_date,
    marks,
    plain_zone_env,
)
from dss_marl.integrations.vector.copies import Copy, Layout, MakeEnv
from dss_marl.mdp.random_streams import copied

_HOURS = 16  # at which a spread batch's copies are
_REFUSED = (
    "{0} would change an environment, but the copies are one batch, which would not know of it; change the scenario "
    "before the copies are built, or leave the engine out"
)


@dataclass(frozen=True)
class EngineChoice:
    """How copies that are one batch are solved and stepped.

    Attributes:
        engine: name of a batch engine as for ``make_batch``, or an open one.
        spread: end the first episode of most copies early, so that afterwards they are at hours spread over the day.
            Otherwise all are at the same hour, and a short rollout holds a small part of the day.
        lean: leave the infos of rows empty whose episode goes on: as dicts, those of a step can take longer than the
            step.
    """

    engine: str | BatchEngine
    spread: bool = False
    lean: bool = False


class SpreadBatch(BatchZoneEnv):
    """A batch whose copies end their first episode at different steps, as if the horizon were there.

    Until then, and from its next reset on, a copy does what it does in a BatchZoneEnv.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        groups = min(self.copies, _HOURS)
        self._first_end = self.task.scenario.steps * (1 + np.arange(self.copies) % groups) // groups
        self._age = np.zeros(self.copies, np.int64)

    def reset(self, *given: Any, **named: Any) -> Any:
        """See BatchZoneEnv.reset; the first episodes after it end early again."""
        found = super().reset(*given, **named)
        self._age[:] = 0
        return found

    def step(self, actions: Any) -> BatchStep:
        """See BatchZoneEnv.step."""
        done = super().step(actions)
        self._age += 1
        early = (self._age == self._first_end) & ~(done.terminated | done.truncated)
        if not early.any():
            return done
        final = done.observations if done.final_observations is None else done.final_observations
        try:
            self._begin_next(np.flatnonzero(early))
        except BaseException as error:
            self._interrupt(error)
            raise
        truncated = done.truncated | early
        return done._replace(observations=self.observations.copy(), truncated=truncated, final_observations=final)


class EndInfos(RowInfos):
    """RowInfos, of which only rows of copies that ended have any."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        team = self.values.shape[-1]
        infos: list[dict[str, Any]] = [{} for _ in range(len(self.values) * team)]
        if self.ended:
            rows = list(self.ended)
            of_ended = RowInfos(self.keys, self.values[rows], self.truncated[rows], tuple(range(len(rows))), self.final)
            for k, info in enumerate(of_ended):
                infos[rows[k // team] * team + k % team] = info
        return iter(infos)


class EngineBlock(RowBlock):
    """Copies that are a BatchZoneEnv on one engine.

    Questions are answered by one environment that solves with OpenDSS and is brought up to date for each of them; what
    would change it is refused.

    Args:
        make_env: returns the environment of a scenario, within wrappers that only flatten; called once.
        n: number of copies.
        choice: the engine.

    Raises:
        ValueError: another environment; or the engine is unknown, or refuses the feeder or the number of copies.
    """

    def __init__(self, make_env: MakeEnv, n: int, choice: EngineChoice) -> None:
        self._copy, self._choice = Copy(make_env), choice
        self.copies = [self._copy]
        try:
            env = plain_zone_env(self._copy.env)
            if env is None:
                raise ValueError(
                    f"engine {choice.engine!r} solves copies of a scenario's environment together, so make_env must "
                    "return what dss_marl.make does, before its first reset and without wrappers other than those that "
                    "flatten; or leave the engine out"
                )
            batch = (SpreadBatch if choice.spread else BatchZoneEnv)(env.task, n, env.split, choice.engine)
        except BaseException:
            self._copy.close()
            raise
        batch.days, self._env = env.days, env
        super().__init__(batch, action_dtype(batch, env))

    def layouts(self) -> list[Layout]:
        """See Block.layouts."""
        return [self._copy.layout] * self.batch.copies

    def ask(self, copies: Iterable[int], question: str, *args: Any) -> list[Any]:
        """See Block.ask.

        Raises:
            RuntimeError: the question would change an environment.
        """
        if question == "set_attr":
            raise RuntimeError(_REFUSED.format("set_attr"))
        return [self._answer(k, question, *args) for k in copies]

    def close(self) -> None:
        """See Block.close."""
        if self._batch is not None:
            self._batch.close()
            self._batch = None
        super().close()

    def _answer(self, k: int, question: str, *args: Any) -> Any:
        copy, env = self._copy, self._env
        bring_up_to_date(self.batch, k, copy, env)
        env.episode.rng = copied(env.episode.rng)  # what is drawn for an answer is not drawn from the copy's stream
        before = marks(env)
        answer = copy.ask(question, *args)
        if question == "env_method" and marks(env) != before:
            raise RuntimeError(_REFUSED.format(args[0]))
        return answer

    def _infos(self, *given: Any) -> Iterable[Any]:
        return EndInfos(*given) if self._choice.lean else super()._infos(*given)

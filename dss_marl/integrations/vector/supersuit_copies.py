"""Environment copies for SuperSuit, with a channel for requests."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import uuid
from typing import Any

from dss_marl.envs.flattening import ByAgent
from dss_marl.integrations.vector.copies import Copy, Infos, MakeEnv, Start
from dss_marl.integrations.vector.workers import Failure


class SuperSuitCopy(Copy):
    """A copy for SuperSuit, which copies by pickling: here that builds a new environment from the factory.

    So only the factory must be picklable, not the environment.
    """

    def __init__(self, make_env: MakeEnv) -> None:
        super().__init__(make_env)
        self._make_env = make_env
        self._token = uuid.uuid4().hex  # identifies this copy, which does not know its index among the others
        self._start: Start = (None, None)
        self._closed = False

    def __reduce__(self) -> tuple[Any, ...]:
        return SuperSuitCopy, (self._make_env,)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[ByAgent, ByAgent]:
        """Start an episode as prepared, without infos, which SuperSuit would write over those of the terminal step."""
        (seed, options), self._start = self._start, (None, None)
        observations, _ = super().reset(seed=seed, options=options)
        return observations, {agent: {} for agent in self.layout.agents}

    def close(self) -> None:
        """Close the environment, once: SuperSuit closes those of this process again."""
        if not self._closed:
            self._closed = True
            super().close()

    def prepare(self, start: Start) -> None:
        """Store seed and options for the next reset."""
        self._start = start

    def last_reset_infos(self) -> Infos:
        """The infos of the last reset, per agent."""
        return self.reset_infos

    def answer(self, request: dict[str, tuple[Any, ...]] | None) -> list[Any]:
        """Answer a request sent to all copies, as a list of one.

        Args:
            request: token -> (method, ...arguments), or None for the token and an identity of the environment.
        """
        if request is None:
            return [(self._token, (os.getpid(), id(self.unwrapped)))]
        if self._token not in request:
            return [None]
        name, *args = request[self._token]
        try:
            value = getattr(self, name)(*args)
            if multiprocessing.parent_process() is not None:
                pickle.dumps(value)  # a SuperSuit worker would crash on sending an object that cannot be pickled
        except Exception as error:  # and on any exception
            return [Failure(error)]
        return [value]

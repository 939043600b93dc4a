"""Environments as SuperSuit copies them, within reach of one request."""

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
    """A copy as SuperSuit makes them: by pickling, which here builds a new environment from the factory.

    So the factory has to be picklable, but no environment has to.
    """

    def __init__(self, make_env: MakeEnv) -> None:
        super().__init__(make_env)
        self._make_env = make_env
        self._token = uuid.uuid4().hex  # what this copy is called; it cannot know its place among the others
        self._start: Start = (None, None)
        self._closed = False

    def __reduce__(self) -> tuple[Any, ...]:
        return SuperSuitCopy, (self._make_env,)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[ByAgent, ByAgent]:
        """Start an episode as prepared, with no infos: SuperSuit would write them over those of the terminal step."""
        (seed, options), self._start = self._start, (None, None)
        observations, _ = super().reset(seed=seed, options=options)
        return observations, {agent: {} for agent in self.layout.agents}

    def close(self) -> None:
        """Close the environment, once: SuperSuit closes again those of this process."""
        if not self._closed:
            self._closed = True
            super().close()

    def prepare(self, start: Start) -> None:
        """Leave seed and options for the next reset."""
        self._start = start

    def last_reset_infos(self) -> Infos:
        """The infos of the last reset, per agent."""
        return self.reset_infos

    def answer(self, request: dict[str, tuple[Any, ...]] | None) -> list[Any]:
        """Serve a request that went to all copies, as a list of one.

        Args:
            request: token -> (method, *args), or None for the token and an identity of the environment.
        """
        if request is None:
            return [(self._token, (os.getpid(), id(self.unwrapped)))]
        if self._token not in request:
            return [None]
        name, *args = request[self._token]
        try:
            value = getattr(self, name)(*args)
            if multiprocessing.parent_process() is not None:
                pickle.dumps(value)  # a worker of SuperSuit would die of sending what cannot be pickled
        except Exception as error:  # and of any exception
            return [Failure(error)]
        return [value]

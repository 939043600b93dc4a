"""BestResponse: the controller that plays the members' best responses of the day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dss_marl.controllers.planning.community.best_response import best_responses
from dss_marl.controllers.planning.community.day_model import unsupported_reason
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array


class BestResponse:
    """Every member of a community market for itself, with perfect foresight: an equilibrium by iterated best response.

    Its team return is the welfare of selfish play. What that lacks to the cooperative plan, ``best_known``, is the
    price of anarchy. A day takes seconds at its first reset.
    """

    circuit_controls = False

    def __init__(self) -> None:
        self._plans: dict[tuple[str, int], Array] = {}

    def reset(self, env: ZoneEnv) -> None:
        """Compute the day's best responses, unless they are known.

        Raises:
            ValueError: the scenario has no market, or devices or rewards that are not modelled.
        """
        why = unsupported_reason(env.task)
        if why:
            raise ValueError(f"best_response does not support scenario {env.task.scenario.name!r}: {why}")
        key = (env.task.scenario.model_dump_json(), env.day)
        if key not in self._plans:
            self._plans[key] = best_responses(env.task, env.day).requests
        self._requests = self._plans[key]

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The plan's actions of the interval."""
        assert env.now is not None
        return env.task.encoding.encode(self._requests[env.now.step])

"""Branch exchange: open points move one at a time while this improves the coming interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dss_marl.controllers.search.radial_configurations import RadialConfigurations
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import OpenPoints
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import IntArray

_NOISE = 1e-5  # relative change of a reward due to earlier solves


class BranchExchange:
    """Steepest-descent branch exchange on the engine, interval by interval, without foresight.

    It repeatedly makes the exchange of open switches with the highest team reward of the coming interval, until none
    improves it. Switching is priced, so it moves only if a single interval pays for it. Other devices take their
    default action. Source: Baran and Wu, doi:10.1109/61.25627, for losses.
    """

    circuit_controls = False

    def reset(self, env: ZoneEnv) -> None:
        """Look for open points.

        Raises:
            ValueError: the scenario has none.
        """
        if not any(isinstance(group, OpenPoints) for group in env.task.device_groups):
            raise ValueError(
                f"branch_exchange moves open points; scenario {env.task.scenario.name!r} has no device 'open_point'"
            )

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The exchanges at the end of the descent, all requested at once."""
        assert env.now is not None
        trials = TrialSolver(env.simulator)
        search = RadialConfigurations(trials)
        here = search.open_places(env.now)
        if not env.simulator.fleet.can_act(env.now.step)[search.entries].all() or (here < 0).any():
            return env.task.encoding.encode(search.requests(env.task.default_action, here))
        prices, home = search.prices(env.now), set(here.tolist())

        def worth(places: IntArray) -> float:
            moved = home ^ set(places.tolist())
            return search.reward(env.now, places) - float(prices[list(moved)].sum())  # type: ignore[arg-type]

        known: dict[tuple[int, ...], float] = {}
        places = np.sort(here)
        best = worth(places)
        while True:
            around = [one for one in search.neighbours(places) if tuple(one.tolist()) not in known]
            known |= {tuple(one.tolist()): worth(one) for one in around}
            top = max(known, key=lambda one: known[one], default=tuple(places.tolist()))
            if known.get(top, -np.inf) <= best + _NOISE:
                break
            places, best = np.array(top), known[top]
        return env.task.encoding.encode(search.requests(env.task.default_action, search.move_targets(here, places)))

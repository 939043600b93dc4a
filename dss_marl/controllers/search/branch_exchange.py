"""Branch exchange: open points moved one by one as long as that pays in the coming interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dss_marl.controllers.search.radial_configurations import RadialConfigurations
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import OpenPoints
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import IntArray

_NOISE = 1e-5  # of a reward, by what was solved before


class BranchExchange:
    """Steepest branch exchange on the engine, interval by interval, without a look at later ones.

    Of all exchanges of one open place for another it makes the one that the team's reward of the coming interval likes
    best, from there the next, until none helps. The switchings count at their price, so it moves only where the one
    interval pays for them. Other devices stay neutral. Source: Baran and Wu, doi:10.1109/61.25627, for losses.
    """

    circuit_controls = False

    def reset(self, env: ZoneEnv) -> None:
        """Look for open points.

        Raises:
            ValueError: there are none.
        """
        if not any(isinstance(group, OpenPoints) for group in env.task.device_groups):
            raise ValueError(
                f"branch_exchange moves open points; scenario {env.task.scenario.name!r} has no device 'open_point'"
            )

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The exchanges at the end of the descent, all asked for at once."""
        assert env.now is not None
        trials = TrialSolver(env.simulator)
        search = RadialConfigurations(trials)
        here = search.open_places(env.now)
        if not env.simulator.fleet.can_act(env.now.step)[search.slot].all() or (here < 0).any():
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

"""Zone greedy: every zone on its own takes what its own part of the reward likes best in the next interval."""

from __future__ import annotations

from functools import partial

import numpy as np

from dss_marl.controllers.search.greedy import Greedy, coordinate_ascent
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array


class ZoneGreedy(Greedy):
    """One step ahead, zone by zone: what team play is worth shows in what it lacks.

    Each zone searches the entries of its own devices for its own zone's weighted reward terms, as if all other zones
    held; then all act at once. A zone is thus given an exact model of what its own moves do to it, which a learner
    would have to find out, and nothing of what the others need or will do.

    Args:
        solves: most trial power flows of each zone in an interval.
    """

    local = True

    def __init__(self, solves: int = 16) -> None:
        super().__init__(solves)

    def best(self, env: ZoneEnv) -> Array:
        """(F) the requests of all zones together."""
        assert env.now is not None
        trials, now, task = TrialSolver(env.simulator, env.attack), env.now, env.task
        choices, held = self._held(env)
        free = self._moved & env.simulator.fleet.can_act(now.step)
        result = held.copy()
        for z, zone in enumerate(task.zones):
            own = np.flatnonzero(free & np.isin(task.agents.action_layout.entry_device, zone.devices))
            if own.size:
                worth = partial(trials.zone_reward, z, now)
                result[own] = coordinate_ascent(held, own, self._near(choices), worth, self.solves)[own]
        return result

"""Zone greedy: every zone maximises its own share of the reward of the next interval."""

from __future__ import annotations

from functools import partial

import numpy as np

from dss_marl.controllers.search.greedy import Greedy, coordinate_ascent, one_by_one
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array


class ZoneGreedy(Greedy):
    """One step ahead, zone by zone; its gap to team controllers shows the value of coordination.

    Each zone optimises the entries of its own devices for its own weighted reward terms, as if all other zones held;
    then all act simultaneously. A zone thus has an exact model of the effect of its own actions, which a learner would
    have to discover, but no knowledge of the needs or actions of others.

    Args:
        solves: maximum number of trial power flows per zone and interval.
    """

    local = True

    def __init__(self, solves: int = 16) -> None:
        super().__init__(solves)

    def best(self, env: ZoneEnv) -> Array:
        """(F) joint action of all zones."""
        assert env.now is not None
        trials, now, task = TrialSolver(env.simulator, env.attack), env.now, env.task
        choices, held = self._held(env)
        free = self._moved & env.simulator.fleet.can_act(now.step)
        result = held.copy()
        for z, zone in enumerate(task.zones):
            own = np.flatnonzero(free & np.isin(task.agents.action_layout.entry_device, zone.devices))
            if own.size:
                worth = one_by_one(partial(trials.zone_reward, z, now))
                result[own] = coordinate_ascent(held, own, self._near(choices), worth, self.solves)[-1][own]
        return result

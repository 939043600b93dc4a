"""Zone greedy: every zone maximises its own share of the reward of the next interval."""

from __future__ import annotations

from functools import partial

import numpy as np

from dss_marl.controllers.search.greedy import Greedy, confirmed, coordinate_ascent, one_by_one
from dss_marl.controllers.search.trial_batch import COPIES
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
        batched: solve them on the batched engine; see Greedy.
    """

    local = True

    def __init__(self, solves: int = 16, batched: bool = False) -> None:
        super().__init__(solves, batched)

    def best(self, env: ZoneEnv) -> Array:
        """(F) joint action of all zones."""
        assert env.now is not None
        trials, now, task = TrialSolver(env.simulator, env.attack), env.now, env.task
        choices, held = self._held(env)
        free = self._moved & env.simulator.fleet.can_act(now.step)
        result, near = held.copy(), self._near(choices)
        batch = self._batch.of(trials) if self.batched else None
        for z, zone in enumerate(task.zones):
            own = np.flatnonzero(free & np.isin(task.agents.action_layout.entry_device, zone.devices))
            if not own.size:
                continue
            exact = one_by_one(partial(trials.zone_reward, z, now))
            if batch is None:
                result[own] = coordinate_ascent(held, own, near, exact, self.solves)[-1][own]
                continue
            worth = partial(batch.rewards, trials, now, zone=z)
            points = coordinate_ascent(held, own, near, worth, self.solves, COPIES)
            result[own] = confirmed(held, points, exact)[own]
        return result

"""First request, then hold: what a switching task earns if all decisions are made in the first interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dss_marl.controllers.rules.nearest_tie import NearestTie
from dss_marl.controllers.search.constant_search import constants
from dss_marl.controllers.search.greedy import Greedy, coordinate_ascent, one_by_one
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import FeederTies, LoadShedders, OpenPoints, Switches
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array, GridState

_CONSTANTS = 3  # from which the search starts
_SWITCHED = (Switches, FeederTies, OpenPoints, LoadShedders)


class HoldFirst(Greedy):
    """The best request of the first interval, as if that interval lasted all day; then every device holds.

    A search on the engine maximises the reward of the first interval plus that of holding its result for the rest of
    the episode, at the load and PV power of the first interval: switching is paid once and earns in all of them. It
    starts from holding and from the first request of ``nearest_tie``, and knows nothing of the day to come. How far it
    falls short of a plan is what deciding again is worth.

    Args:
        solves: maximum number of candidates in the first interval, of two power flows each.
    """

    def __init__(self, solves: int = 300) -> None:
        super().__init__(solves)

    def reset(self, env: ZoneEnv) -> None:
        """Find the entries to optimise.

        Raises:
            ValueError: the scenario has no switches, open points, feeder ties or load shedders.
        """
        if not any(isinstance(group, _SWITCHED) for group in env.task.device_groups):
            raise ValueError(
                f"hold_first switches once; scenario {env.task.scenario.name!r} has no switches, open points, feeder "
                "ties or load shedders"
            )
        super().reset(env)
        self._nearest = NearestTie()
        try:
            self._nearest.reset(env)
        except ValueError:  # open points only
            self._starts_from_tie = False
        else:
            self._starts_from_tie = True

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The request in the first interval, holding in the others."""
        assert env.now is not None
        if env.now.step == 0:
            return env.task.encoding.encode(self.best(env))
        return env.task.encoding.encode(self._held(env)[1])

    def best(self, env: ZoneEnv) -> Array:
        """(F) the best joint action found for the first interval and all that follow."""
        assert env.now is not None
        now, trials = env.now, TrialSolver(env.simulator, env.attack)
        choices, held = self._held(env)
        entries, near = np.flatnonzero(self._moved & env.simulator.fleet.can_act(now.step)), self._near(choices)
        left = env.task.scenario.steps - 1
        worth = one_by_one(lambda joint_action: _worth(trials, now, joint_action, left))
        starts = [held]
        if self._starts_from_tie:
            starts.append(choices.nearest_allowed(self._nearest.requests(env)))
        grid = [choices.nearest_allowed(np.where(self._moved, row, held)) for row in constants(env.task).values()]
        earned = worth(np.array(grid))
        starts += [grid[k] for k in np.argsort(-earned, kind="stable")[:_CONSTANTS]]
        share = max(self.solves // len(starts), 1)
        ends = np.array([coordinate_ascent(start, entries, near, worth, share)[-1] for start in starts])
        return np.asarray(ends[int(np.argmax(worth(ends)))])


def _worth(trials: TrialSolver, now: GridState, joint_action: Array, left: int) -> float:
    """Team reward of an interval and of holding its result in as many more intervals of the same kind."""
    after = trials.operate(now, joint_action)
    if after is None:
        return -np.inf
    simulator, model = trials.simulator, trials.reward_model
    earned = model.team_reward(now, after)
    setpoints = now.setpoints.copy()
    setpoints.tap, setpoints.closed = after.setpoints.tap.copy(), after.setpoints.closed.copy()
    again = now.replace(setpoints=setpoints, device_state=after.device_state)
    held = trials.operate(again, simulator.hold_action(again))
    return -np.inf if held is None else earned + left * model.team_reward(again, held)

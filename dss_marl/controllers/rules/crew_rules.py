"""Rules for repair crews: where a free crew goes next, and which switches close behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dss_marl.controllers.rules.section_supply import SectionSupply
from dss_marl.devices import Crews
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array, GridState, IntArray


def crews_of(task: Task, who: str) -> int:
    """Index of the crews among a task's device groups.

    Raises:
        ValueError: there are none.
    """
    found = [k for k, group in enumerate(task.device_groups) if isinstance(group, Crews)]
    if not found:
        raise ValueError(f"{who} sends repair crews; scenario {task.scenario.name!r} has no device of kind 'crew'")
    return found[0]


class CrewRule:
    """Sends each free crew to the open job that it likes best, one crew after the other, and closes switches.

    Subclasses define ``likes``. Switches follow as SectionSupply says.
    """

    circuit_controls = False

    def reset(self, env: ZoneEnv) -> None:
        """Find crews and switches.

        Raises:
            ValueError: there are no crews.
        """
        self._k = crews_of(env.task, "the rule")
        group = env.task.device_groups[self._k]
        assert isinstance(group, Crews)
        self._group = group
        self.supply = SectionSupply(env.task, self._group)

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Actions of all agents."""
        return env.task.encoding.encode(self.requests(env))

    def requests(self, env: ZoneEnv) -> Array:
        """(F) joint action for the coming interval."""
        now = env.now
        assert now is not None
        joint_action = self.supply.closings(env.simulator, now)
        entries = env.task.agents.action_layout.by_group(joint_action)[self._k]
        for d, q in enumerate(self.jobs(env, now).tolist()):
            if q >= 0:
                entries[d, 0] = self._group.entry(q)
        return joint_action

    def jobs(self, env: ZoneEnv, now: GridState) -> IntArray:
        """(D) the section that each crew is sent to, -1 for none."""
        state = env.simulator.fleet.states(now.device_state)[self._k]
        return self.choose(state, self.supply.weighted_kw(now))

    def choose(self, state: Array, weighted_kw: Array) -> IntArray:
        """(D) the same from the state of the crews; arguments as of ``likes``."""
        left, free = self._group.open_jobs(state), self._group.free(state)
        chosen = np.full(self._group.size, -1)
        if not free.any():
            return chosen
        liking = self.likes(state, weighted_kw)
        for d in np.flatnonzero(free):
            if left[d].any():
                chosen[d] = int(np.argmax(np.where(left[d], liking[d], -np.inf)))
                left[:, chosen[d]] = False
        return chosen

    def likes(self, state: Array, weighted_kw: Array) -> Array:
        """(D, Q) how much each crew likes each section; the highest is chosen.

        Args:
            state: (D, K) of the crews.
            weighted_kw: (Q) load of each section times its priority, energised or not [kW].
        """
        raise TypeError(f"{type(self).__name__} must define likes(state, weighted_kw)")


class NearestSection(CrewRule):
    """Each free crew goes to the nearest section that needs one; at a fault that it has found, it stays and repairs.

    Of two at the same distance, the one with the larger load.
    """

    def likes(self, state: Array, weighted_kw: Array) -> Array:
        """See CrewRule."""
        km = self._group.sections.travel_km[state[:, 0].astype(int)]
        return np.asarray(1e-9 * weighted_kw - km)


class PriorityFirst(CrewRule):
    """Each free crew goes to the section with the largest load, weighted by priority, among those that need one."""

    def likes(self, state: Array, weighted_kw: Array) -> Array:
        """See CrewRule."""
        return np.broadcast_to(weighted_kw, (len(state), len(weighted_kw)))


class RestoreMost(CrewRule):
    """Each free crew goes to the section that promises to restore most load, weighted by priority.

    A section promises its own load, and half of what the neighbours behind it promise; a third of it for each section
    on the way from the supply that still needs a crew.
    """

    def likes(self, state: Array, weighted_kw: Array) -> Array:
        """See CrewRule."""
        layers = self.supply.layers(self._group.known(state) > 0)
        promised = self.supply.with_downstream(weighted_kw, layers) * 0.3 ** np.maximum(layers - 1, 0)
        return np.broadcast_to(promised, (len(state), len(promised)))

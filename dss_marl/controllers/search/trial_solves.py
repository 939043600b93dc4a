"""Trials: what the team would earn in an interval, one power flow each."""

from __future__ import annotations

import numpy as np

from dss_marl.engines.base import PowerFlowError
from dss_marl.envs.simulator import Plant
from dss_marl.grid.state import Array, GridState
from dss_marl.mdp.adversary import Attack
from dss_marl.zones import over_zones


class Trials:
    """Judges requests by the scenario's own reward.

    Args:
        plant: on a day; it is asked, and not moved.
        attack: what hostile agents do to the requests.

    Attributes:
        spent: power flows so far.
    """

    def __init__(self, plant: Plant, attack: Attack | None = None) -> None:
        self.plant = plant
        self.attack = attack
        self.task = plant.task
        self.spent = 0

    def reward(self, now: GridState, flat: Array) -> float:
        """The team's reward if the devices were asked ``flat``; -inf where the power flow fails.

        Args:
            now: before the interval.
            flat: (F) in [-1, 1].
        """
        after = self.after(now, flat)
        return -np.inf if after is None else self.judged(now, after)

    def zone(self, place: int, now: GridState, flat: Array) -> float:
        """What one zone's own reward terms would be; -inf where the power flow fails.

        Args:
            place: of the zone among the task's zones.
            now, flat: as for ``reward``.
        """
        after, zone = self.after(now, flat), self.task.zones[place]
        if after is None:
            return -np.inf
        return sum(weight * float(term(zone, now, after)) for weight, term in self.task.rewards.values())

    def after(self, now: GridState, flat: Array) -> GridState | None:
        """The interval as these requests would make it; None where the power flow fails."""
        self.spent += 1
        if self.attack is not None:
            flat = self.attack.act(flat, self.task.agents.slots.entry_agent, now)
        try:
            return self.plant.operate(now, flat)[0]
        except PowerFlowError:
            return None

    def judged(self, before: GridState, after: GridState, without: frozenset[str] = frozenset()) -> float:
        """Sum of the weighted reward terms over all zones.

        Args:
            before, after: states around the step.
            without: terms that are left out.
        """
        task, total = self.task, 0.0
        for name, (weight, term) in task.rewards.items():
            if name not in without:
                values = over_zones(term, task.zones, task.stacked, before, after)
                total += weight * float(np.broadcast_to(values, len(task.zones)).sum())
        return total

"""Islands in the day program: grid-forming units with trip limits and fuel."""

from __future__ import annotations

import numpy as np

from dss_marl.devices import Generators
from dss_marl.devices.generator import UNBALANCE
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, GridState, Interval
from dss_marl.mdp.rewards import stored_energy, unserved, unserved_device_energy

MARGINS = (0.02, 0.002)  # of a rating, for linearisation errors: large at first, small for small steps
_KEPT = 3e-4  # fuel reserve as a share of the tank: running out a minute early means an outage of one interval
_DEAR = 20.0  # penalty per kWh beyond a limit, in multiples of the highest load weight: a trip blacks out the island


def feed_islands(task: Task, group: Generators) -> bool:
    """Whether every unit of a group forms an island of its own by default."""
    setpoints = task.start.copy()
    group.hold(group.initial(), setpoints, Interval(0, task.scenario.start_hour, task.scenario.dt_h))
    return bool((group.grid_forming_units >= 0).all() and setpoints.closed[group.grid_forming_units].all())


class IslandLimits:
    """The grid-forming units of a task's islands, if any.

    Args:
        task: whose generators, if any, all ``feed_islands``.

    Attributes:
        tanks: (G) energy of the fuel of each [kWh]; inf if unlimited.
        per_kwh: (G) cost of a kWh of fuel; 0 without a tank.
        dt_h: length of an interval [h].
        beyond_kwh: penalty per kWh beyond a limit in the program.
        margin: share of the ratings kept in reserve.
    """

    def __init__(self, task: Task) -> None:
        groups = [group for group in task.device_groups if isinstance(group, Generators)]
        weight = task.reward_model.weight
        self._groups, self.dt_h = groups, task.scenario.dt_h
        self.margin = MARGINS[-1]
        empty = [np.zeros(0)]
        self.tanks = np.concatenate([*empty, *(group.tank_kwh for group in groups)]) * (1 - _KEPT)
        self.per_kwh = np.isfinite(self.tanks) * weight(stored_energy) / 1000
        priorities = [1.0] if task.priorities is None else task.priorities.class_weight
        self.beyond_kwh = _DEAR * weight(unserved_device_energy, unserved) * float(max(priorities)) / 1000

    @property
    def size(self) -> int:
        """Number of units G."""
        return len(self.tanks)

    def any_tripped(self, after: GridState) -> bool:
        """Whether any of them has tripped."""
        return not all(after.setpoints.closed[group.grid_forming_units].all() for group in self._groups)

    def given_kw(self, after: GridState) -> Array:
        """(G) output of each [kW]."""
        kw = [after.solution.grid_forming_kw[group.places].sum(axis=-1) for group in self._groups]
        return np.concatenate([np.zeros(0), *kw])

    def fuel_cost(self, after: GridState) -> float:
        """Cost of the fuel in the interval."""
        return float(self.per_kwh @ self.given_kw(after)) * self.dt_h

    def excess(self, after: GridState) -> Array:
        """(6 G) excess of each over its kW, 0, kVA and phase limits, with a margin [kW, kVA]."""
        found = [np.zeros(0)]
        for group in self._groups:
            kw, kvar = after.solution.grid_forming_kw[group.places], after.solution.grid_forming_kvar[group.places]
            total, phase = kw.sum(axis=-1), UNBALANCE * group.kva[:, None] / 3
            over = np.stack([total - group.kw, -total, np.hypot(total, kvar.sum(axis=-1)) - group.kva], axis=-1)
            found.append((over + self.margin * group.kw[:, None]).ravel())
            found.append((np.hypot(kw, kvar) - (1 - self.margin) * phase).ravel())
        return np.concatenate(found)

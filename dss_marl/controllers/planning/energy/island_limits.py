"""Islands: what feeds them in a day's programme, the limits at which it trips, and its fuel."""

from __future__ import annotations

import numpy as np

from dss_marl.devices import Generators
from dss_marl.devices.generator import UNBALANCE
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, GridState, Interval
from dss_marl.mdp.rewards import stored_energy, unserved, unserved_device_energy

MARGINS = (0.02, 0.002)  # of a rating, for what the programme's slopes miss: much while steps are large, then little
_KEPT = 3e-4  # of a tank, for the solver's tolerance: who runs dry a minute early is dark for an interval
_DEAR = 20.0  # times the dearest load: what a kWh beyond a limit costs, since a trip leaves the whole island dark


def feed_islands(task: Task, group: Generators) -> bool:
    """Whether every unit of a group feeds an island of its own unless somebody tells it to stop."""
    setpoints = task.start.copy()
    group.hold(group.initial(), setpoints, Interval(0, task.scenario.start_hour, task.scenario.dt_h))
    return bool((group.grid_forming_units >= 0).all() and setpoints.closed[group.grid_forming_units].all())


class IslandLimits:
    """The units that feed the islands of a task; none where it has none.

    Args:
        task: whose generators, if any, all ``feed_islands``.

    Attributes:
        tanks: (G) energy that the fuel of each gives [kWh]; inf where it has no end.
        per_kwh: what a kWh of fuel costs; (G), 0 where there is no tank.
        dt_h: length of an interval [h].
        beyond_kwh: what a kWh beyond a limit costs in the programme.
        margin: of the ratings that the programme leaves.
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
        """Whether any of them feeds nothing, because it tripped."""
        return not all(after.setpoints.closed[group.grid_forming_units].all() for group in self._groups)

    def given_kw(self, after: GridState) -> Array:
        """(G) what each gives [kW]."""
        kw = [after.solution.grid_forming_kw[group.places].sum(axis=-1) for group in self._groups]
        return np.concatenate([np.zeros(0), *kw])

    def fuel_cost(self, after: GridState) -> float:
        """What the fuel of the interval costs the team."""
        return float(self.per_kwh @ self.given_kw(after)) * self.dt_h

    def excess(self, after: GridState) -> Array:
        """(6 G) by how much each exceeds, with a margin, its kW, 0, its kVA and what each phase bears [kW, kVA]."""
        found = [np.zeros(0)]
        for group in self._groups:
            kw, kvar = after.solution.grid_forming_kw[group.places], after.solution.grid_forming_kvar[group.places]
            total, phase = kw.sum(axis=-1), UNBALANCE * group.kva[:, None] / 3
            over = np.stack([total - group.kw, -total, np.hypot(total, kvar.sum(axis=-1)) - group.kva], axis=-1)
            found.append((over + self.margin * group.kw[:, None]).ravel())
            found.append((np.hypot(kw, kvar) - (1 - self.margin) * phase).ravel())
        return np.concatenate(found)

"""Islands in the day program: grid-forming generators and batteries, with their trip limits and fuel."""

from __future__ import annotations

import numpy as np

from dss_marl.devices import Batteries, DeviceGroup, Generators
from dss_marl.devices.island_roles import UNBALANCE
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Interval
from dss_marl.mdp.rewards import fuel, unserved, unserved_device_energy

MARGINS = (0.02, 0.002)  # of a rating, for linearisation errors: large at first, small for small steps
_KEPT = 3e-4  # fuel reserve as a share of the tank: running out a minute early means an outage of one interval
_DEAR = 20.0  # penalty per kWh beyond a limit, in multiples of the highest load weight: a trip blacks out the island
_NEVER = -1e6  # excess of a unit that is off


def feed_islands(task: Task, group: Generators) -> bool:
    """Whether every unit of a group forms an island of its own by default."""
    setpoints = task.start.copy()
    group.hold(group.initial(), setpoints, Interval(0, task.scenario.start_hour, task.scenario.dt_h))
    return bool((group.grid_forming_units >= 0).all() and setpoints.closed[group.grid_forming_units].all())


class IslandLimits:
    """The units that can form the islands of a task, if any: all its generators, then its forming batteries.

    Args:
        task: whose generators, if any, all ``feed_islands``.

    Attributes:
        generators: number of generators, the first of the units.
        kw, kw_low, kva: (G) limits of what each may deliver [kW, kVA].
        kw_min, slope: (G) minimum load [kW] and fuel per kWh [l] of each; 0 of batteries.
        tanks: (G) fuel of each [l]; inf if unlimited.
        per_l: cost of a litre.
        dt_h: length of an interval [h].
        beyond_kwh: penalty per kWh beyond a limit in the program.
        margin: share of the ratings kept in reserve.
    """

    def __init__(self, task: Task) -> None:
        self._task, self.dt_h, self.margin = task, task.scenario.dt_h, MARGINS[-1]
        groups = [group for group in task.device_groups if isinstance(group, Generators)]
        stores = [group for group in task.device_groups if isinstance(group, Batteries) and group.roles is not None]
        self.generators = sum(group.size for group in groups)
        self.switches, self.places = self._rows([*groups, *stores])
        self.kw = _joined([*(g.kw for g in groups), *(b.kw[_able(b)] for b in stores)])
        self.kva = _joined([*(g.kva for g in groups), *(b.kva[_able(b)] for b in stores)])
        self.kw_low = np.where(np.arange(self.size) < self.generators, 0.0, -self.kw)
        none = np.zeros(self.size - self.generators)
        self.kw_min = _joined([*(g.kw_min for g in groups), none])
        self.slope = _joined([*(g.fuel.slope_l_per_kwh for g in groups), none])
        self.tanks = _joined([*(g.tank_l for g in groups), none + np.inf]) * (1 - _KEPT)
        first = np.cumsum([0, *(group.size for group in task.device_groups)])
        self._devices = np.concatenate(
            [
                np.zeros(0, np.int64),
                *(first[k] + np.arange(g.size) for k, g in enumerate(task.device_groups) if g in groups),
            ]
        )
        self.per_l = task.reward_model.weight(fuel)
        priorities = [1.0] if task.priorities is None else task.priorities.class_weight
        self.beyond_kwh = _DEAR * task.reward_model.weight(unserved_device_energy, unserved) * max(priorities) / 1000
        self._alive = self._lit() if self.size else np.zeros(0, bool)

    @staticmethod
    def _rows(groups: list[DeviceGroup]) -> tuple[IntArray, IntArray]:
        """(G) rows of the units in Feeder.switches, and their places in Solution.grid_forming_kw."""
        none = [np.zeros(0, np.int64)]
        roles = [group.roles for group in groups]  # type: ignore[attr-defined]
        return (
            np.concatenate([*none, *(one.switches[one.able] for one in roles)]),
            np.concatenate([*none, *(one.places[one.able] for one in roles)]),
        )

    def _lit(self) -> BoolArray:
        """(N) the nodes that are energised by default."""
        task, setpoints = self._task, self._task.start.copy()
        for group in task.device_groups:
            if isinstance(group, Generators | Batteries):
                group.hold(group.initial(), setpoints, Interval(0, task.scenario.start_hour, self.dt_h))
        return np.asarray(task.feeder.energised(setpoints.closed))

    @property
    def size(self) -> int:
        """Number of units G."""
        return len(self.kw)

    def dark(self, after: GridState) -> bool:
        """Whether an island, or a part of it, is de-energised."""
        return self.size > 0 and not bool(after.solution.energised[self._alive].all())

    def on(self, after: GridState) -> BoolArray:
        """(G) which of them form an island."""
        return np.asarray(after.setpoints.closed[self.switches])

    def given_kw(self, after: GridState) -> Array:
        """(G) output of each [kW]."""
        return np.asarray(after.solution.grid_forming_kw[self.places].sum(axis=-1))

    def fuel_l(self, after: GridState) -> Array:
        """(generators) fuel burned in the interval [l]."""
        return np.asarray(after.fuel_l[self._devices])

    def excess(self, after: GridState) -> Array:
        """(6 G) excess of each over its highest and lowest kW, kVA and phase limits, with a margin [kW, kVA]."""
        kw, kvar = (x[self.places] for x in (after.solution.grid_forming_kw, after.solution.grid_forming_kvar))
        total, phase = kw.sum(axis=-1), UNBALANCE * self.kva[:, None] / 3
        rows = [total - self.kw, self.kw_low - total, np.hypot(total, kvar.sum(axis=-1)) - self.kva]
        over = np.stack(rows, axis=-1) + self.margin * self.kw[:, None]
        both = np.concatenate([over, np.hypot(kw, kvar) - (1 - self.margin) * phase], axis=-1)
        return np.where(self.on(after)[:, None], both, _NEVER).ravel()


def _able(group: Batteries) -> IntArray:
    assert group.roles is not None
    return group.roles.able


def _joined(parts: list[Array]) -> Array:
    return np.concatenate([np.zeros(0), *parts])

"""Load following with cycle charging: a microgrid rule that stops the generator while a battery can hold the island."""

from __future__ import annotations

import numpy as np

from dss_marl.controllers.rules.load_rationing import LoadRationing
from dss_marl.devices import Batteries, Generators
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array

_EMPTY, _CHARGED = 0.25, 0.75  # shares of the usable charge at which generators start and may stop
_CARRIES = 0.85  # share of the forming batteries' rating up to which they hold the island
_LOADED = 0.85  # share of the generators' rating at which they run
_FULL, _RELIEF = 0.95, 0.1  # from this share of the usable charge on, PV units leave this share of the load
_SURE = 0.95  # of the fuel, of which some is lost in the batteries
_SHORTEST_H = 1.0  # time that a generator runs at least


class LoadFollowing(LoadRationing):
    """As ``rationing``, and schedules the generators.

    While a grid-forming battery holds the island the generators are off. They start when it is nearly empty or the load
    exceeds what it can carry, then run near their rating, where a kWh takes the least fuel, and charge the batteries
    with what the load leaves (cycle charging); they stop once these are charged or PV units cover the load.
    """

    def reset(self, env: ZoneEnv) -> None:
        """Find the devices.

        Raises:
            ValueError: as of ``rationing``, or no battery can form an island.
        """
        super().reset(env)
        groups = [g for g in env.task.device_groups if isinstance(g, Batteries) and g.roles is not None]
        if not groups:
            raise ValueError(
                f"load_following needs a battery with forming: true; scenario {env.task.scenario.name!r} has none"
            )
        self._ran_h = np.inf

    def _limits(
        self, task: Task, device_states: list[Array], spare: float, energy: tuple[float, float, float]
    ) -> tuple[float, float]:
        charge, carried = self._batteries(task, device_states)
        if self._on:
            least = float(sum(unit.kw_min.sum() for unit in self._units))
            idle = spare < least and charge > _EMPTY
            self._on = not (self._ran_h >= _SHORTEST_H and spare < carried and (charge > _CHARGED or idle))
        else:
            self._on = (charge < _EMPTY and spare > 0) or spare > carried
        self._ran_h = self._ran_h + task.scenario.dt_h if self._on else 0.0
        if not self._on:
            return 0.0, 0.0
        level = _LOADED * self._rating
        level = min(level, self._fuel_kw(task, device_states))
        return (level, max(level, super()._limits(task, device_states, spare, energy)[0]))

    def _batteries(self, task: Task, device_states: list[Array]) -> tuple[float, float]:
        """Charge of all batteries as a share of what is usable, and what the forming ones carry [kW]."""
        stored = usable = carried = 0.0
        for group, device_state in zip(task.device_groups, device_states, strict=True):
            if isinstance(group, Batteries):
                stored += float((group.stored_kwh(device_state) - group.minimum * group.kwh).sum())
                usable += float(((group.maximum - group.minimum) * group.kwh).sum())
                if group.roles is not None:
                    carried += float(group.kw[group.roles.able].sum())
        return stored / usable, _CARRIES * carried

    def _brim(self, task: Task, device_states: list[Array]) -> float:
        return _RELIEF if self._batteries(task, device_states)[0] > _FULL else 0.0

    def _per_kwh(self, unit: Generators, device_state: Array, hours: float) -> Array:
        """(D) energy that the fuel of each unit gives at the load at which it runs [kWh]."""
        rate = unit.fuel.burned_l(_LOADED * unit.kw, 1.0) / (_LOADED * unit.kw)
        return np.asarray(_SURE * unit.left_l(device_state) / rate)

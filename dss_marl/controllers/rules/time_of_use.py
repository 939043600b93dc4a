"""Time of use: a common rule that charges batteries when energy is cheap and discharges when it is expensive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dss_marl.controllers.rules.droop import Droop
from dss_marl.controllers.rules.typical_day import intervals_ahead, mean_day
from dss_marl.devices import Batteries, EVChargers, FlexibleLoads, Inverters
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array


class TimeOfUse(Droop):
    """A fixed schedule from typical prices: batteries charge in the cheapest and discharge in the dearest intervals.

    Each uses as many intervals as it takes to fill or empty it. Flexible loads shed in the most expensive hour and a
    half of the morning and of the evening. EVs that lend do so in the dearest intervals of the afternoon and evening,
    as many as their energy lasts for, and do not charge in the dearer half of these. Inverters, if any, follow their
    droop; the circuit's own controls run.
    """

    def reset(self, env: ZoneEnv) -> None:
        """Compute the schedule.

        Raises:
            ValueError: the scenario has neither batteries nor flexible loads nor EVs that lend.
        """
        groups = env.task.device_groups
        if not any(
            isinstance(group, Batteries | FlexibleLoads) or (isinstance(group, EVChargers) and group.wears)
            for group in groups
        ):
            raise ValueError(
                "time_of_use needs batteries, flexible loads or EVs that lend (v2g_kwh); scenario "
                f"{env.task.scenario.name!r} has none of them"
            )
        self._inverters = any(isinstance(group, Inverters) for group in groups)
        if self._inverters:
            super().reset(env)
        if getattr(self, "_task", None) is not env.task:
            self._task, self._timetable = env.task, timetable(env.task)

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Scheduled actions of the interval, and the inverters' droop."""
        return super().act(env, observations) if self._inverters else env.task.encoding.encode(self._others(env))

    def _others(self, env: ZoneEnv) -> Array:
        assert env.now is not None
        return self._timetable[intervals_ahead(env.task, env.now.step, 1)[0]].copy()


def timetable(task: Task) -> Array:
    """(T, F) joint actions by interval of the day from midnight."""
    price, dt_h = mean_day(task).price, task.scenario.dt_h
    table = np.tile(task.default_action, (len(price), 1))
    for part, shape, group in zip(
        task.agents.action_layout.parts, task.agents.action_layout.shapes, task.device_groups, strict=True
    ):
        entries = table[:, part].reshape(len(price), *shape)  # a view
        if isinstance(group, Batteries):
            usable = (group.maximum - group.minimum) * group.kwh / group.kw / dt_h  # intervals at full power
            for d in range(group.size):
                entries[_cheapest(price, usable[d] / group.charging[d]), d, 0] = -1.0
                entries[_cheapest(-price, usable[d] * group.discharging[d]), d, 0] = 1.0
        elif isinstance(group, FlexibleLoads):
            half = len(price) // 2
            count = 1.5 / dt_h
            dear = np.r_[_cheapest(-price[:half], count), half + _cheapest(-price[half:], count)]
            entries[dear] = 1.0
        elif isinstance(group, EVChargers):
            half = len(price) // 2
            lasting = group.v2g_kwh * group.efficiency / group.kw / dt_h  # intervals at full power
            for d in np.flatnonzero(group.lends).tolist():
                entries[half + _cheapest(-price[half:], half / 2), d] = 0.0
                entries[half + _cheapest(-price[half:], lasting[d]), d] = -1.0
        table[:, part] = entries.reshape(len(price), -1)
    return table


def _cheapest(price: Array, count: float) -> Any:
    """The ``count`` intervals with the lowest price, rounded up, at most half of all."""
    return np.argsort(price, kind="stable")[: min(int(np.ceil(count)), len(price) // 2)]

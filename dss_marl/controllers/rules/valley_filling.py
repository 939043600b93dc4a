"""Valley filling: EVs charge in the valleys of the load before they leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dss_marl.controllers.rules.typical_day import TypicalDay, intervals_ahead, mean_day
from dss_marl.devices import EVChargers
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array

_SOON = 1e-9  # [h]


class ValleyFilling:
    """Each connected EV charges when the feeder load is lowest before its departure, replanned in each interval.

    It knows the connected EVs with their energy due and departure, the load forecast, and typical load beyond it, but
    no future arrivals. EVs are scheduled in the order of departure.
    """

    circuit_controls = False

    def reset(self, env: ZoneEnv) -> None:
        """Find the chargers.

        Raises:
            ValueError: the scenario has none.
        """
        task = env.task
        places = [k for k, group in enumerate(task.device_groups) if isinstance(group, EVChargers)]
        if not places:
            raise ValueError(f"valley_filling needs chargers; scenario {task.scenario.name!r} has none")
        self._place = places[0]
        if getattr(self, "_task", None) is not task:
            self._task: Task = task
            self._typical: TypicalDay = mean_day(task)

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Power of each EV in the coming interval, from a schedule that flattens the load."""
        assert env.now is not None
        task, now, action_layout = env.task, env.now, env.task.agents.action_layout
        group, dt_h = task.device_groups[self._place], task.scenario.dt_h
        assert isinstance(group, EVChargers)
        own = env.simulator.fleet.states(now.device_state)[self._place]
        there, _, left, needed = group.telemetry(own, now.setpoints, now).T[:4]
        stay_h = 24 * left
        kwh = needed * stay_h * group.kw  # from the grid
        steps = max(int(np.ceil(stay_h.max() / dt_h - _SOON)), 1)
        load = self._load(env, steps)
        share = np.zeros(group.size)
        for d in sorted(np.flatnonzero((there > 0) & (kwh > 0)), key=lambda d: stay_h[d]):
            hours = np.clip(stay_h[d] - dt_h * np.arange(steps), 0.0, dt_h)
            power = _filled(load, hours, kwh[d], group.kw[d])
            load += power * hours / dt_h
            share[d] = power[0] / group.kw[d]
        joint_action = task.default_action.copy()
        joint_action[action_layout.parts[self._place]] = group.entry(share)
        return task.encoding.encode(joint_action)

    def _load(self, env: ZoneEnv, steps: int) -> Array:
        """(steps) the feeder's load in the coming intervals: the forecast, then typical days [kW]."""
        assert env.now is not None
        load = self._typical.load_kw[intervals_ahead(env.task, env.now.step, steps)].astype(float)
        known = -env.now.forecast[:steps, env.task.feeder.loads].sum(-1)
        load[: len(known)] = known
        return load


def _filled(load: Array, hours: Array, kwh: float, kw: float) -> Array:
    """(S) power that fills the valleys of a load up to a common level, by bisection.

    Args:
        load: (S) load before charging [kW].
        hours: (S) connected time in each interval [h].
        kwh: total energy; the maximum possible if that is less [kWh].
        kw: maximum power [kW].
    """
    low, high = float(load.min()), float(load.max()) + kw
    for _ in range(40):
        level = (low + high) / 2
        enough = np.clip(level - load, 0.0, kw) @ hours >= kwh
        low, high = (low, level) if enough else (level, high)
    return np.asarray(np.clip(high - load, 0.0, kw) * (hours > 0))

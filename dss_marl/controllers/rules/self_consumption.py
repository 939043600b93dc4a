"""Self-consumption: the common rule of home batteries, which keep what the roof has left for the house."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dss_marl.devices import Batteries
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv


class SelfConsumption:
    """Every battery takes in what the PV units at its bus deliver beyond the loads there, and covers what they lack.

    It looks neither at prices nor at the grid. Other devices stay at their default action.
    """

    circuit_controls = False
    local = True

    def reset(self, env: ZoneEnv) -> None:
        """Find what is behind the meter of each battery.

        Raises:
            ValueError: the scenario has no battery at a bus with a PV unit and a load.
        """
        self._task, self._group, self._part = _batteries(env.task)
        injections = env.task.feeder.injections
        self._behind = np.array(
            [[row.bus == bus and row.kind in ("load", "inverter") for row in injections] for bus in self._group.buses]
        ).astype(float)
        kinds = [{row.kind for row in injections if row.bus == bus} for bus in self._group.buses]
        if not any({"load", "inverter"} <= own for own in kinds):
            raise ValueError(
                f"self_consumption needs a battery at a bus with a load and a PV unit; "
                f"scenario {env.task.scenario.name!r} has none"
            )

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The power that balances each house in the coming interval."""
        assert env.now is not None
        joint_action = self._task.default_action.copy()
        lacking_kw = -(self._behind @ env.now.available)
        entries = joint_action[self._part].reshape(self._group.size, -1)
        entries[:, 0] = np.clip(lacking_kw / self._group.kw, -1.0, 1.0)
        joint_action[self._part] = entries.ravel()
        return self._task.encoding.encode(joint_action)


def _batteries(task: Task) -> tuple[Task, Batteries, slice]:
    for group, part in zip(task.device_groups, task.agents.action_layout.parts, strict=True):
        if isinstance(group, Batteries):
            return task, group, part
    raise ValueError(f"self_consumption needs batteries; scenario {task.scenario.name!r} has none")

"""Ablations: controllers that should not suffice, with constant actions or only some of the devices."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from dss_marl.controllers import Controller, WrappedController
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array

Device = tuple[str, str]  # class of the kind, and name


class ConstantController:
    """Requests the same joint action in every interval.

    Args:
        joint_action: (F) in [-1, 1].
    """

    circuit_controls = False

    def __init__(self, joint_action: Array) -> None:
        self.joint_action = joint_action

    def reset(self, env: ZoneEnv) -> None:
        """Nothing to prepare."""

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The constant actions."""
        return env.task.encoding.encode(self.joint_action)


class PartialController(WrappedController):
    """Another controller's requests for some devices; the other devices are neutral.

    Args:
        whole: the controller.
        devices: devices that act, or that do not.
        without: True: these are the devices that do not act.
    """

    def __init__(self, whole: Controller, devices: Collection[Device], without: bool = False) -> None:
        super().__init__(whole)
        self.devices = frozenset(devices)
        self.without = without

    def reset(self, env: ZoneEnv) -> None:
        """Find the devices' entries.

        Raises:
            ValueError: the environment has none of the devices; the circuit's own controls may operate them.
        """
        self.whole.reset(env)
        named = np.array([device in self.devices for device in devices_of(env.task)])
        if not named.any():
            raise ValueError(f"none of {sorted(self.devices)} is in scenario {env.task.scenario.name!r} as simulated")
        self._acting = (named ^ self.without)[env.task.agents.action_layout.entry_device]

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The requests for the selected devices, neutral for the others."""
        encoding = env.task.encoding
        requested = encoding.decode(self.whole.act(env, observations)).joint_action
        return encoding.encode(np.where(self._acting, requested, env.task.default_action))


class ReplayController(WrappedController):
    """Another controller's requests, recorded when it controlled all devices on that day.

    Replaying them for some of the devices costs only power flows, instead of seconds of computation per day.

    Args:
        whole: the controller.
    """

    def __init__(self, whole: Controller) -> None:
        super().__init__(whole)
        self._requests: dict[tuple[int, int], Array] = {}  # by day and step

    def reset(self, env: ZoneEnv) -> None:
        """Reset the other controller if the day is not recorded."""
        self._known = (env.day, env.task.scenario.steps - 1) in self._requests
        if not self._known:
            self.whole.reset(env)

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The recorded request of this interval; requested and recorded now if the day is new."""
        assert env.now is not None
        at, encoding = (env.day, env.now.step), env.task.encoding
        if not self._known:
            self._requests[at] = encoding.decode(self.whole.act(env, observations)).joint_action
        return encoding.encode(self._requests[at])


def devices_of(task: Task) -> list[Device]:
    """Every device, kind by kind."""
    return [(type(group).__name__, name) for group in task.device_groups for name in group.names]


def extremes(task: Task, device: int) -> list[Array]:
    """(F) each: one device at the minimum and at the maximum of all its entries, the others neutral."""
    found = []
    for value in (1.0, -1.0):
        joint_action = task.default_action.copy()
        joint_action[task.agents.action_layout.entry_device == device] = value
        found.append(joint_action)
    return found

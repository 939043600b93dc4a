"""ObservationModel: the agents' observations of an interval, from their own meters and from messages."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from dss_marl.envs.task import Task
from dss_marl.grid.state import GridState
from dss_marl.mdp.adversary import Attack
from dss_marl.mdp.communication import Messages
from dss_marl.mdp.sensing import Sensing


class ObservationModel:
    """Computes the observations of a task's agents, without masks.

    Args:
        task: defines features and agents.
        sensing: measurement errors; None: perfect measurement.
        messages: features that zones receive from each other.
        attack: on agents, whose messages it may falsify; None: there is none.
    """

    def __init__(self, task: Task, sensing: Sensing | None, messages: Messages, attack: Attack | None = None) -> None:
        self._task, self._sensing, self._messages, self._attack = task, sensing, messages, attack

    def box(self) -> spaces.Box:
        """A new space of one agent's observation, (n) float32."""
        observer, messages = self._task.observer, self._messages
        low = np.concatenate([observer.low, messages.low]).astype(np.float32)
        return spaces.Box(low, np.concatenate([observer.high, messages.high]).astype(np.float32))

    def state_box(self) -> spaces.Box:
        """The space of ``state``."""
        observer, count = self._task.global_observer, len(self._task.zones)
        low, high = observer.low.astype(np.float32), observer.high.astype(np.float32)
        return spaces.Box(np.tile(low, count), np.tile(high, count))

    def labels(self, agent: int) -> list[str]:
        """(n) label of each entry of an agent's observation; "-" is padding."""
        agents, feeder = self._task.agents, self._task.feeder
        own = self._task.observer.labels(agents.views[agent], feeder)
        return own + self._messages.labels(int(agents.zone[agent]), feeder)

    def state_labels(self) -> list[str]:
        """(Z n) label of each entry of ``state``, behind its zone's name; "-" is padding."""
        task = self._task
        views = task.agents.views if task.global_observer is task.observer else task.zones
        named = [(zone.name, task.global_observer.labels(zone, task.feeder)) for zone in views]
        return [label if label == "-" else f"{name}/{label}" for name, labels in named for label in labels]

    def observe(self, now: GridState) -> np.ndarray:
        """(A, n) float32, measured and received in an interval; once per interval, as noise and delays advance."""
        measured = now if self._sensing is None else self._sensing.measured(now)
        rows = self._task.observer.observe(measured)
        if not self._messages.width:
            return rows
        zone, attack = self._task.agents.zone, self._attack
        false = None if attack is None else attack.false_zones(now.step, zone, len(self._task.zones))
        received = self._messages.received(measured, false)[zone]
        return np.concatenate([rows, received.astype(np.float32)], axis=-1)

    def state(self, now: GridState | None, observations: np.ndarray) -> np.ndarray:
        """(Z n) float32: the observations of all zones under perfect sensing.

        Args:
            now: the interval.
            observations: (A, n) of the same interval; reused if each zone is an agent with perfect sensing, because
                recomputing them would double the cost.

        Raises:
            RuntimeError: before ``reset``.
        """
        task = self._task
        if task.global_observer is task.observer and self._sensing is None:
            return observations[:, : len(task.observer.low)].ravel().copy()
        if now is None:
            raise RuntimeError("state needs an episode; call reset first")
        return task.global_observer.observe(now).ravel()

"""What a controller is, and the two that need no thought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array


class Controller(Protocol):
    """Chooses all agents' actions. May look into the environment, which a learned policy does not.

    One's own needs no base class: ``circuit_controls``, ``reset`` and ``act`` are enough. It plays by its name
    ``package.module:name`` wherever controllers are named, see ``controllers.reference``.

    One that uses of each zone only what the zone itself could know, and no plan made by all, says so by
    ``local = True``; see ``is_local``.

    Attributes:
        circuit_controls: True if the circuit's own regulator and capacitor controls run beside it.
    """

    circuit_controls: bool

    def reset(self, env: ZoneEnv) -> None:
        """Called after each reset.

        Raises:
            ValueError: the environment has not what the controller moves.
        """

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Actions of all agents for the coming interval."""


def is_local(controller: Controller) -> bool:
    """Whether the controller knows of each zone only what that zone could know by itself."""
    return bool(getattr(controller, "local", False))


def record_requests(task: Task, day: int, controller: Controller) -> Array | None:
    """(T, F) what a controller asks of all entries on a day; None where it cannot play the task.

    Args:
        task: what there is.
        day: of the year.
        controller: that runs without controls of its own beside those of the task.
    """
    env, rows = ZoneEnv(task, "test"), []
    observations, _ = env.reset(seed=day, options={"day": day})
    try:
        controller.reset(env)
        while env.agents:
            actions = controller.act(env, observations)
            rows.append(task.encoding.decode(actions).joint_action)
            observations = env.step(actions)[0]
    except ValueError:
        return None
    finally:
        env.close()
    return np.array(rows) if len(rows) == task.scenario.steps else None


class NoControl:
    """Every device as if nobody controlled it: all sun, no reactive power, taps and banks where they are, cars at full
    power, batteries idle.
    """

    local = True

    def __init__(self, circuit_controls: bool = False) -> None:
        self.circuit_controls = circuit_controls

    def reset(self, env: ZoneEnv) -> None:
        """Nothing to prepare."""

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Each kind's neutral action."""
        return env.task.encoding.encode(env.task.default_action)


class RandomControl:
    """Uniform actions; the stream is that of the seed and the day, so every day repeats."""

    circuit_controls = False
    local = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._rng = np.random.default_rng(seed)

    def reset(self, env: ZoneEnv) -> None:
        """Begin the day's stream."""
        self._rng = np.random.default_rng([self.seed, env.day])

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Uniform in [-1, 1], at the nearest level where an entry has levels."""
        return env.task.encoding.encode(self._rng.uniform(-1, 1, env.task.agents.action_layout.size))

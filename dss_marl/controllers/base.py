"""The controller interface, and the no-control and random controllers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array


class Controller(Protocol):
    """Chooses the actions of all agents. May access the environment, unlike a learned policy.

    Your own controller needs no base class, only ``reset`` and ``act``. It is named as
    ``package.module:name`` wherever controllers are named, see ``controllers.reference``.

    A controller that uses for each zone only information of that zone, and no common plan, sets ``local = True``; see
    ``is_local``. One that relies on the circuit's own regulator and capacitor controls sets
    ``circuit_controls = True``; see ``uses_circuit_controls``.

    One that acts in a variant of the scenario, with other settings of its devices or circuit, has a method
    ``variant(scenario)`` that returns it, and says in ``acts_with`` what is different; see ``own_variant``.
    """

    def reset(self, env: ZoneEnv) -> None:
        """Called after each reset.

        Raises:
            ValueError: the environment lacks the devices that the controller needs.
        """

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Actions of all agents for the coming interval."""


def is_local(controller: Controller) -> bool:
    """Whether the controller uses only each zone's own information."""
    return bool(getattr(controller, "local", False))


def uses_circuit_controls(controller: Controller) -> bool:
    """Whether the circuit's own regulator and capacitor controls run as well; not, where it does not say so."""
    return bool(getattr(controller, "circuit_controls", False))


# What makes returns comparable; a variant must not change it.
_SAME = (
    *("profiles", "steps", "dt_h", "start_hour", "random_start", "faults", "repair_h", "cold_load", "zones"),
    *("rewards", "objectives", "reward_sharing", "market", "costs", "budgets", "failure_penalty", "priorities"),
    *("band", "excluded_buses"),
)


def own_variant(controller: Controller, scenario: Scenario) -> Scenario:
    """The scenario in which the controller acts, apart from the circuit's own controls; itself, unless it says so.

    A controller says so by a method ``variant(scenario)``, which must return a variant of its own unchanged.

    Raises:
        ValueError: the variant has other days, faults or rewards, so that returns would not be comparable.
    """
    variant = getattr(controller, "variant", None)
    if variant is None:
        return scenario
    changed: Scenario = variant(scenario)
    others = [key for key in _SAME if getattr(changed, key) != getattr(scenario, key)]
    if others:
        raise ValueError(
            f"{type(controller).__name__} acts in a variant of scenario {scenario.name!r} with other {others[0]}; its "
            "returns would not be comparable, so change devices, feeder or actions only"
        )
    return changed


def acts_with(controller: Controller) -> str:
    """What the controller has that the scenario as it stands has not, such as guarded inverters; "" for nothing."""
    return str(getattr(controller, "acts_with", ""))


def place_of(controller: Controller, scenario: Scenario) -> tuple[bool, str]:
    """What controllers have in common that can act in the same environment of a scenario."""
    changed = own_variant(controller, scenario)
    return uses_circuit_controls(controller), "" if changed is scenario else changed.model_dump_json()


class WrappedController:
    """A controller that acts where another one does.

    Args:
        whole: the other one.
    """

    def __init__(self, whole: Controller) -> None:
        self.whole = whole
        self.circuit_controls = uses_circuit_controls(whole)
        self.acts_with = acts_with(whole)

    def variant(self, scenario: Scenario) -> Scenario:
        """That of the other one."""
        return own_variant(self.whole, scenario)


def record_requests(task: Task, day: int, controller: Controller) -> Array | None:
    """(T, F) joint actions of a controller over a day; None if it cannot operate the task.

    Args:
        task: the task.
        day: of the year.
        controller: without circuit controls other than those of the task.
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
    """All devices uncontrolled: full PV power, no reactive power, taps and banks unchanged, EVs charging at full power,
    batteries idle.
    """

    local = True

    def __init__(self, circuit_controls: bool = False) -> None:
        self.circuit_controls = circuit_controls

    def reset(self, env: ZoneEnv) -> None:
        """Nothing to prepare."""

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Default action of each kind."""
        return env.task.encoding.encode(env.task.default_action)


class RandomControl:
    """Uniform random actions; the stream depends on seed and day, so every day is reproducible."""

    circuit_controls = False
    local = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._rng = np.random.default_rng(seed)

    def reset(self, env: ZoneEnv) -> None:
        """Start the random stream of the day."""
        self._rng = np.random.default_rng([self.seed, env.day])

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Uniform in [-1, 1], rounded to the nearest level for discrete entries."""
        return env.task.encoding.encode(self._rng.uniform(-1, 1, env.task.agents.action_layout.size))

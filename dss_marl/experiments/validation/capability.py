"""Capability: rules and agents have the same devices, and may use as much of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dss_marl.controllers import RULES, Controller, Droop, WrappedController
from dss_marl.controllers.planning.bounds.device_ranges import device_range
from dss_marl.devices import DeviceGroup, Inverters
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.validation.check import CheckResult
from dss_marl.grid.state import Array, GridState, Setpoints

ROUNDING = 1e-6  # of a device's range
ALIKE = 0.01  # of the rating, by which the reactive power of rules and agents may differ
_MOST_ENTRIES = 4


class CapabilityUse(NamedTuple):
    """What a controller used on a day, against what agents can.

    Attributes:
        beyond: largest set point outside the agents' range, over that range [1].
        foreign: actions that are not in an agent's action space.
        kvar_share: largest reactive power that any action of an agent gives an inverter, over its rating [1].
    """

    beyond: float
    foreign: int
    kvar_share: float


class CapabilityWatch(WrappedController):
    """A controller, watched: what it requests and what comes of it, against what agents can request.

    Args:
        whole: the controller.
    """

    def __init__(self, whole: Controller) -> None:
        super().__init__(whole)
        self._beyond, self._foreign, self._share = 0.0, 0, 0.0
        self._ranges: list[tuple[Any, Array, Array]] = []

    def reset(self, env: ZoneEnv) -> None:
        """Reset the controller."""
        self.whole.reset(env)

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The controller's actions; the agents' ranges in this interval are noted."""
        actions = self.whole.act(env, observations)
        assert env.now is not None
        self._foreign += sum(not env.action_space(agent).contains(own) for agent, own in actions.items())
        self._ranges = []
        states = env.simulator.fleet.states(env.now.device_state)
        for group, state in zip(env.task.device_groups, states, strict=True):
            if not _has_range(group):
                continue
            low, high = _range(group, state, env)
            self._ranges.append((group.injections, low, high))  # type: ignore[attr-defined]
            if isinstance(group, Inverters):
                kvar = np.maximum(-low[1], high[1])
                self._share = max(self._share, float((kvar / group.kva).max(initial=0.0)))
        return actions

    def see(self, after: GridState) -> None:
        """The interval as operated."""
        points = np.array([after.setpoints.kw, after.setpoints.kvar])
        for injections, low, high in self._ranges:
            own = points[:, injections]
            width = np.maximum(high - low, np.abs(high) + np.abs(low)).max(axis=0) + 1e-9
            off = np.maximum(np.maximum(low - own, own - high), 0.0) / width
            self._beyond = max(self._beyond, float(off.max(initial=0.0)))

    @property
    def use(self) -> CapabilityUse:
        """The result of the day."""
        return CapabilityUse(self._beyond, self._foreign, self._share)


def _has_range(group: DeviceGroup) -> bool:
    """Whether set points of kW and kvar follow from the actions alone; a curve's kvar follows the voltage."""
    entries = len(group.action_labels)
    return hasattr(group, "injections") and 0 < entries <= _MOST_ENTRIES and not group.voltage_dependent


def _range(group: Any, state: Array, env: ZoneEnv) -> tuple[Array, Array]:
    """(2, D) lowest and highest kW and kvar of each device in the coming interval, over the agents' actions.

    A unit may always be out of operation: 0 is in every range.
    """
    assert env.now is not None
    today = env.simulator.conditions
    before = today.setpoints(env.now.step, env.now.setpoints)
    interval = today.interval(env.now.step)
    ranges = [device_range(group, state, one, interval) for one in _supplies(group, before, env)]
    low, high = (np.stack(ends) for ends in zip(*ranges, strict=True))
    return np.minimum(low.min(0), 0.0), np.maximum(high.max(0), 0.0)


def _supplies(group: Any, before: Setpoints, env: ZoneEnv) -> list[Setpoints]:
    """The set points, and those in which units of other kinds form all islands, as one that starts in the interval may.

    A unit that forms an island has no power of its own to set until another takes over.
    """
    roles = getattr(group, "roles", None)
    if roles is None:
        return [before]
    formed = before.copy()
    formed.closed[[s for s in env.task.feeder.grid_forming_units if s not in roles.switches]] = True
    return [before, formed]


def same_capability(
    uses: Mapping[str, Mapping[int, CapabilityUse]], controllers: Mapping[str, Controller]
) -> list[CheckResult]:
    """(k) No rule goes beyond the agents' range, and some curve of inverters goes as far as they.

    Args:
        uses: controller to day to its use.
        controllers: name to each that was run.
    """
    rules = {name: list(own.values()) for name, own in uses.items() if name in RULES and own}
    if not rules:
        return [CheckResult("k", "set points of rules", "none", "", None, "no rule was watched")]
    far = max(rules, key=lambda name: max(one.beyond for one in rules[name]))
    beyond = max(one.beyond for one in rules[far])
    foreign = {name: sum(one.foreign for one in own) for name, own in rules.items()}
    said = ", ".join(f"{name} {count}" for name, count in foreign.items() if count)
    note = f"{len(rules)} rules, {sum(map(len, rules.values()))} days"
    rows = [
        CheckResult(
            "k",
            "set points of rules beyond the agents' range",
            f"{beyond:.1e}" if beyond > ROUNDING else "0",
            f"<= {ROUNDING:g} of the range",
            beyond <= ROUNDING,
            f"{note}; farthest {far}" if beyond > ROUNDING else note,
        ),
        CheckResult("k", "actions of rules that no agent can take", said or "0", "0", not said, note),
    ]
    return rows + _reactive(rules, controllers)


def _reactive(rules: Mapping[str, list[CapabilityUse]], controllers: Mapping[str, Controller]) -> list[CheckResult]:
    """The reactive power that agents may use, against the limit of the curves."""
    agents = max(one.kvar_share for own in rules.values() for one in own)
    curves = {name: one.curve.limit for name, one in controllers.items() if isinstance(one, Droop) and name in RULES}
    if not agents or not curves:
        return []
    limits = {name: min(limit, agents) for name, limit in curves.items()}
    most = max(limits.values())
    short = ", ".join(f"{name} {limit:.2f}" for name, limit in limits.items() if limit < agents - ALIKE)
    note = f"of the rating; limited to less: {short}" if short else "of the rating"
    what, demanded = "reactive power of inverters, by agents and by curves", f"curves >= agents - {ALIKE:g}"
    return [CheckResult("k", what, f"{agents:.2f} and {most:.2f}", demanded, most >= agents - ALIKE, note)]

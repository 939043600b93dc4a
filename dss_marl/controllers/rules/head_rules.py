"""Rules that hold the feeder's import: below the billed peak, or at what the transmission operator asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from dss_marl.controllers.rules.battery_sharing import shared_power
from dss_marl.devices import KINDS, Batteries, DemandMeters, DeviceGroup, FlexibilityRequests, Inverters
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array, GridState
from dss_marl.profiles.splits import spread_days

_Group = TypeVar("_Group", bound=DeviceGroup)
_TYPICAL_DAYS = 60
_BACK = 0.2  # of rated power, at which batteries return to their initial charge between requests


class PeakShaving:
    """Batteries discharge what the import would exceed a level by, and charge below it when they are not full.

    The level is the billed peak so far, and at least the one that full batteries can hold on nine of ten training days.
    Charging takes half of the room below it, as the load of the coming hours is not looked at.
    """

    circuit_controls = False

    def reset(self, env: ZoneEnv) -> None:
        """Find the devices.

        Raises:
            ValueError: the scenario has no demand meter or no battery.
        """
        self._meter = _one(env.task, DemandMeters, "peak_shaving")
        self._batteries = _one(env.task, Batteries, "peak_shaving")
        if getattr(self, "_task", None) is not env.task:
            group = env.task.device_groups[self._batteries]
            assert isinstance(group, Batteries)
            usable = float(((group.maximum - group.minimum) * group.kwh * group.discharging).sum())
            self._task, self._level = env.task, _level_held(env.task, usable, float(group.kw.sum()))

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Powers of the batteries for the coming interval."""
        assert env.now is not None
        task, now, k = env.task, env.now, self._batteries
        states, group = env.simulator.fleet.states(now.device_state), task.device_groups[k]
        assert isinstance(group, Batteries)
        room = max(float(states[self._meter][0, 0]), self._level) - _import_kw(task, now)
        joint_action = task.default_action.copy()
        entries = task.agents.action_layout.by_group(joint_action)[k]
        wanted = -room if room < 0 else -room / 2
        entries[:, 0], _ = shared_power(group, wanted, states[k], task.scenario.dt_h)
        return task.encoding.encode(joint_action)


class FollowRequest:
    """Batteries, then curtailment of PV, supply the change of import that is asked for; all inverters its kvar.

    Each takes a share in proportion to what it can do in the interval. Between requests batteries slowly return to
    their initial charge.
    """

    circuit_controls = False

    def reset(self, env: ZoneEnv) -> None:
        """Find the devices.

        Raises:
            ValueError: the scenario has no flexibility request or no battery.
        """
        self._request = _one(env.task, FlexibilityRequests, "follow_request")
        _one(env.task, Batteries, "follow_request")

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Powers of all devices for the coming interval."""
        assert env.now is not None
        task, now = env.task, env.now
        states = env.simulator.fleet.states(now.device_state)
        request = task.device_groups[self._request]
        assert isinstance(request, FlexibilityRequests)
        dt_h = task.scenario.dt_h
        active, change_kw, kvar = request.asked(states[self._request], now.step * dt_h, dt_h)[0]
        joint_action = task.default_action.copy()
        parts = task.agents.action_layout.by_group(joint_action)  # views
        baseline = -float(now.available.sum()) * (1 + float(request.loss_share[0]))
        lacking = _import_kw(task, now) - (baseline + change_kw)  # what the devices must feed in
        for group, entries, state in zip(task.device_groups, parts, states, strict=True):
            if isinstance(group, Batteries):
                wanted = lacking if active else _return_kw(group, state, dt_h)
                entries[:, 0], given = shared_power(group, wanted, state, dt_h)
                lacking -= given
        if active:
            _curtail(task, now, parts, -lacking)
            _share_kvar(env, joint_action, float(now.solution.source_kvar) + _held(task, now, "kvar") - kvar)
        return task.encoding.encode(joint_action)


def _level_held(task: Task, kwh: float, kw: float) -> float:
    """The import that batteries can hold on nine of ten training days, from the net load of the days [kW].

    Args:
        task: whose training days.
        kwh, kw: energy and power that the batteries can feed in.
    """
    levels = []
    for day in spread_days(task.profiles.days("train"), _TYPICAL_DAYS):
        net = -task.profiles.day(day, 0).kw.sum(-1)
        low, high = float(net.max()) - kw, float(net.max())
        for _ in range(30):
            level = (low + high) / 2
            enough = np.maximum(net - level, 0.0).sum() * task.scenario.dt_h <= kwh
            low, high = (low, level) if enough else (level, high)
        levels.append(high)
    return float(np.quantile(levels, 0.9))


def _one(task: Task, kind: type[_Group], rule: str) -> int:
    """Place of the only group of a kind.

    Raises:
        ValueError: the task has none.
    """
    found = [k for k, group in enumerate(task.device_groups) if isinstance(group, kind)]
    if not found:
        called = next(name for name, known in KINDS.items() if known is kind)
        raise ValueError(f"{rule} needs a device of kind {called!r}; scenario {task.scenario.name!r} has none")
    return found[0]


def _held(task: Task, now: GridState, what: str) -> float:
    """Power of all batteries, or reactive power of all batteries and inverters, as held [kW, kvar]."""
    kinds = (Batteries, Inverters) if what == "kvar" else (Batteries,)
    own = [group.injections for group in task.device_groups if isinstance(group, kinds)]
    return float(getattr(now.setpoints, what)[np.concatenate(own)].sum()) if own else 0.0


def _import_kw(task: Task, now: GridState) -> float:
    """The import of the interval with idle batteries and all available PV power [kW]."""
    pv = [group.injections for group in task.device_groups if isinstance(group, Inverters)]
    curtailed = sum(float((now.available[rows] - now.setpoints.kw[rows]).sum()) for rows in pv)
    return float(now.solution.source_kw) + _held(task, now, "kw") - curtailed


def _return_kw(group: Batteries, state: Array, dt_h: float) -> float:
    """Total power that brings the batteries back towards their initial charge [kW]."""
    off = float((group.stored_kwh(state) - group.start_soc * group.kwh).sum())
    most = _BACK * float(group.kw.sum())
    return float(np.clip(off / dt_h, -most, most))


def _curtail(task: Task, now: GridState, parts: list[Array], kw: float) -> None:
    """Curtail PV power by a total, as far as there is any [kW]."""
    able = [
        (group, entries)
        for group, entries in zip(task.device_groups, parts, strict=True)
        if isinstance(group, Inverters) and group.may_curtail.any()
    ]
    pv = sum(float((now.available[group.injections] * group.may_curtail).sum()) for group, _ in able)
    for group, entries in able if pv > 0 and kw > 0 else []:
        entries[:, -1] = -group.may_curtail * min(kw / pv, 1.0)


def _share_kvar(env: ZoneEnv, joint_action: Array, kvar: float) -> None:
    """Share a total injection among batteries and inverters, in proportion to what each can do at its active power."""
    assert env.now is not None
    task, now = env.task, env.now
    full = joint_action.copy()
    places = []
    for group, entries, part in zip(
        task.device_groups,
        task.agents.action_layout.by_group(full),
        task.agents.action_layout.by_group(np.arange(len(full), dtype=float)),
        strict=True,
    ):
        column = {Inverters: 0, Batteries: 1}.get(type(group))
        if column is not None and isinstance(group, Inverters | Batteries) and column < entries.shape[1]:
            entries[:, column] = np.sign(kvar)
            places.append((group.injections, part[:, column].astype(np.int64)))
    setpoints = env.simulator.conditions.setpoints(now.step, now.setpoints)
    env.simulator.fleet.act(full, now.device_state, setpoints, now)
    able = sum(float(setpoints.kvar[rows].sum()) for rows, _ in places)
    for _, place in places:
        joint_action[place] = np.sign(kvar) * min(kvar / able, 1.0) if able else 0.0

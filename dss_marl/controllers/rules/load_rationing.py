"""Load rationing: a microgrid rule that makes the fuel last and sheds the least important loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dss_marl.controllers.rules.battery_sharing import shared_power
from dss_marl.controllers.rules.typical_day import TypicalDay, intervals_ahead, mean_day
from dss_marl.devices import Batteries, FlexibleLoads, Generators, Inverters
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array, GridState

_LOSSES = 0.03  # of the load
_FULL = 0.92  # maximum share of a unit's rating, so that deviations do not trip it
_SURE = 0.99  # of the fuel, so that it does not run out an interval early
_LEAST = 0.05  # likewise its minimum output, which avoids reverse power from PV


class LoadRationing:
    """Serves loads by priority from PV, batteries and fuel, as evenly as possible until the end of the day.

    The energy that fuel and batteries lack for the rest of the day, given load and PV from the forecast and beyond it
    from typical days, is shed at a constant share in every interval; so is power above the units' rating. Batteries
    absorb surplus PV power and cover load above the rating; remaining PV power is curtailed. The reactive load is
    shared in proportion to the available capability. Generators run all day, at their minimum load or more.
    """

    circuit_controls = False

    def reset(self, env: ZoneEnv) -> None:
        """Find the devices.

        Raises:
            ValueError: no grid-forming unit has a fuel tank, or no load can be shed.
        """
        self._on = True  # whether the generators run
        task = env.task
        self._units = [g for g in task.device_groups if isinstance(g, Generators) and np.isfinite(g.tank_l).all()]
        if not self._units or not any(isinstance(group, FlexibleLoads) for group in task.device_groups):
            raise ValueError(
                f"rationing needs generators with a tank and flexible loads; scenario {task.scenario.name!r} lacks one"
            )
        if getattr(self, "_task", None) is not task:
            self._task: Task = task
            self._typical: TypicalDay = mean_day(task)

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Actions for the coming interval."""
        assert env.now is not None
        task, now, dt_h = env.task, env.now, env.task.scenario.dt_h
        joint_action = task.default_action.copy()
        parts = task.agents.action_layout.by_group(joint_action)  # views
        device_states = env.simulator.fleet.states(now.device_state)
        load, pv = (float(x[0]) for x in self._ahead(now, 1))
        net = load * (1 + _LOSSES) - pv
        fuel, kept, need = self._energy(env, device_states)
        shed = max(net, 0.0) * (1 - (fuel + kept) / need) if fuel + kept < need else 0.0
        spare = net - shed  # for generators and batteries
        least, most = self._limits(task, device_states, spare, (fuel, kept, need))
        lasts = self._fuel_kw(task, device_states)
        if self._on and lasts < least:  # the tank is empty within the interval
            self._on, least, most = False, 0.0, 0.0
        most = min(most, lasts)
        for group, entries, device_state in zip(task.device_groups, parts, device_states, strict=True):
            if isinstance(group, Batteries):
                wanted = max(spare - most, 0.0) + min(spare - least, 0.0)
                entries[:, 0], given = shared_power(group, wanted, device_state, dt_h)
                spare -= given
        shed += max(spare - (min(_FULL * self._rating, lasts) if self._on else 0.0), 0.0)
        held_back = max((_LEAST * self._rating if self._on else self._brim(task, device_states) * load) - spare, 0.0)
        for group, entries in zip(task.device_groups, parts, strict=True):
            if isinstance(group, FlexibleLoads):
                entries[:, 0] = 2 * self._cut(group, now, shed) - 1
            elif isinstance(group, Inverters) and group.may_curtail.any() and pv > 0:
                entries[:, -1] = -group.may_curtail * min(held_back / pv, 1.0)
            elif isinstance(group, Generators) and not self._on:
                entries[:, 0] = -1.0
        self._share_kvar(now, parts, shed / load if load > 0 else 0.0)
        return task.encoding.encode(joint_action)

    @property
    def _rating(self) -> float:
        """Of the generators [kW]."""
        return float(sum(unit.kw.sum() for unit in self._units))

    def _fuel_kw(self, task: Task, device_states: list[Array]) -> float:
        """Highest output of the generators over the coming interval for which their fuel lasts [kW]."""
        both = zip(task.device_groups, device_states, strict=True)
        left = [(g, g.left_l(state)) for g, state in both if isinstance(g, Generators)]
        return float(sum(_SURE * g.fuel.most_kw(litres, task.scenario.dt_h).sum() for g, litres in left))

    def _limits(
        self, task: Task, device_states: list[Array], spare: float, energy: tuple[float, float, float]
    ) -> tuple[float, float]:
        """Least and highest output of the generators before batteries help, given what is asked of both [kW]."""
        fuel, kept, need = energy
        least = max(_LEAST * self._rating, float(sum(unit.kw_min.sum() for unit in self._units)))
        if fuel + kept >= need:
            return least, _FULL * self._rating
        return least, min(_FULL * self._rating, max(spare, 0.0) * fuel / max(fuel + kept, 1e-9))

    def _brim(self, task: Task, device_states: list[Array]) -> float:
        """Share of the load that PV units leave to batteries that are full and hold the island, so that none trips."""
        return 0.0

    def _per_kwh(self, unit: Generators, device_state: Array, hours: float) -> Array:
        """(D) energy that the fuel of each unit gives until the end of the day [kWh]: it runs all the time."""
        return hours * unit.fuel.most_kw(_SURE * unit.left_l(device_state), hours)

    def _ahead(self, now: GridState, count: int) -> tuple[Array, Array]:
        """(count) load and PV power of the coming intervals: the forecast, then typical days [kW]."""
        task = self._task
        places = intervals_ahead(task, now.step, count)
        load, pv = self._typical.load_kw[places].astype(float), self._typical.pv_kw[places].astype(float)
        known = now.forecast[:count]
        own = [group.injections for group in task.device_groups if isinstance(group, Inverters)]
        load[: len(known)] = -known[:, task.feeder.loads].sum(-1)
        pv[: len(known)] = known[:, np.concatenate([np.zeros(0, np.int64), *own])].sum(-1)
        return load, pv

    def _energy(self, env: ZoneEnv, device_states: list[Array]) -> tuple[float, float, float]:
        """Energy left in fuel and batteries, and load net of PV until the end of the day [kWh]."""
        assert env.now is not None
        task, now = env.task, env.now
        load, pv = self._ahead(now, task.scenario.steps - now.step)
        need = np.maximum(load * (1 + _LOSSES) - pv, 0.0).sum() * task.scenario.dt_h
        fuel, kept, hours = 0.0, 0.0, (task.scenario.steps - now.step) * task.scenario.dt_h
        for group, device_state in zip(task.device_groups, device_states, strict=True):
            if isinstance(group, Batteries):
                kept += float(((group.stored_kwh(device_state) - group.minimum * group.kwh) * group.discharging).sum())
            elif isinstance(group, Generators):
                fuel += float(self._per_kwh(group, device_state, hours).sum())
        return fuel, kept, float(need)

    def _share_kvar(self, now: GridState, parts: list[Array], shed: float) -> None:
        """Reactive power of batteries and inverters: the loads' demand, shared by available capability."""
        left = [np.sqrt(unit.kva**2 - (_FULL * unit.kw) ** 2).sum() for unit in self._units if self._on]
        able = []
        for group, entries in zip(self._task.device_groups, parts, strict=True):
            if isinstance(group, Inverters):
                pv = np.minimum(now.forecast[0, group.injections], group.kva)
                left.append(group.reach(np.ones(group.size), pv).sum())
                able.append(entries[:, 0])
            elif isinstance(group, Batteries) and group.reactive.all():
                left.append(group.kvar(entries[:, 0] * group.kw, np.ones(group.size)).sum())
                able.append(entries[:, 1])
            elif isinstance(group, Batteries) and group.roles is not None and not self._on:
                left.append(np.sqrt(np.maximum(group.kva**2 - (entries[:, 0] * group.kw) ** 2, 0.0)).sum())
        drawn = -float(now.setpoints.kvar[self._task.feeder.loads].sum()) * (1 - shed)
        for entry in able:
            entry[:] = np.clip(drawn / max(sum(left), 1e-9), -1.0, 1.0)

    def _cut(self, group: FlexibleLoads, now: GridState, shed: float) -> Array:
        """(D) share of each load's sheddable power, for a total of ``shed`` [kW], least important loads first."""
        possible = np.maximum(-now.forecast[0, group.injections], 0.0) * group.most
        cut = np.zeros(group.size)
        for priority in np.unique(group.priority):
            mine = group.priority == priority
            total = float(possible[mine].sum())
            share = min(shed / total, 1.0) if total > 0 else 0.0
            cut[mine], shed = share, shed - share * total
        return cut

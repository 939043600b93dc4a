"""Commitment of an island's generators over a day: when they run, by a mixed-integer program of energy balances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import Bounds, LinearConstraint, milp

from dss_marl.devices import Batteries, FlexibleLoads, Generators, Inverters
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, IntArray
from dss_marl.mdp.rewards import battery_use, fuel, stored_energy, unserved, unserved_device_energy

_FULL = 0.97  # of a rating, for losses and unbalance that the balance does not see
_NODES, _GAP = 50, 5e-3  # limits of the solver; none of time, so that a plan can be repeated
_TANK = 0.997  # of the fuel, likewise


def switched(task: Task) -> IntArray:
    """Position of the joint action's entry that runs or stops the generator; none if nothing can replace it.

    The task must have a single generator, and a battery that can form its island.
    """
    groups, parts = task.device_groups, task.agents.action_layout.parts
    found = [parts[k].start for k, g in enumerate(groups) if isinstance(g, Generators) for _ in range(g.size)]
    formed = any(isinstance(group, Batteries) and group.roles is not None for group in groups)
    return np.array(found if formed and len(found) == 1 else [], np.int64)


def schedule(task: Task, day: int, losses: float) -> Array | None:
    """(T, F) joint actions of a day with the generator committed; None without a solution.

    Args:
        task: of which ``switched`` is not empty.
        day: of the year.
        losses: of the grid, as a share of the load.
    """
    unit = next(g for g in task.device_groups if isinstance(g, Generators))
    stores = [g for g in task.device_groups if isinstance(g, Batteries)]
    program = _Program(task, day, losses, unit, stores)
    solution = program.solve()
    return None if solution is None else program.actions(solution)


def shifted(on: BoolArray) -> Iterator[BoolArray]:
    """(T) schedules with one start or stop earlier or later, by up to two intervals."""
    for step in np.flatnonzero(on[1:] != on[:-1]) + 1:
        for distance in (1, 2):
            later, earlier = on.copy(), on.copy()
            later[step : step + distance] = on[step - 1]
            earlier[max(step - distance, 0) : step] = on[step]
            yield later
            yield earlier


class _Program:
    """The mixed-integer program; variables are added in blocks of one per interval."""

    def __init__(self, task: Task, day: int, losses: float, unit: Generators, stores: list[Batteries]) -> None:
        self._task, self._unit, self._stores = task, unit, stores
        scenario, weight = task.scenario, task.reward_model.weight
        self._steps, self._dt = scenario.steps, scenario.dt_h
        first = round(scenario.start_hour / self._dt)
        beyond = max(0, first + self._steps - task.profiles.steps)
        rows, made = slice(first, first + self._steps), task.profiles.day(day, beyond)
        self._kw, self._kvar = made.kw[rows], made.kvar[rows]
        self._low: list[Array] = []
        self._high: list[Array] = []
        self._cost: list[Array] = []
        self._whole: list[Array] = []
        self._rows: list[tuple[Array, Array, Array, Array, Array]] = []
        self._count = self._limits = 0
        self._per_l, self._wear = weight(fuel), weight(battery_use) / 1000
        self._unmet, self._stored = weight(unserved_device_energy, unserved) / 1000, weight(stored_energy) / 1000
        self._build(losses)

    def _variables(self, low: Any, high: Any, cost: Any, whole: bool = False) -> IntArray:
        """(T) new variables."""
        for parts, value in ((self._low, low), (self._high, high), (self._cost, cost)):
            parts.append(np.broadcast_to(np.asarray(value, float), self._steps))
        self._whole.append(np.full(self._steps, float(whole)))
        self._count += self._steps
        return np.arange(self._count - self._steps, self._count)

    def _limit(self, low: Any, high: Any, *terms: tuple[IntArray, Any]) -> None:
        """New rows, one per entry of the terms' variables: low <= sum of factors times variables <= high."""
        count = len(terms[0][0])
        row = np.concatenate([np.arange(count)] * len(terms)) + self._limits
        factors = np.concatenate([np.broadcast_to(np.asarray(f, float), count) for _, f in terms])
        least, most = (np.broadcast_to(np.asarray(end, float), count) for end in (low, high))
        self._rows.append((row, np.concatenate([v for v, _ in terms]), factors, least, most))
        self._limits += count

    def _build(self, losses: float) -> None:
        unit, curve, dt, inf = self._unit, self._unit.fuel, self._dt, np.inf
        rated, least, slope = float(unit.kw[0]), float(unit.kw_min[0]), float(curve.slope_l_per_kwh[0])
        no_load, start_l = float(curve.no_load_l_per_h[0]) * dt, float(curve.start_l[0])
        self.on = self._variables(0, 1, self._per_l * no_load, whole=True)
        start = self._variables(0, 1, self._per_l * start_l)
        engine = self._variables(0, rated, self._per_l * slope * dt)  # load of the engine, with the load bank
        self._given = self._variables(0, rated, 0)
        self._limit(-inf, 0, (self._given, 1), (self.on, -_FULL * rated))
        self._limit(-inf, 0, (self._given, 1), (engine, -1))
        self._limit(-inf, 0, (self.on, least), (engine, -1))
        self._limit(-inf, 0, (self.on[1:], 1), (self.on[:-1], -1), (start[1:], -1))
        self._limit(-inf, float(unit.running[0]), (self.on[:1], 1), (start[:1], -1))
        if np.isfinite(unit.tank_l[0]):
            burns = [(self.on, no_load), (start, start_l), (engine, slope * dt)]
            self._total(_TANK * float(unit.tank_l[0]), burns)
        supply = [(self._given, 1), *self._pv(), *self._batteries(), *self._shed(losses)]
        load = -self._kw[:, self._task.feeder.loads].sum(axis=1) * (1 + losses)
        self._limit(load, load, *supply)

    def _total(self, most: float, terms: list[tuple[IntArray, float]]) -> None:
        """One row: the sum over all intervals."""
        variables = np.concatenate([v for v, _ in terms])
        factors = np.concatenate([np.full(len(v), f) for v, f in terms])
        row = np.full(len(variables), self._limits)
        self._rows.append((row, variables, factors, np.full(1, -np.inf), np.full(1, most)))
        self._limits += 1

    def _pv(self) -> list[tuple[IntArray, Any]]:
        own = [g for g in self._task.device_groups if isinstance(g, Inverters)]
        self.pv_kw = sum((np.minimum(self._kw[:, g.injections], g.kva).sum(axis=1) for g in own), np.zeros(self._steps))
        least = 0.0 if any(g.may_curtail.any() for g in own) else self.pv_kw
        self.fed = self._variables(least, self.pv_kw, 0)
        return [(self.fed, 1)]

    def _batteries(self) -> list[tuple[IntArray, Any]]:
        self.flows: list[list[tuple[IntArray, IntArray]]] = []
        terms = []
        for group in self._stores:
            self.flows.append([])
            for d in range(group.size):
                most, kwh = _FULL * group.kw[d], float(group.kwh[d])
                out, into = (self._variables(0, most, self._wear * self._dt) for _ in range(2))
                room = 0.003 * kwh if group.roles is not None else 0.0
                worth = np.zeros(self._steps)
                worth[-1] = -self._stored
                low, high = group.minimum[d] * kwh + room, group.maximum[d] * kwh - room
                soc = self._variables(low, high, worth)
                drain, fill = self._dt / group.discharging[d], -self._dt * group.charging[d]
                first = group.start_soc[d] * kwh
                self._limit(first, first, (soc[:1], 1), (out[:1], drain), (into[:1], fill))
                self._limit(0, 0, (soc[1:], 1), (soc[:-1], -1), (out[1:], drain), (into[1:], fill))
                terms += [(out, 1), (into, -1)]
                self.flows[-1].append((out, into))
        return [*terms, *self._standby()]

    def _standby(self) -> list[tuple[IntArray, Any]]:
        drawn = sum(float(group.standby_kw.sum()) for group in self._stores)
        return [(self._variables(1, 1, 0), -drawn)]

    def _shed(self, losses: float) -> list[tuple[IntArray, Any]]:
        """By priority; what is shed lowers losses too."""
        self.shed: dict[float, IntArray] = {}
        self.possible: dict[float, Array] = {}
        for group in self._task.device_groups:
            if isinstance(group, FlexibleLoads):
                kw = np.maximum(-self._kw[:, group.injections], 0.0) * group.most
                for priority in np.unique(group.priority):
                    key = float(priority)
                    self.possible[key] = self.possible.get(key, 0.0) + kw[:, group.priority == priority].sum(axis=1)
        for priority, kw in self.possible.items():
            self.shed[priority] = self._variables(0, kw, self._unmet * priority * self._dt)
        return [(x, 1 + losses) for x in self.shed.values()]

    def solve(self) -> Array | None:
        """Values of all variables; None without a solution."""
        row, column, factor = (np.concatenate([part[k] for part in self._rows]) for k in range(3))
        low, high = (np.concatenate([part[k] for part in self._rows]) for k in (3, 4))
        matrix = sp.csr_matrix((factor, (row, column)), shape=(self._limits, self._count))
        found = milp(
            np.concatenate(self._cost),
            integrality=np.concatenate(self._whole),
            bounds=Bounds(np.concatenate(self._low), np.concatenate(self._high)),
            constraints=LinearConstraint(matrix, low, high),
            options={"node_limit": _NODES, "mip_rel_gap": _GAP},
        )
        return None if found.x is None else np.asarray(found.x)

    def actions(self, x: Array) -> Array:
        """(T, F) joint actions of a solution."""
        task = self._task
        requests = np.tile(task.default_action, (self._steps, 1))
        on = x[self.on] > 0.5
        flows = iter(self.flows)
        for group, part in zip(task.device_groups, task.agents.action_layout.parts, strict=True):
            entries = requests[:, part].reshape(self._steps, group.size, -1)  # a view
            if isinstance(group, Generators):
                entries[..., 0] = np.where(on, 1.0, -1.0)[:, None]
            elif isinstance(group, Batteries):
                for d, (out, into) in enumerate(next(flows)):
                    entries[:, d, 0] = (x[out] - x[into]) / group.kw[d]
            elif isinstance(group, FlexibleLoads):
                for priority, own in self.shed.items():
                    share = np.divide(
                        x[own], self.possible[priority], out=0 * x[own], where=self.possible[priority] > 0
                    )
                    entries[:, group.priority == priority, 0] = 2 * share[:, None] - 1
            elif isinstance(group, Inverters):
                self._set_inverters(group, entries, x, on)
            requests[:, part] = entries.reshape(self._steps, -1)
        return requests

    def _set_inverters(self, group: Inverters, entries: Array, x: Array, on: BoolArray) -> None:
        """Curtailment, and the reactive power of loads shared by rating with what forms the island."""
        kept = np.divide(x[self.fed], self.pv_kw, out=np.ones(self._steps), where=self.pv_kw > 0)
        if entries.shape[-1] > 1:
            entries[..., -1] = -group.may_curtail * (1 - kept)[:, None]
        fed = np.minimum(self._kw[:, group.injections], group.kva) * kept[:, None]
        own = np.sqrt(group.kva**2 - fed**2)
        formers = sum(float(b.kva[b.roles.able].sum()) for b in self._stores if b.roles is not None)
        others = np.where(on, float(self._unit.kva.sum()), formers) / 2
        drawn = -self._kvar[:, self._task.feeder.loads].sum(axis=1)
        entries[..., 0] = np.clip(drawn / (own.sum(axis=1) + others), -1.0, 1.0)[:, None]

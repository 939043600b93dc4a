"""DeviceProgram: batteries and flexible loads of some members over a day as a linear program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from dss_marl.controllers.planning.community.day_model import CommunityDay
from dss_marl.grid.state import Array, BoolArray, IntArray

_TINY = 1e-7  # cost of a kWh charged or shed, so that of equal solutions the idle one is found


@dataclass
class DeviceProgram:
    """Variables, bounds, costs and rows; further columns and rows are added for what the members' power costs.

    The power that a member draws is ``base + net_of @ x``, in kW, with rows (T, members) flattened. Batteries have an
    exact model. A flexible load's payback is spread evenly over ``payback_h``, which the device shortens slightly if
    several requests overlap.

    Args:
        day: of the community.
        members: (M) whose devices are in the program.
    """

    day: CommunityDay
    members: IntArray

    def __post_init__(self) -> None:
        day = self.day
        self._has_battery: BoolArray = np.isin(day.battery_of, self.members)
        self._has_load: BoolArray = np.isin(day.load_of, self.members)
        self.low: list[Array] = []
        self.high: list[Array] = []
        self.cost: list[Array] = []
        self._rows: list[tuple[Any, Array]] = []  # of x <= limit
        self.size = 0
        blocks = [self._battery(b) for b in np.flatnonzero(self._has_battery).tolist()]
        blocks += [self._load(d) for d in np.flatnonzero(self._has_load).tolist()]
        steps, count = day.steps, len(self.members)
        net_of = sp.lil_matrix((steps * count, self.size))
        for first, member, kw in blocks:
            place = int(np.flatnonzero(self.members == member)[0])
            rows = np.arange(steps) * count + place
            for t in range(steps):
                used = np.flatnonzero(kw[t])
                net_of[rows[t], first + used] = kw[t, used]
        self.net_of = net_of.tocsr()
        self.base_kw = day.base_kw[:, self.members].ravel()

    # --- devices ------------------------------------------------------------------------------------------------------

    def columns(self, low: Array, high: Array, cost: Array) -> int:
        """Add variables; returns the number of the first."""
        first = self.size
        self.low.append(low)
        self.high.append(high)
        self.cost.append(cost)
        self.size += len(low)
        return first

    def limit(self, matrix: Any, limits: Array) -> None:
        """Add rows: matrix @ x <= limits; the matrix may be narrower than x."""
        self._rows.append((sp.csr_matrix(matrix), limits))

    def _battery(self, b: int) -> tuple[int, int, Array]:
        """Charging power, then discharging power; the stored energy stays within its limits."""
        day, group, costs = self.day, self.day.batteries, self.day.costs
        assert group is not None
        steps, dt_h = day.steps, day.dt_h
        most, each = np.full(steps, float(group.kw[b])), np.ones(steps)
        per_charged, per_given = dt_h * group.charging[b], dt_h / group.discharging[b]
        charge = (costs.use + _TINY) * dt_h - costs.stored * per_charged
        give = costs.use * dt_h + costs.stored * per_given
        first = self.columns(np.zeros(2 * steps), np.tile(most, 2), np.concatenate([charge * each, give * each]))
        until = np.tril(np.ones((steps, steps)))
        stored = sp.hstack([sp.csr_matrix((steps, first)), per_charged * until, -per_given * until])
        room = (group.maximum[b] - group.start_soc[b]) * group.kwh[b]
        reserve = (group.start_soc[b] - group.minimum[b]) * group.kwh[b]
        self.limit(stored, room * each)
        self.limit(-stored, reserve * each)
        return first, int(day.battery_of[b]), np.hstack([np.eye(steps), -np.eye(steps)])

    def _load(self, d: int) -> tuple[int, int, Array]:
        """Power shed in each interval, recovered afterwards if the load is shifted."""
        day, group, costs = self.day, self.day.loads, self.day.costs
        assert group is not None
        steps, dt_h = day.steps, day.dt_h
        high = np.maximum(day.load_kw[:, d], 0.0) * group.most[d]
        kw, cost = -np.eye(steps), np.full(steps, _TINY)
        if group.shift[d]:
            count = max(1, round(group.payback_h[d] / dt_h))
            for t in range(steps):
                back = kw[t + 1 : t + 1 + count, t]
                back += group.payback[d] / count
                cost[t] += costs.stored * dt_h * group.payback[d] * (1 - len(back) / count)
        else:
            cost += costs.unmet * group.priority[d] * dt_h
        return self.columns(np.zeros(steps), high, cost), int(day.load_of[d]), kw

    def charge_net(self, price: Array) -> None:
        """Charge (T * M) a price per kW of the members' powers; what their base power costs is left out."""
        added, first = self.net_of.T @ price, 0
        for k, cost in enumerate(self.cost):
            own = added[first : first + len(cost)]
            self.cost[k] = cost + np.pad(own, (0, len(cost) - len(own)))
            first += len(cost)

    # --- solving ------------------------------------------------------------------------------------------------------

    def net_matrix(self) -> Any:
        """``net_of`` as wide as all variables so far."""
        grown = self.size - self.net_of.shape[1]
        return sp.hstack([self.net_of, sp.csr_matrix((self.net_of.shape[0], grown))]).tocsr()

    def solve(self) -> tuple[Array, float]:
        """The variables (n) of least cost, and that cost.

        Raises:
            ValueError: no solution is found.
        """
        rows = [sp.hstack([m, sp.csr_matrix((m.shape[0], self.size - m.shape[1]))]) for m, _ in self._rows]
        found = linprog(
            np.concatenate(self.cost),
            A_ub=sp.vstack(rows).tocsr(),
            b_ub=np.concatenate([limits for _, limits in self._rows]),
            bounds=np.column_stack([np.concatenate(self.low), np.concatenate(self.high)]),
            method="highs",
        )
        if found.x is None:
            raise ValueError(f"the program of day {self.day.day} has no solution: {found.message}")
        return np.asarray(found.x), float(found.fun)

    def own_cost(self, x: Array) -> float:
        """Cost of the devices' variables alone: wear, comfort and what remains stored."""
        n = self.net_of.shape[1]
        return float(np.concatenate(self.cost)[:n] @ x[:n])

    def net_kw(self, x: Array) -> Array:
        """(T, M) power that each member draws."""
        n = self.net_of.shape[1]
        return np.asarray(self.base_kw + self.net_of @ x[:n]).reshape(self.day.steps, -1)

    def powers(self, x: Array) -> tuple[Array, Array]:
        """(T, B) discharging power of these members' batteries, and (T, L) power shed, 0 for those of others."""
        steps, at = self.day.steps, 0
        discharge = np.zeros((steps, len(self._has_battery)))
        shed = np.zeros((steps, len(self._has_load)))
        for b in np.flatnonzero(self._has_battery):
            discharge[:, b] = x[at + steps : at + 2 * steps] - x[at : at + steps]
            at += 2 * steps
        for d in np.flatnonzero(self._has_load):
            shed[:, d] = x[at : at + steps]
            at += steps
        return discharge, shed

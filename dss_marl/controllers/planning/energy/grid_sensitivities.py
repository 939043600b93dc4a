"""Sensitivities of an interval's reward to injections, by finite differences on the engine."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dss_marl.controllers.planning.energy.device_models import InjectionColumns
from dss_marl.controllers.planning.energy.island_limits import IslandLimits
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import DemandMeters, FlexibilityRequests
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray
from dss_marl.mdp.rewards import (
    battery_use,
    import_excess,
    overload,
    peak_increase,
    unserved,
    unserved_device_energy,
    violating_share,
    voltage_violation,
)

_STEP = 0.05  # of a column's unit, for slopes
_BEND = 0.1  # likewise, for curvatures
_MARGIN = 5e-5  # that the model keeps from the ends of the band [pu]
_ALIKE = 1e-3  # rows that answer alike to within this are one [pu, 1]
_HINGES = (voltage_violation, violating_share, import_excess, overload, battery_use)


@dataclass(frozen=True)
class HingeTerms:
    """Hinge penalties: price times the sum, or the maximum, of max(value + slopes change, 0).

    Attributes:
        value: (R) at the point.
        slopes: (R, m) sensitivities to the columns.
        price: (R) of each; only the first one of a group applies.
        highest: True if only the highest violation is penalised.
    """

    value: Array
    slopes: Array
    price: Array
    highest: bool = False


@dataclass(frozen=True)
class LinearisedInterval:
    """Local model of an interval.

    Attributes:
        gradient: (m) of the smooth part of the cost.
        curvature: (m, m) of the same, positive semidefinite.
        rows: penalties beyond limits.
        reach: (m) maximum column changes.
        given, by: (G) output of grid-forming units [kW], and (G, m) its sensitivity to the columns.
        drawn_kw, drawn_by: import from the source [kW], and (m) its sensitivity.
        on: (G) which of the units form an island.
        fuel_l: (generators) fuel burned at the point [l].
    """

    gradient: Array
    curvature: Array
    rows: tuple[HingeTerms, ...]
    reach: Array
    given: Array
    by: Array
    drawn_kw: float
    drawn_by: Array
    on: BoolArray
    fuel_l: Array


class GridSensitivities:
    """Grid model of the day program.

    Limit violations (voltage, import, loading) are modelled as rows; all other reward terms are assumed smooth and
    measured.

    Args:
        trials: on a simulator.
        columns: directions of injection changes.

    Attributes:
        islands: grid-forming units of the islands.
    """

    def __init__(self, trials: TrialSolver, columns: InjectionColumns) -> None:
        self._trials, self._columns = trials, columns
        task = trials.task
        self._scored = np.concatenate([zone.scored_nodes for zone in task.zones])
        self._rewards, self._smooth_rewards = task.reward_model, task.reward_model.without(*_HINGES)
        self._per_kw = task.reward_model.weight(import_excess) * task.scenario.dt_h / 1000
        self._per_loading = task.reward_model.weight(overload)
        self._requests = RequestRows(task)
        self.islands = IslandLimits(task)
        rng = np.random.default_rng(0)
        self._directions = rng.choice([-1.0, 1.0], (2, len(columns.injection)))
        self._mixing = rng.standard_normal((len(columns.injection), 3))
        self._bend: Array | None = None

    def _solve_moved(self, state: GridState, change: Array) -> GridState:
        """The interval with (m) column changes, and unchanged taps and banks."""
        step, now, columns = state.step, state.setpoints, self._columns
        setpoints = replace(now, kw=now.kw.copy(), kvar=now.kvar.copy())
        np.add.at(setpoints.kw, columns.injection, change * columns.kw[step])
        np.add.at(setpoints.kvar, columns.injection, change * columns.kvar[step])
        self._trials.solves += 1
        return state.replace(setpoints=setpoints, solution=self._trials.simulator.engine.solve(setpoints))

    def _smooth(self, before: GridState, after: GridState) -> float:
        return -self._smooth_rewards.team_reward(before, after)  # the program has the fuel of its own

    def drawn_kw(self, state: GridState) -> float:
        """Output of the source and all grid-forming units [kW]."""
        return float(state.solution.source_kw) + float(self.islands.given_kw(state).sum())

    def measure_curvature(self, state: GridState) -> None:
        """Measure the curvature of the drawn power in the injections; losses are nearly the same quadratic always.

        Raises:
            PowerFlowError: a power flow fails.
        """
        m = len(self._columns.injection)
        unit = _BEND * np.eye(m)
        base = self.drawn_kw(self._solve_moved(state, np.zeros(m)))
        single = [self.drawn_kw(self._solve_moved(state, one)) - base for one in unit]
        result = np.zeros((m, m))
        for i in range(m):
            for j in range(i + 1):
                both = self.drawn_kw(self._solve_moved(state, unit[i] + unit[j])) - base
                result[i, j] = result[j, i] = (both - single[i] - single[j]) / _BEND**2
        values, vectors = np.linalg.eigh(result)
        self._bend = (vectors * np.maximum(values, 0.0)) @ vectors.T

    def linearise(self, before: GridState, after: GridState, free: Array, reach: Array) -> LinearisedInterval:
        """The model around an interval as operated.

        Args:
            before, after: states around the step.
            free: (m) True for the columns that may change in this interval.
            reach: (m) maximum changes.

        Raises:
            PowerFlowError: a power flow fails.
        """
        m, places = len(free), np.flatnonzero(free)
        base = self._solve_moved(after, np.zeros(m))
        smooth, value = self._smooth(before, base), self._values(base)
        gradient, slopes = np.zeros(m), np.zeros((len(value), m))
        for k in places:
            change = np.zeros(m)
            change[k] = _STEP
            moved = self._solve_moved(after, change)
            gradient[k] = (self._smooth(before, moved) - smooth) / _STEP
            slopes[:, k] = (self._values(moved) - value) / _STEP
        assert self._bend is not None
        curvature = self._bend * self._scale(before, base, smooth, free)
        gradient -= np.diag(curvature) * _STEP / 2  # corrects the forward differences
        rows, last = self._rows(value, slopes, reach * free), len(value) - self.islands.size
        n = len(self._scored)
        rows += self._requests.rows(after, value[n : n + 2], slopes[n : n + 2])
        on, fuel_l = self.islands.on(after), self.islands.fuel_l(after)
        return LinearisedInterval(
            gradient, curvature, rows, reach * free, value[last:], slopes[last:], float(value[n]), slopes[n], on, fuel_l
        )

    def _scale(self, before: GridState, base: GridState, smooth: float, free: Array) -> float:
        """Cost per unit of that curvature in this interval; prices vary, and may be negative."""
        assert self._bend is not None
        if self.islands.size:  # what is drawn takes fuel, now or once the batteries are charged again
            return float(self.islands.per_l * self.islands.slope.max(initial=0.0) * self.islands.dt_h)
        bent, expected = 0.0, 0.0
        for direction in self._directions * free:
            both = sum(self._smooth(before, self._solve_moved(base, way * _BEND * direction)) for way in (1, -1))
            bent += both - 2 * smooth
            expected += float(direction @ self._bend @ direction) * _BEND**2
        return max(bent / expected, 0.0) if expected > 1e-12 else 0.0

    def _values(self, state: GridState) -> Array:
        """Voltages, import [kW, kvar], conductor loading if penalised, and excess and power of grid-forming units."""
        loading = state.solution.currents(by_conductor=True) if self._per_loading else np.zeros(0)
        drawn, islands = [float(state.solution.source_kw), float(state.solution.source_kvar)], self.islands
        v = state.solution.v_alive[self._scored]
        return np.concatenate([v, drawn, loading, islands.excess(state), islands.given_kw(state)])

    def _rows(self, value: Array, slopes: Array, reach: Array) -> tuple[HingeTerms, ...]:
        n, last = len(self._scored), len(value) - 7 * self.islands.size
        rows = []
        if self.islands.size:
            end = last + 6 * self.islands.size
            price = np.full(end - last, self.islands.beyond_kwh * self._trials.task.scenario.dt_h)
            rows.append(HingeTerms(value[last:end], slopes[last:end], price))
        if self._rewards.per_pu or self._rewards.per_node:
            rows.append(self._voltages(value[:n], slopes[:n], reach))
        limit = self._trials.task.scenario.feeder.import_limit_kw
        if self._per_kw and limit is not None:
            rows.append(HingeTerms(value[n : n + 1] - limit, slopes[n : n + 1], np.array([self._per_kw])))
        if self._per_loading:
            beyond, slope = value[n + 2 : last] - 1.0, slopes[n + 2 : last]
            near = beyond + np.abs(slope) @ reach > 0
            if near.any():  # segments of a cable carry the same current: the most loaded one represents all
                beyond, slope = beyond[near], slope[near]
                group, count = self._group_alike(beyond, slope * reach)
                order = np.argsort(-beyond, kind="stable")
                first = order[np.unique(group[order], return_index=True)[1]]
                rows.append(HingeTerms(beyond[first], slope[first], np.full(count, self._per_loading), highest=True))
        return tuple(rows)

    def _voltages(self, v: Array, slopes: Array, reach: Array) -> HingeTerms:
        """Penalties of nodes outside the band; nodes with similar sensitivities are merged."""
        price = self._rewards.excursion_price(v)
        low, high = self._trials.task.all_zones.scored_band.rows(len(v), _MARGIN)
        beyond = np.concatenate([v - high, low - v])
        slope, price = np.concatenate([slopes, -slopes]), np.tile(price, 2)
        near = beyond + np.abs(slope) @ reach / 2 > 0
        beyond, slope, price = beyond[near], slope[near], price[near]
        if not len(beyond):
            return HingeTerms(beyond, slope, price)
        group, _ = self._group_alike(beyond, slope * reach)
        total = np.bincount(group, price)
        weight = price / total[group]
        shared = np.zeros((len(total), slope.shape[1]))
        np.add.at(shared, group, slope * weight[:, None])
        return HingeTerms(np.asarray(np.bincount(group, beyond * weight), float), shared, np.asarray(total, float))

    def _group_alike(self, value: Array, change: Array) -> tuple[IntArray, int]:
        """(R) group of each row, with nearly equal values and sensitivities; and the number of groups."""
        key = np.column_stack([value, change @ self._mixing])
        _, group = np.unique(np.rint(key / _ALIKE), axis=0, return_inverse=True)
        group = group.ravel()
        return group, int(group.max()) + 1


class RequestRows:
    """What the import misses of the requests of a task; none if it has no such device.

    Args:
        task: the task.
    """

    def __init__(self, task: Task) -> None:
        self._dt_h, first = task.scenario.dt_h, 0
        self._weight = task.reward_model.weight(unserved_device_energy, unserved) / 1000
        self._group: FlexibilityRequests | None = None
        for group in task.device_groups:
            size = group.size * group.state_size
            if isinstance(group, FlexibilityRequests) and self._weight:
                self._group, self._part = group, slice(first, first + size)
            first += size

    def rows(self, after: GridState, drawn: Array, slopes: Array) -> tuple[HingeTerms, ...]:
        """The import beyond either side of the tolerated range.

        Args:
            after: an interval as operated, with its request.
            drawn: (2) import [kW, kvar].
            slopes: (2, m) its sensitivity to the columns.
        """
        group = self._group
        if group is None:
            return ()
        active, kw, kvar = group.targets(after.device_state[self._part].reshape(group.size, -1))[0]
        if not active:
            return ()
        target, tolerance = np.array([kw, kvar]), np.array([group.tolerance_kw[0], group.tolerance_kvar[0]])
        value = np.concatenate([drawn - target, target - drawn]) - np.tile(tolerance, 2)
        price = self._weight * self._dt_h * np.tile([1.0, group.kvar_weight[0]], 2)
        return (HingeTerms(value, np.concatenate([slopes, -slopes]), price),)


def billed_peak(task: Task) -> tuple[float, float]:
    """The demand that is billed in any case [kW], and the price of each kW above it; (0, 0) without a demand meter."""
    for group in task.device_groups:
        if isinstance(group, DemandMeters):
            return float(group.floor_kw[0]), task.reward_model.weight(peak_increase) / 1000
    return 0.0, 0.0

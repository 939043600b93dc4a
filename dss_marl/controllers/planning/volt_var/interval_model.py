"""Interval model: optimal inverter entries of one interval of a known day, for given taps and banks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import block_diag

from dss_marl.controllers.optimization.converter_kinks import ConverterKinks
from dss_marl.controllers.optimization.interval_qp import LocalModel, solve_qp
from dss_marl.controllers.planning.volt_var.tap_positions import TapPositions
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import Inverters
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, GridState, IntArray
from dss_marl.mdp.rewards import violating_share, voltage_violation

_MARGIN = 5e-5  # that the models keep from the ends of the band [pu]
_CLOSE = 2e-5  # rounding and the solver's tolerance may move a voltage that far [pu]
_STEP = 0.1  # of an entry, for slopes
_FEW = 12  # entries up to which each interval's curvature is measured, with n (n + 1) / 2 power flows


@dataclass(frozen=True)
class _Probe:
    """A point, and one step of each entry from it.

    Attributes:
        base: the interval operated at the point.
        way: (n) the steps.
        reached: (n) the interval after each step.
        first: (n) change of the smooth cost by each step.
        kva: (n) change of power per unit of each entry [kVA].
    """

    base: GridState
    way: Array
    reached: list[GridState]
    first: Array
    kva: Array


@dataclass(frozen=True)
class IntervalOptimum:
    """Optimum of an interval, without the cost of moves of taps and banks.

    Attributes:
        reward: of the team.
        entries: (n) of the inverters.
    """

    reward: float
    entries: Array


class IntervalModel:
    """The intervals of a day, with all inverter entries as decision variables.

    The reward is the scenario's own, computed on the engine. The cost of voltages out of band is derived from the terms
    ``voltage_violation`` and ``violating_share``, and what is not smooth in the losses of converters from their
    settings, see ConverterKinks; all else is assumed smooth, with measured sensitivities.

    Args:
        trials: on a simulator with a started day.
        states: of all intervals, as observed.
        positions: of taps and banks.
        given: (T, F) joint actions for the other devices; None: hold.

    Attributes:
        places: (n) of the inverters' entries in the joint action.
        low, high: (n) their bounds.
        band: (2, N) lower and upper voltage limit of each scored node, with a margin [pu].
    """

    def __init__(
        self, trials: TrialSolver, states: list[GridState], positions: TapPositions, given: Array | None = None
    ) -> None:
        self._given = given
        self._trials, self._states, self._positions = trials, states, positions
        task = trials.task
        self.places = self.places_of(task)
        self.low, self.high = _ends(task)
        self._others = np.setdiff1d(np.arange(task.agents.action_layout.size), np.append(self.places, positions.places))
        self._scored = np.concatenate([zone.scored_nodes for zone in task.zones])
        self._limits = task.all_zones.scored_band
        self.band = self._limits.rows(len(self._scored), _MARGIN)
        self._rewards = trials.reward_model
        self._smooth_rewards = trials.reward_model.without(voltage_violation, violating_share)
        self._kinks = ConverterKinks(task)
        self._kinked = np.flatnonzero(np.isin(self.places, self._kinks.places))
        self._bend: Array | None = None  # (n, n) of the smooth cost, per kVA of each entry squared

    @staticmethod
    def places_of(task: Task) -> IntArray:
        """(n) places of the inverters' entries in the joint action."""
        parts, everything = task.agents.action_layout.parts, np.arange(task.agents.action_layout.size)
        own = [everything[part] for part, g in zip(parts, task.device_groups, strict=True) if isinstance(g, Inverters)]
        return np.concatenate([np.zeros(0, np.int64), *own])

    @property
    def count(self) -> int:
        """Number of intervals."""
        return len(self._states)

    def operating_point(self, step: int, position: IntArray, entries: Array) -> tuple[GridState, Array]:
        """The interval with taps and banks at these positions, and a joint action (F) that holds them."""
        now = self._positions.at(self._states[step], position)
        joint_action = self._trials.simulator.hold_action(now)
        if self._given is not None:
            joint_action[self._others] = self._given[step, self._others]
        joint_action[self.places] = entries
        return now, joint_action

    def operate(self, step: int, position: IntArray, entries: Array) -> GridState | None:
        """The interval operated; None where the power flow fails."""
        return self._trials.operate(*self.operating_point(step, position, entries))

    def reward(self, after: GridState | None) -> float:
        """Team reward of an interval without moves, -inf if the power flow failed.

        A node at the limit of the band counts as violated, because it may be in simulation.
        """
        if after is None:
            return -np.inf
        v = self.voltages(after)
        close = self._limits.to_limit(v) < _CLOSE
        return self._rewards.team_reward(after, after) - self._rewards.per_node * int(close.sum())

    def _smooth(self, after: GridState | None) -> float:
        if after is None:
            return np.nan
        return -self._smooth_rewards.team_reward(after, after) - self._kinks.cost(after)

    def voltages(self, after: GridState) -> Array:
        """(N) of all scored nodes, in the order of ``band`` [pu]."""
        return after.solution.v_alive[self._scored]

    def linearise(
        self, step: int, position: IntArray, entries: Array, curvature: Array | None = None
    ) -> LocalModel | None:
        """The model around a point, by differences on the engine; None where a power flow fails.

        Args:
            step, position, entries: the point.
            curvature: (n, n) to use instead of measuring it.
        """
        probe = self._probe(step, position, entries)
        if probe is None:
            return None
        way, v = probe.way, self.voltages(probe.base)
        slopes = np.zeros((len(v), len(entries)))
        for k, state in enumerate(probe.reached):
            slopes[:, k] = (self.voltages(state) - v) / way[k]
        if curvature is None:  # it varies little between points
            few = len(entries) <= _FEW
            curvature = (
                self._curvature(step, position, entries, probe) if few else self._scaled_curvature(position, probe.kva)
            )
        gradient = probe.first / way - np.diag(curvature) * way / 2
        slopes = np.vstack([slopes, np.eye(len(entries))[self._kinked]])
        return self._at(probe.base, LocalModel(v, slopes, v, self.band, gradient, curvature))

    def _at(self, after: GridState, local: LocalModel, settled: bool = False) -> LocalModel:
        """A model with the rows of an interval as operated, and its own slopes."""
        v, kinks = self.voltages(after), self._kinks.rows(after, settled)
        return replace(
            local,
            value=np.append(v, kinks.value),
            weight=np.append(self._rewards.excursion_price(v), kinks.weight),
            band=np.hstack([self.band, [-kinks.width, kinks.width]]),
        )

    def _probe(self, step: int, position: IntArray, entries: Array) -> _Probe | None:
        """One step of each entry; None if a power flow fails."""
        base = self.operate(step, position, entries)
        if base is None:
            return None
        way = np.where(entries <= (self.low + self.high) / 2, _STEP, -_STEP)  # twice the step stays within the ends
        reached = [self.operate(step, position, entries + shift) for shift in np.diag(way)]
        single = [state for state in reached if state is not None]
        if len(single) < len(reached):
            return None
        first = np.array([self._smooth(state) for state in single]) - self._smooth(base)
        return _Probe(base, way, single, first, np.array([_moved_kva(base, one) for one in single]) / _STEP)

    def with_moves(
        self, step: int, position: IntArray, entries: Array, local: LocalModel, prices: Array
    ) -> LocalModel | None:
        """The model with moves of taps and banks (P) as additional variables; None if a power flow fails.

        Args:
            step, position, entries, local: the point, and its model.
            prices: (P) cost of a move.
        """
        base = self.operate(step, position, entries)
        columns = [None if base is None else self._column(step, position, entries, base, p) for p in range(len(prices))]
        found = [column for column in columns if column is not None]
        if len(found) < len(columns):
            return None
        count, n = len(prices), len(entries)
        slopes = np.array([slope for slope, _ in found]).reshape(count, -1)
        of_voltages = np.vstack([slopes[:, :-1].T, np.zeros((len(self._kinked), count))])
        moves = np.eye(n + count)[n:]
        return LocalModel(
            value=np.append(local.value, np.zeros(count)),
            slopes=np.vstack([np.hstack([local.slopes, of_voltages]), moves]),
            weight=np.append(local.weight, prices),
            band=np.hstack([local.band, np.zeros((2, count))]),
            gradient=np.append(local.gradient, slopes[:, -1]),
            curvature=block_diag(local.curvature, np.diag([bend for _, bend in found])),
        )

    def _column(
        self, step: int, position: IntArray, entries: Array, base: GridState, device: int
    ) -> tuple[Array, float] | None:
        """(N + 1) sensitivities of the voltages and of the smooth cost to a device's move, and the cost's curvature."""
        ways = []
        for move in (1, -1):
            other = position.copy()
            other[device] += move
            after = self.operate(step, other, entries) if self._positions.within(other) else None
            if after is not None:
                smooth = self._smooth(after) - self._smooth(base)
                ways.append((move, np.append(self.voltages(after) - self.voltages(base), smooth)))
        if not ways:
            return None
        slope = np.mean([move * change for move, change in ways], axis=0)
        bend = float(ways[0][1][-1] + ways[1][1][-1]) if len(ways) == 2 else 0.0
        return slope, max(bend, 0.0)

    def _curvature(self, step: int, position: IntArray, entries: Array, probe: _Probe) -> Array:
        """(n, n) curvature of the smooth cost, made positive definite."""
        n, way, smooth = len(entries), probe.way, self._smooth(probe.base)
        result = np.zeros((n, n))
        for i in range(n):
            for j in range(i + 1):
                moved = entries.copy()
                moved[i] += way[i]
                moved[j] += way[j]
                both = self._smooth(self.operate(step, position, moved)) - smooth
                result[i, j] = result[j, i] = (both - probe.first[i] - probe.first[j]) / (way[i] * way[j])
        values, vectors = np.linalg.eigh(np.nan_to_num(result))
        return (vectors * np.maximum(values, 1e-9)) @ vectors.T

    def _scaled_curvature(self, position: IntArray, kva: Array) -> Array:
        """(n, n) the curvature measured once, in the interval with most sun, where every entry moves something.

        Losses are nearly the same quadratic function of injections at all hours, so entries are scaled by the power
        that they change now, (n) [kVA].
        """
        if self._bend is None:
            sunniest = int(np.argmax([np.maximum(state.forecast[0], 0).sum() for state in self._states]))
            neutral = np.clip(np.zeros(len(kva)), self.low, self.high)
            probe = self._probe(sunniest, position, neutral)
            if probe is None:
                return np.eye(len(kva)) * 1e-9
            per = np.maximum(probe.kva, 1e-9)
            self._bend = self._curvature(sunniest, position, neutral, probe) / np.outer(per, per)
        return self._bend * np.outer(kva, kva) + np.eye(len(kva)) * 1e-9

    def improve(
        self,
        step: int,
        position: IntArray,
        start: IntervalOptimum,
        local: LocalModel,
        rounds: int = 2,
        settled: bool = False,
    ) -> IntervalOptimum:
        """Improve the entries at these positions, by model steps confirmed on the engine.

        Args:
            step, position: interval, and positions of taps and banks.
            start: initial entries; its reward may refer to other positions and is evaluated again.
            local: model of a nearby point; voltages and gradient are updated, sensitivities kept.
            rounds: maximum number of steps.
            settled: converters that are off at night stay off, and those that run may run on.
        """
        x, after = start.entries, self.operate(step, position, start.entries)
        best = IntervalOptimum(self.reward(after), x)
        gradient = local.gradient
        for _ in range(rounds if len(x) else 0):
            if after is None:
                break
            here, low, high = self._at(after, replace(local, gradient=gradient), settled), self.low - x, self.high - x
            if settled:
                off = self._kinked[self._kinks.at_night(after, running=False)]
                low[off] = high[off] = 0.0
            change = solve_qp(here, low, high)
            if change is None:
                break
            better = self._accept_step(step, position, best, change)
            if better is None:
                break
            gained, best, after, taken = better
            x, gradient = best.entries, gradient + local.curvature @ (taken * change)
            if gained < 1e-6:
                break
        return best

    def settle_converters(
        self, step: int, position: IntArray, best: IntervalOptimum, curvature: Array
    ) -> IntervalOptimum:
        """The entries with converters off at night that are not worth their losses, and the best of the others.

        Args:
            step, position, best: the entries so far.
            curvature: (n, n) of a model nearby.
        """
        after = self.operate(step, position, best.entries) if len(self._kinked) else None
        if after is None or not len(self._kinks.at_night(after)):
            return best
        left = self._switch_off(step, position, best, self._kinked[self._kinks.at_night(after)])
        local = self.linearise(step, position, left.entries, curvature)
        return left if local is None else self.improve(step, position, left, local, settled=True)

    def _switch_off(self, step: int, position: IntArray, best: IntervalOptimum, running: IntArray) -> IntervalOptimum:
        """The entries without those converters whose standby losses at night are not worth their reactive power.

        No program with continuous variables sees a step at 0, so each is tried on the engine, the least used ones
        first, and all of them together.
        """
        order = running[np.argsort(np.abs(best.entries[running]))]
        for off in [order, *(order[k : k + 1] for k in range(len(order)))]:
            entries = best.entries.copy()
            entries[off] = 0.0
            earned = self.reward(self.operate(step, position, entries))
            if earned > best.reward:
                best = IntervalOptimum(earned, entries)
        return best

    def _accept_step(
        self, step: int, position: IntArray, best: IntervalOptimum, change: Array
    ) -> tuple[float, IntervalOptimum, GridState | None, float] | None:
        """The longest of three step lengths that improves the reward; None if none does."""
        for part in (1.0, 0.4, 0.1):
            x = best.entries + part * change
            after = self.operate(step, position, x)
            earned = self.reward(after)
            if earned > best.reward + 1e-9:
                return earned - best.reward, IntervalOptimum(earned, x), after, part
        return None


def _moved_kva(base: GridState, other: GridState) -> float:
    """Distance between the injections [kVA]."""
    a, b = base.setpoints, other.setpoints
    return float(np.sqrt(((a.kw - b.kw) ** 2 + (a.kvar - b.kvar) ** 2).sum()))


def _ends(task: Task) -> tuple[Array, Array]:
    """(n) bounds of the inverters' entries: both directions for shares, one for curtailment."""
    low, high = [np.zeros(0)], [np.zeros(0)]
    for group in task.device_groups:
        if isinstance(group, Inverters):
            width = len(group.action_labels)
            ends = np.tile([-1.0, 1.0], (group.size, width, 1))
            if width == 2:
                ends[:, 1, 0], ends[:, 1, 1] = -group.may_curtail, 0.0
            low.append(ends[..., 0].ravel())
            high.append(ends[..., 1].ravel())
    return np.concatenate(low), np.concatenate(high)

"""Curtailment plan of a day: how much each PV unit feeds in and absorbs, with the fairness of the whole day."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dss_marl.controllers.optimization.sparse_qp import SparseQP
from dss_marl.devices import Inverters
from dss_marl.engines import open_engine
from dss_marl.engines.base import PowerFlowError
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, GridState, IntArray, Setpoints
from dss_marl.mdp.pv_sharing import fairness, jain_index, served_shares
from dss_marl.mdp.rewards import curtailment, loss, voltage_violation

_TERMS = (voltage_violation, loss, curtailment, fairness)
_ROUNDS = 5  # programs around the simulation of the last one
_ENOUGH = 1e-4  # gain of the return that justifies another round
_STEP = 0.5  # [kW, kvar] for sensitivities
_NODES = 120  # at most about as many stand for all
_MARGIN = 2e-4  # that the model keeps from the upper end of the band [pu]
_SCALE = 1000.0  # of voltages in the program, so that its numbers are alike
_IDLE = 1e-7  # cost of a squared kvar, so that none flows without need
_CORNERS = np.radians([0.0, 9.0, 18.0, 27.0])  # of the half planes that approximate the rating


class _Played(NamedTuple):
    kw: Array  # (T, U) fed in
    kvar: Array  # (T, U)
    v_pu: Array  # (T, m)
    loss_kw: Array  # (T)
    pv_kwh: Array  # (2, U) of the day
    total: float


def unsupported_reason(task: Task) -> str:
    """Reason why a task is not supported; "" if it is."""
    groups = task.device_groups
    if fairness not in [term for _, term in task.rewards.values()]:
        return "no term 'fairness' in the reward, which couples the intervals"
    if len(groups) != 1 or not isinstance(groups[0], Inverters):
        return "devices other than inverters"
    group: Inverters = groups[0]
    if group.mode != "share" or not group.may_curtail.all() or np.any(group.var_first):
        return "inverters that cannot curtail, or in another mode than share"
    if group.act_every is not None or not np.all(group.night):
        return "inverters that do not act at every step, or not at night"
    other = [name for name, (_, term) in task.rewards.items() if term not in _TERMS]
    return f"reward term {other[0]!r}" if other else ""


def plan_day(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) the best joint actions found for a day, with full foresight.

    A quadratic program of the whole day: curtailed energy, losses as a parabola, voltages above the band at nodes that
    stand for all, and the fairness term, whose index is 1 over 1 plus the squared coefficient of variation of the
    shares. The power flow is linearised around the simulation of the last program; the best simulated day is returned.

    Args:
        task: see ``unsupported_reason``.
        day: of the year.
        thorough: more rounds.

    Raises:
        ValueError: the day cannot be operated.
    """
    try:
        curtailed = _CurtailmentDay(task, day)
        best = np.tile(task.default_action, (task.scenario.steps, 1))
        around = curtailed.idle
        earned = around.total
        for _ in range(_ROUNDS * (1 + thorough)):
            found = curtailed.program(around)
            if found is None:
                break
            around = curtailed.play(found)
            if around.total > earned:
                gain, best, earned = around.total - earned, found, around.total
                if gain < _ENOUGH:
                    break
        curtailed.simulator.engine.close()
    except PowerFlowError as error:
        raise ValueError(f"day {day} of scenario {task.scenario.name!r} cannot be planned: {error}") from error
    return best


def sampled(nodes: IntArray, most: int) -> IntArray:
    """At most so many of the nodes, drawn once and for all; every n-th would all be on one phase."""
    return np.sort(np.random.default_rng(0).choice(nodes, min(most, len(nodes)), replace=False))


class _CurtailmentDay:
    """A day in linear form, and its simulation."""

    def __init__(self, task: Task, day: int) -> None:
        self.task, self.day = task, day
        group = task.device_groups[0]
        assert isinstance(group, Inverters)
        self.group = group
        self.simulator = Simulator(task, open_engine(task.feeder))
        scored = np.sort(np.concatenate([zone.scored_nodes for zone in task.zones]))
        self.nodes = sampled(scored, _NODES)
        self.share = 1.0 / len(self.nodes)  # of the mean over all nodes
        self.idle, states = self._play(np.tile(task.default_action, (task.scenario.steps, 1)))
        self.available = np.minimum([state.available[self.group.injections] for state in states], self.group.kva)
        self.brightest = states[int(self.available.sum(axis=1).argmax())]
        self.slope_v, self.slope_loss, self.resistance = self._slopes(self.brightest)

    @property
    def _most(self) -> Array:
        """(U) reactive power of each unit, by category and rating [kvar]."""
        return np.asarray(np.minimum(*(self.group.converters.capability(sign) for sign in np.array([1.0, -1.0]))))

    def _play(self, requests: Array) -> tuple[_Played, list[GridState]]:
        simulator, model, total = self.simulator, self.task.reward_model, 0.0
        now, states = simulator.begin(self.day, self.task.start), []
        for step, joint_action in enumerate(requests):
            after, _ = simulator.operate(now, joint_action)
            total += float(model.zone_terms(now, after)[: len(model.rewards)].sum())
            states.append(after)
            if step + 1 < len(requests):
                now = simulator.observe_next(after)
        rows = self.group.injections
        played = _Played(
            np.array([state.setpoints.kw[rows] for state in states]),
            np.array([state.setpoints.kvar[rows] for state in states]),
            np.array([state.solution.v_alive[self.nodes] for state in states]),
            np.array([float(state.solution.loss_kw) for state in states]),
            states[-1].pv_kwh,
            total,
        )
        return played, states

    def play(self, requests: Array) -> _Played:
        """Simulate joint actions (T, F)."""
        return self._play(requests)[0]

    def _slopes(self, state: GridState) -> tuple[Array, Array, Array]:
        """(m, 2 U) change of voltages by kW, then kvar, of each unit [pu], and (2 U) of the losses [kW].

        Also (U, U) change of the units' own voltages by kW, made positive semidefinite: nearly the factors of losses
        as a parabola of the powers [1/kW].
        """
        engine, at, rows = self.simulator.engine, state.setpoints, self.group.injections
        own = [list(self.task.feeder.injections[row].nodes) for row in rows]
        v, losses, between = [], [], []
        for reactive in (False, True):
            for row in rows:
                found = []
                for way in (-_STEP, _STEP):
                    kw, kvar = at.kw.copy(), at.kvar.copy()
                    (kvar if reactive else kw)[row] += way
                    found.append(engine.solve(Setpoints(kw, kvar, at.tap, at.closed)))
                v.append((found[1].v_pu - found[0].v_pu)[self.nodes] / (2 * _STEP))
                between.append([(found[1].v_pu - found[0].v_pu)[n].mean() / (2 * _STEP) for n in own])
                losses.append(float(found[1].loss_kw - found[0].loss_kw) / (2 * _STEP))
        values, vectors = np.linalg.eigh((np.array(between[: len(rows)]) + np.array(between[: len(rows)]).T) / 2)
        resistance = (vectors * np.maximum(values, 0.0)) @ vectors.T
        return np.array(v).T, np.array(losses), resistance

    def program(self, around: _Played) -> Array | None:
        """(T, F) joint actions of the program around a simulated day; None if the solver fails."""
        model, (steps, units) = self.task.reward_model, self.available.shape
        program, dt_h = SparseQP(), self.task.scenario.dt_h
        bright = self.available > 1e-6
        price = model.weight(curtailment) * dt_h / 1000
        kw = program.add_variables(np.zeros((steps, units)), self.available, -price)
        most = self._most
        kvar = program.add_variables(np.tile(-most, (steps, 1)), np.tile(most, (steps, 1)))
        per_kw, bend = model.weight(loss) / 1000, 2 * self.resistance
        there = self.brightest.setpoints.kw[self.group.injections]
        program.add_cost(kw, np.tile(per_kw * (self.slope_loss[:units] - bend @ there), (steps, 1)))
        program.add_cost(kvar, np.tile(per_kw * self.slope_loss[units:], (steps, 1)))
        for t in range(steps):
            program.add_quadratic(kw[t], per_kw * bend)
            program.add_quadratic(kvar[t], per_kw * bend + 2 * _IDLE * np.eye(units))
        self._rating(program, kw, kvar)
        self._voltages(program, kw, kvar, around)
        self._fairness(program, kw, around)
        x = program.solve()
        if x is None:
            return None
        fed, reactive = np.minimum(x[kw], self.available), x[kvar]
        beside = np.sqrt(np.maximum(self.group.kva**2 - fed**2, 0.0))
        room = np.minimum(beside, self.group.converters.capability(reactive))
        entries = np.zeros((steps, units, 2))
        entries[..., 0] = np.clip(np.divide(reactive, room, out=np.zeros_like(room), where=room > 1e-6), -1, 1)
        entries[..., 1] = np.where(bright, np.divide(fed, self.available, out=np.ones_like(fed), where=bright) - 1, 0.0)
        return entries.reshape(steps, -1)

    def _rating(self, program: SparseQP, kw: Any, kvar: Any) -> None:
        """kW and kvar within the rating, up to the angles at which the reactive capability ends."""
        row = np.arange(kw.size)
        rating = np.tile(self.group.kva, (len(kw), 1)).ravel()
        for angle in _CORNERS[1:]:
            for way in (-1, 1):
                factor = np.concatenate([np.full(kw.size, np.cos(angle)), np.full(kw.size, way * np.sin(angle))])
                at = np.concatenate([kw.ravel(), kvar.ravel()])
                program.add_rows(np.tile(row, 2), at, factor, np.full(kw.size, -np.inf), rating)

    def _voltages(self, program: SparseQP, kw: Any, kvar: Any, around: _Played) -> None:
        """Excursions above the band, at nodes and in intervals where any is in reach."""
        price = self.task.reward_model.weight(voltage_violation) * self.share
        powers = np.hstack([around.kw, around.kvar])
        base = around.v_pu - powers @ self.slope_v.T  # without any of the units
        reach = np.hstack([self.available, np.tile(self._most, (len(self.available), 1))])
        raises = np.abs(self.slope_v)
        raises[:, : len(self._most)] = np.maximum(
            self.slope_v[:, : len(self._most)], 0.0
        )  # units of other phases lower
        highest = np.broadcast_to(self.task.band.at(self.nodes).high - _MARGIN, base.shape[1:])
        within = base + reach @ raises.T > highest
        for t in np.flatnonzero(within.any(axis=1)):
            near = np.flatnonzero(within[t])
            out = program.add_variables(np.zeros(len(near)), np.inf, price / _SCALE)
            slope = self.slope_v[near] * _SCALE
            columns = np.concatenate([kw[t], kvar[t]])
            row = np.repeat(np.arange(len(near), dtype=float), len(columns) + 1)
            variable = np.hstack([np.tile(columns, (len(near), 1)), out[:, None]]).ravel()
            factor = np.hstack([slope, -np.ones((len(near), 1))]).ravel()
            limit = (highest[near] - base[t, near]) * _SCALE
            program.add_rows(row, variable, factor, np.full(len(near), -np.inf), limit)

    def _fairness(self, program: SparseQP, kw: Any, around: _Played) -> None:
        """The squared coefficient of variation of the shares, with mean and index of the last day."""
        dt_h, energy = self.task.scenario.dt_h, np.maximum(around.pv_kwh[0], 1e-6)
        units, shares = len(energy), served_shares(around.pv_kwh)
        weight = self.task.reward_model.weight(fairness) * float(jain_index(shares)) ** 2
        share = program.add_variables(np.zeros(units), 1.0)
        row = np.concatenate([np.repeat(np.arange(units), len(kw)), np.arange(units)])
        factor = np.concatenate([np.repeat(dt_h / energy, len(kw)), -np.ones(units)])
        variable = np.concatenate([kw.T.ravel(), share])
        program.add_rows(row, variable, factor, np.zeros(units), np.zeros(units))
        spread = np.eye(units) - 1 / units
        program.add_quadratic(share, 2 * weight / (units * float(shares.mean()) ** 2) * spread)

"""The plan that is best for all members together, with full foresight."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from dss_marl.controllers.planning.community.day_model import CommunityDay, Played, unsupported_reason
from dss_marl.controllers.planning.community.device_program import DeviceProgram
from dss_marl.engines.base import PowerFlowError
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array

__all__ = ["plan_day", "unsupported_reason"]

_ROUNDS = 4  # programs around the simulation of the last one
_CUTS = 8  # of the voltage term, in a program
_ENOUGH = 1e-4  # relative error of the term


def plan_day(task: Task, day: int, thorough: bool = False) -> Array:
    """(T, F) joint actions that maximise the sum of all members' rewards.

    A linear program of the whole day: payments between members cancel, so that the community pays for what it exchanges
    with the grid, for the excess over the import limit and for voltages outside the band, whoever causes them. The
    power flow is linearised around the simulation of the last program, and voltages enter by cutting planes.

    Args:
        task: see ``unsupported_reason``.
        day: of the year.
        thorough: more rounds.

    Raises:
        ValueError: the day cannot be operated.
    """
    try:
        community = CommunityDay(task, day)
        best, around = np.tile(task.default_action, (community.steps, 1)), community.idle
        earned = float(around.rewards.sum())
        for _ in range(_ROUNDS * (1 + thorough)):
            requests = _program(community, around)
            around = community.play(requests)
            if around.rewards.sum() <= earned + 1e-9:
                break
            best, earned = requests, float(around.rewards.sum())
    except PowerFlowError as error:
        raise ValueError(f"day {day} of scenario {task.scenario.name!r} cannot be planned: {error}") from error
    community.close()
    return best


def _program(day: CommunityDay, around: Played) -> Array:
    """(T, F) solution of the program around a simulated day."""
    members = np.arange(len(day.market.buses))
    program = DeviceProgram(day, members)
    _exchange(program)
    _excess(program, around)
    out = _violation_columns(program)
    x, _ = program.solve()
    for _ in range(_CUTS if out is not None else 0):
        net = program.net_kw(x)
        v = around.v_pu + (net - around.net_kw) @ day.slope_v.T
        above, below = day.excursions(v)
        total = (above + below).sum(axis=1)
        assert out is not None
        guessed = x[out : out + day.steps]
        if not (total > guessed + _ENOUGH * max(float(total.max()), 1.0)).any():
            break
        weight = (above > 0) * day.node_weight - (below > 0) * day.node_weight
        _cut(program, out, weight @ day.slope_v, total, net)
        x, _ = program.solve()
    return day.requests(*program.powers(x))


def _exchange(program: DeviceProgram) -> None:
    """What the community pays for energy: trade within it, and what it draws from and feeds into the grid.

    Let D be the sum of what single members draw, E the sum of all their powers and g = max(E, 0), which is bought. Then
    g - E is sold and D - g traded, so that the cost is (retail - feed_in - local_fee) g + feed_in E + local_fee D.
    """
    day = program.day
    steps, count = day.steps, len(program.members)
    prices, per_kw = day.market.prices(day.price), day.costs.bill * day.dt_h
    retail, feed_in = np.asarray(prices.retail) * per_kw, np.asarray(prices.feed_in) * per_kw
    local = np.minimum(prices.local_fee * per_kw, retail - feed_in)  # else no trade is worth its fee
    net, summed = program.net_matrix(), sp.kron(sp.eye(steps), np.ones((1, count))).tocsr()
    most = np.full(steps * count, np.inf)
    drawn = program.columns(np.zeros(steps * count), most, np.repeat(local, count))
    bought = program.columns(np.zeros(steps), np.full(steps, np.inf), retail - feed_in - local)
    program.charge_net(np.repeat(feed_in, count))
    program.limit(sp.hstack([net, sp.csr_matrix((steps * count, drawn - net.shape[1])), -sp.eye(steps * count)]),
                  -program.base_kw)  # fmt: skip
    program.limit(sp.hstack([summed @ net, sp.csr_matrix((steps, bought - net.shape[1])), -sp.eye(steps)]),
                  -(summed @ program.base_kw))  # fmt: skip


def _excess(program: DeviceProgram, around: Played) -> None:
    """The import above the limit, as around a simulated day."""
    day, costs = program.day, program.day.costs
    price, limit = (costs.excess + costs.excess_shared) * day.dt_h, day.limit_kw()
    if not price or not np.isfinite(limit):
        return
    steps, net = day.steps, program.net_matrix()
    first = program.columns(np.zeros(steps), np.full(steps, np.inf), np.full(steps, price))
    summed = sp.kron(sp.eye(steps), day.slope_source[None]).tocsr()
    offset = around.source_kw - around.net_kw @ day.slope_source - limit
    wide = sp.csr_matrix((steps, first - net.shape[1]))
    program.limit(sp.hstack([summed @ net, wide, -sp.eye(steps)]), -(summed @ program.base_kw) - offset)


def _violation_columns(program: DeviceProgram) -> int | None:
    """A variable for the excursions of each interval; None if they cost nothing."""
    costs, steps = program.day.costs, program.day.steps
    price = costs.violation + costs.violation_shared
    if not price:
        return None
    return program.columns(np.zeros(steps), np.full(steps, np.inf), np.full(steps, price))


def _cut(program: DeviceProgram, out: int, slope: Array, total: Array, net_kw: Array) -> None:
    """In every interval, the excursions are at least the tangent at these powers.

    Args:
        program: with the variables from ``out`` on.
        out: number of the first.
        slope: (T, M) of the excursions by each member's power.
        total: (T) excursions there.
        net_kw: (T, M) the powers.
    """
    steps = program.day.steps
    net = program.net_matrix()
    tangent = sp.block_diag([row[None] for row in slope]).tocsr()
    picked = sp.csr_matrix((np.ones(steps), (np.arange(steps), out + np.arange(steps))), shape=(steps, program.size))
    rhs = (slope * net_kw).sum(axis=1) - total - tangent @ program.base_kw
    program.limit(tangent @ net - picked, rhs)

"""Selfish play: every member plans against what the others do, in turn, until none gains by a change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from dss_marl.controllers.planning.community.day_model import CommunityDay, Played
from dss_marl.controllers.planning.community.device_program import DeviceProgram
from dss_marl.engines.base import PowerFlowError
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array

_POINTS = 33  # at which a member's cost of an interval is evaluated over its power
_ROUNDS = 20  # of all members
_GAIN = 1e-4  # of the reward, by which a member must gain to change its plan


class SelfishPlay(NamedTuple):
    """Result of the members' best responses.

    Attributes:
        requests: (T, F) joint actions.
        rounds: in which every member had its turn.
        gain: the highest that a member still made in the last one; 0 if none changed its plan, which is a Nash
            equilibrium of the linearised day to within the tolerance.
    """

    requests: Array
    rounds: int
    gain: float


@dataclass
class _Profile:
    """Plans of all members.

    Attributes:
        discharge, shed: (T, B) power of each battery, (T, L) shed by each flexible load [kW].
        net_kw: (T, P) power that each member draws.
        own: (P) cost of each member's devices: wear, discomfort, and what is less stored at the end.
    """

    discharge: Array
    shed: Array
    net_kw: Array
    own: Array


def best_responses(task: Task, day: int) -> SelfishPlay:
    """Iterated best response with perfect foresight, from idle devices.

    Each member in turn minimises its own bill, its share of common costs, the wear of its battery and its discomfort,
    given the powers of all others. It knows how its own power changes prices, shares and voltages. Its cost of an
    interval is evaluated over its power and replaced by the lower convex hull; its best plan is a linear program.

    Args:
        task: see ``unsupported_reason`` of the day model.
        day: of the year.

    Raises:
        ValueError: the day cannot be operated.
    """
    try:
        community = CommunityDay(task, day)
        idle = np.zeros((community.steps, len(community.battery_of))), np.zeros(community.load_kw.shape)
        profile = _Profile(*idle, community.base_kw.copy(), np.zeros(len(community.market.buses)))
        rounds, gain = _respond(community, community.idle, profile)
        around = community.play(community.requests(profile.discharge, profile.shed))
        more, gain = _respond(community, around, profile)  # with the losses and voltages of what they do
        community.close()
    except PowerFlowError as error:
        raise ValueError(f"day {day} of scenario {task.scenario.name!r} cannot be operated: {error}") from error
    return SelfishPlay(community.requests(profile.discharge, profile.shed), rounds + more, gain)


def _respond(day: CommunityDay, around: Played, profile: _Profile) -> tuple[int, float]:
    """Best responses in turn, changing the profile; the power flow is linearised around a simulated day.

    Returns:
        the number of rounds, and the highest gain in the last one.
    """
    active = sorted({*day.battery_of.tolist(), *day.load_of.tolist()})
    gain = 0.0
    for count in range(1, _ROUNDS + 1):
        gain = max(_answer(day, around, profile, member) for member in active)
        if gain <= _GAIN:
            return count, 0.0
    return _ROUNDS, gain


def _answer(day: CommunityDay, around: Played, profile: _Profile, member: int) -> float:
    """Change one member's plan to its best one; returns its gain, 0 where it is not worth a change."""
    program = DeviceProgram(day, np.array([member]))
    kw = _grid(day, program, profile, member)
    cost = _costs(day, around, profile, member, kw)
    _add_hull(program, kw, cost)
    x, _ = program.solve()
    net = program.net_kw(x)[:, 0]
    before = _sum_at(profile.net_kw[:, member], kw, cost) + profile.own[member]
    own = program.own_cost(x)
    gain = before - _sum_at(net, kw, cost) - own
    if gain <= _GAIN:
        return 0.0
    discharge, shed = program.powers(x)
    batteries, loads = day.devices_of(member)
    profile.discharge[:, batteries], profile.shed[:, loads] = discharge[:, batteries], shed[:, loads]
    profile.net_kw[:, member], profile.own[member] = net, own
    return gain


def _grid(day: CommunityDay, program: DeviceProgram, profile: _Profile, member: int) -> Array:
    """(T, K) powers that the member may draw, rising, with those at which it and the community are balanced."""
    most = abs(program.net_of) @ np.concatenate(program.high)
    low, high = (day.base_kw[:, member] + way * np.maximum(most, 1e-3) for way in (-1, 1))
    others = profile.net_kw.sum(axis=1) - profile.net_kw[:, member]
    kinks = np.clip([np.zeros(day.steps), -others], low, high).T
    even = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, _POINTS)
    return np.sort(np.hstack([even, kinks]), axis=1)


def _costs(day: CommunityDay, around: Played, profile: _Profile, member: int, kw: Array) -> Array:
    """(T, K) what an interval costs the member at these powers, given those of the others."""
    market, costs = day.market, day.costs
    net = np.repeat(profile.net_kw[:, None], kw.shape[1], axis=1)
    net[..., member] = kw
    cost = costs.bill * market.cleared(net * day.dt_h, day.price[:, None]).paid[..., member]
    moved = net - around.net_kw[:, None]
    if np.isfinite(day.limit_kw()):
        source = around.source_kw[:, None] + moved @ day.slope_source
        beyond = np.maximum(source - day.limit_kw(), 0.0) * day.dt_h
        share = costs.excess * market.excess_shares(net)[..., member] + costs.excess_shared / len(day.task.zones)
        cost = cost + share * beyond
    if costs.violation:
        above, below = day.excursions(around.v_pu[:, None] + moved @ day.slope_v.T)
        share = market.shares_of(net, above @ day.reach.T, below @ day.reach.T)[..., member]
        cost = cost + costs.violation * share * (above + below).sum(axis=-1)
    return np.asarray(cost)


def _sum_at(net_kw: Array, kw: Array, cost: Array) -> float:
    """Cost of powers (T), interpolated."""
    return float(sum(np.interp(own, at, of) for own, at, of in zip(net_kw, kw, cost, strict=True)))


def _add_hull(program: DeviceProgram, kw: Array, cost: Array) -> None:
    """Charge the member's power by the lower convex hull of its costs."""
    steps = program.day.steps
    net = program.net_matrix()
    first = program.columns(np.full(steps, -np.inf), np.full(steps, np.inf), np.ones(steps))
    step, slope, height = [], [], []
    for t in range(steps):
        corner = _lower_hull(kw[t], cost[t])
        x, y = kw[t, corner], cost[t, corner]
        rise = np.diff(y) / np.diff(x)
        step.append(np.full(len(rise), t))
        slope.append(rise)
        height.append(y[:-1] - rise * x[:-1])
    at, rise, above = map(np.concatenate, (step, slope, height))
    picked = sp.csr_matrix((np.ones(len(at)), (np.arange(len(at)), first + at)), shape=(len(at), program.size))
    wide = sp.hstack([net, sp.csr_matrix((steps, program.size - net.shape[1]))]).tocsr()
    program.limit(sp.diags(rise) @ wide[at] - picked, -above - rise * program.base_kw[at])


def _lower_hull(x: Array, y: Array) -> list[int]:
    """Positions of the corners of the lower convex hull of points with rising x; of equal ones the first counts."""
    hull: list[int] = []
    for k in range(len(x)):
        if hull and x[k] - x[hull[-1]] < 1e-9:
            continue
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (y[b] - y[a]) * (x[k] - x[a]) < (y[k] - y[a]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(k)
    return hull

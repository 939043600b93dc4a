"""Copper plate: a bound on the return of charging by price, with a grid that loses and limits nothing."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from dss_marl.devices import EVChargers
from dss_marl.devices.ev_charger import Stays
from dss_marl.devices.fleet import DeviceFleet
from dss_marl.envs.conditions import EpisodeConditions
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array
from dss_marl.mdp import rewards

SAYS = (
    "the grid has no losses, no voltages and no ratings, and all sessions are known: the energy alone is bought when "
    "it is cheapest, and lent when it is dearest"
)
_PRICED = ("energy_cost", "excess_cost", "unserved_device_energy", "unserved", "import_excess", "battery_use")
# At most 0, so that leaving them out can only raise the bound.
_PENALTIES = ("overload", "voltage_violation", "violating_share", "loss", "voltage_deviation")


def unsupported_reason(task: Task) -> str:
    """Why the relaxation does not bound a task; "" if it does."""
    if len(task.device_groups) != 1 or type(task.device_groups[0]) is not EVChargers:
        return "devices other than chargers"
    if task.scenario.circuit_controls or task.scenario.faults:
        return "the circuit's own controls or faults"
    if any(row.kind not in ("load", "charger", "ev_charger") and row.kw > 0 for row in task.feeder.injections):
        return "generation"
    others = [name for name in task.rewards if name not in _PRICED + _PENALTIES]
    return f"reward terms {', '.join(others)}" if others else ""


def day_return(task: Task, day: int) -> float:
    """The bound of a day's team return.

    Raises:
        ValueError: a price is negative, so that losses would earn; or the program cannot be solved.
    """
    scenario, weight = task.scenario, task.reward_model.weight
    (group,) = task.device_groups
    assert isinstance(group, EVChargers)
    today = EpisodeConditions.of_day(task, day, ())
    price = np.array([today.price(step)[0] for step in range(scenario.steps)])
    if (price < 0).any():
        raise ValueError(f"day {day} of scenario {scenario.name!r} has negative prices, at which losses earn")
    load_kw = -np.array([today.injections_kw(step)[task.feeder.loads].sum() for step in range(scenario.steps)])
    rng, weekend = task.profiles.rng(day, "devices"), task.profiles.weekend(day)
    fleet = DeviceFleet(task.device_groups, task.agents.action_layout.parts)  # which draws each group's own stream
    (state,) = fleet.states(fleet.start(rng, weekend, scenario.start_hour))
    stays = group.stays(state, scenario.steps, scenario.dt_h)
    energy = weight(rewards.energy_cost, rewards.excess_cost)
    missing = weight(rewards.unserved_device_energy, rewards.unserved) / 1000
    above = weight(rewards.import_excess) / 1000
    wear = weight(rewards.battery_use) / 1000
    fixed = weight(rewards.energy_cost) * float(price @ load_kw) * scenario.dt_h
    limit_kwh = (scenario.feeder.import_limit_kw or np.inf) - load_kw
    room = limit_kwh * scenario.dt_h if above and np.isfinite(limit_kwh).all() else None
    return -fixed - _least_cost(group, stays, energy * price, missing, above, room, wear)


def _least_cost(
    group: EVChargers, stays: Stays, price: Array, missing: float, above: float, room: Array | None, wear: float
) -> float:
    """The least cost of charging, less what lending earns.

    Args:
        group: the chargers.
        stays: their sessions.
        price: (T) of a kWh from the grid.
        missing: price of a kWh not delivered at departure.
        above: price of a kWh of import above the limit.
        room: (T) energy below that limit [kWh]; None: no limit.
        wear: price of a kWh of battery throughput.
    """
    session, step = np.nonzero(stays.stay_h)
    device = stays.device[session]
    count, steps, places = len(stays.kwh), len(price), len(step)
    most = group.kw[device] * stays.stay_h[session, step]  # from the grid, or into it [kWh]
    lacking = np.where(stays.leaves, missing * group.priority[stays.device], 0.0)
    here = sp.csr_matrix((np.ones(places), (session, np.arange(places))), shape=(count, places))
    efficiency = group.efficiency[device]
    into, out = sp.diags(efficiency), sp.diags(np.where(group.lends[device], 1 / efficiency, 0.0))
    blank = sp.csr_matrix((count, steps))
    demand = sp.hstack([here @ into, -here @ out, sp.identity(count), blank])  # charged, lent, lacking, above
    drawn = sp.csr_matrix((np.ones(places), (step, np.arange(places))), shape=(steps, places))
    over = sp.hstack([drawn, -drawn, sp.csr_matrix((steps, count)), -sp.identity(steps)])
    # Energy lent up to the end of an interval, less what has been charged, is within what the EV may lend.
    so_far = sp.csr_matrix((session[:, None] == session) & (step <= step[:, None]), dtype=float)
    lender = np.flatnonzero(group.lends[device])
    owed = sp.hstack([-so_far @ into, so_far @ out, sp.csr_matrix((places, count + steps))]).tocsr()[lender]
    beyond = (stays.most_kwh - stays.kwh)[session[lender]]
    limits, ends = (owed, beyond) if room is None else (sp.vstack([owed, over]), np.concatenate([beyond, room]))
    cost = np.concatenate([price[step], 2 * wear - price[step], lacking, np.full(steps, above)])
    tops = np.concatenate([most, most * group.lends[device], np.full(count + steps, np.inf)])
    solution = linprog(
        cost,
        A_ub=limits,
        b_ub=ends,
        A_eq=demand,
        b_eq=stays.kwh,
        bounds=np.c_[np.zeros(len(tops)), tops],
        method="highs",
    )
    if solution.status != 0:
        raise ValueError(f"the program of a day's charging cannot be solved: {solution.message}")
    return float(solution.fun)

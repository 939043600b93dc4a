"""Schedules of repair crews: who patrols and repairs which section, in which order, and what the day then costs."""

from __future__ import annotations

from math import ceil

import numpy as np

from dss_marl.controllers.rules.section_supply import FAR, SectionSupply
from dss_marl.devices import Crews
from dss_marl.devices.crew import BUSY_H, PLACE, TARGET, UNKNOWN
from dss_marl.grid.state import Array

Schedule = tuple[tuple[int, ...], ...]  # per crew its jobs in order: q is the patrol of section q, Q + q its repair
_ROUNDING = 1e-9


class ScheduleCost:
    """The cost of schedules from a state of the crews on, if the places of all faults were known.

    A load-balance model: a cleared section is supplied as soon as there is a way to it; nothing else limits the supply.

    Args:
        crews: the crews.
        supply: ways between their sections.
        state: (D, K) of the crews; the repairs in it may be a guess.
        energy: (T + 1, Q) cost of the energy that each section misses from now to each step, if it is dark.
        step: present step, from which on ``energy`` counts.
        dt_h: length of a step [h].
        dollar: cost of a dollar of the crews.

    Attributes:
        jobs: that are left and that no crew has begun.
    """

    def __init__(
        self, crews: Crews, supply: SectionSupply, state: Array, energy: Array, step: int, dt_h: float, dollar: float
    ) -> None:
        self._supply, self._energy, self._dt_h, self._dollar = supply, energy, dt_h, dollar
        self._size, self._last, self._repairs = crews.sections.size, len(energy) - 1, crews.repairs.tolist()
        self._km, self._speed = crews.sections.travel_km.tolist(), crews.speed_kmh.tolist()
        self._hour_cost, self._km_cost = crews.hour_cost.tolist(), crews.km_cost.tolist()
        self._hours = _hours(crews, state)
        self._place = state[:, PLACE].astype(int).tolist()
        self._free = [step + ceil(busy / dt_h - _ROUNDING) for busy in state[:, BUSY_H].tolist()]
        known, hours = crews.known(state), crews.repairs_h(state)
        self._faulted = (hours > 0).tolist()
        self._seen = [FAR if one == UNKNOWN else step for one in known.tolist()]
        self._clear = [FAR if one else step for one in known.tolist()]
        taken = state[:, TARGET].astype(int).tolist()
        for d, q in enumerate(taken):
            if q >= 0:
                self._note(q if known[q] == UNKNOWN else q + self._size, self._free[d], self._seen, self._clear)
        repairs = [q + self._size for q in range(self._size) if self._clear[q] == FAR and self._faulted[q]]
        self.jobs = [q for q in range(self._size) if self._seen[q] == FAR] + repairs

    def able(self, crew: int, job: int) -> bool:
        """Whether a crew can do a job."""
        return job < self._size or self._repairs[crew]

    def __call__(self, schedule: Schedule) -> float:
        """What the rest of the day costs."""
        clear, dollars, _ = self._run(schedule)
        supplied = np.minimum(self._supply.supplied_from(clear), self._last)
        return float(self._energy[supplied, np.arange(self._size)].sum()) + self._dollar * dollars

    def worked(self, schedule: Schedule) -> Schedule:
        """The schedule without the jobs that would not be done by the end of the day."""
        return tuple(order[:k] for order, k in zip(schedule, self._run(schedule)[2], strict=True))

    def _run(self, schedule: Schedule) -> tuple[list[int], float, list[int]]:
        """Steps from which sections are clear, dollars, and per crew the number of jobs done."""
        seen, clear, place, free = self._seen.copy(), self._clear.copy(), self._place.copy(), self._free.copy()
        done, dollars, goes_on = [0] * len(schedule), 0.0, True
        while goes_on:
            goes_on = False
            for d, order in enumerate(schedule):
                while done[d] < len(order):
                    job = order[done[d]]
                    q = job % self._size
                    start = free[d] if job < self._size else max(free[d], seen[q])
                    if start >= self._last or not self.able(d, job):
                        break
                    km = self._km[place[d]][q]
                    hours = km / self._speed[d] + self._hours[d][job]
                    end = start + ceil(hours / self._dt_h - _ROUNDING)
                    if end >= self._last:
                        break
                    self._note(job, end, seen, clear)
                    dollars += hours * self._hour_cost[d] + km * self._km_cost[d]
                    free[d], place[d], goes_on = end, q, True
                    done[d] += 1
        return clear, dollars, done

    def _note(self, job: int, end: int, seen: list[int], clear: list[int]) -> None:
        """Note what is known and clear once a job is done."""
        if job >= self._size:
            clear[job - self._size] = end
        else:
            seen[job] = end
            if not self._faulted[job]:
                clear[job] = end


def _hours(crews: Crews, state: Array) -> list[list[float]]:
    """Per crew, the hours of each job without travel [h]."""
    patrol = crews.setup_h[:, None] + crews.sections.line_km / crews.patrol_kmh[:, None]
    repair = crews.setup_h[:, None] + np.broadcast_to(crews.repairs_h(state), patrol.shape)
    joined: list[list[float]] = np.concatenate([patrol, repair], axis=1).tolist()
    return joined


def first_schedule(cost: ScheduleCost, crews: Crews, order: list[int]) -> Schedule:
    """Sections in an order, each for the next crew that repairs; the others have nothing to do."""
    able = np.flatnonzero(crews.repairs).tolist()
    orders: list[list[int]] = [[] for _ in range(crews.size)]
    for k, q in enumerate(order):
        orders[able[k % len(able)]] += [job for job in (q, q + crews.sections.size) if job in cost.jobs]
    return tuple(tuple(own) for own in orders)


def improved(cost: ScheduleCost, schedule: Schedule, rng: np.random.Generator, moves: int) -> tuple[Schedule, float]:
    """A schedule after random moves of jobs, by simulated annealing; and its cost.

    Args:
        cost: of schedules.
        schedule: to start from.
        rng: of the moves.
        moves: how many are tried.
    """
    present, value = schedule, cost(schedule)
    best, lowest = present, value
    hot = 0.03 * max(value, 1.0)
    for k in range(moves):
        tried = _moved(cost, present, rng)
        new = cost(tried)
        warmth = hot * (1 - k / moves) ** 2
        if new <= value or rng.random() < np.exp((value - new) / max(warmth, 1e-12)):
            present, value = tried, new
            if value < lowest:
                best, lowest = present, value
    return best, lowest


def _moved(cost: ScheduleCost, schedule: Schedule, rng: np.random.Generator) -> Schedule:
    """Move a job to another place of any crew that can do it, or exchange two."""
    places = [(d, k) for d, order in enumerate(schedule) for k in range(len(order))]
    if not places:
        return schedule
    orders = [list(order) for order in schedule]
    d, k = places[int(rng.integers(len(places)))]
    if rng.random() < 0.3:
        e, j = places[int(rng.integers(len(places)))]
        if not (cost.able(d, orders[e][j]) and cost.able(e, orders[d][k])):
            return schedule
        orders[d][k], orders[e][j] = orders[e][j], orders[d][k]
    else:
        e = int(rng.integers(len(orders)))
        if not cost.able(e, orders[d][k]):
            return schedule
        job = orders[d].pop(k)
        orders[e].insert(int(rng.integers(len(orders[e]) + 1)), job)
    return tuple(tuple(order) for order in orders)

"""Schedules of repair crews: which sections each crew clears, in which order, and what the day then costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from dss_marl.controllers.rules.section_supply import FAR, SectionSupply
from dss_marl.devices import Crews
from dss_marl.devices.crew import BUSY_H, PLACE, TARGET
from dss_marl.grid.state import Array

Schedule = tuple[tuple[int, ...], ...]  # per crew, its sections in order
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Job:
    """What clears a section, without the travel: hours [h] and where it is paid for.

    Attributes:
        parts: hours of setup and patrol, and of setup and repair; whatever is still to do.
    """

    parts: tuple[float, ...]


class ScheduleCost:
    """The cost of schedules from a state of the crews on, if the places of all faults were known. A load-balance model:

    a cleared section is supplied as soon as there is a way to it; nothing else limits the supply.

    Args:
        crews: the crews.
        supply: ways between their sections.
        state: (D, K) of the crews; the repairs in it may be a guess.
        energy: (T + 1, Q) weighted energy cost of each section from ``step`` up to each step, if it is dark.
        step: present step, from which on ``energy`` counts.
        dt_h: length of a step [h].
        dollar: cost of a dollar of the crews.
    """

    def __init__(
        self, crews: Crews, supply: SectionSupply, state: Array, energy: Array, step: int, dt_h: float, dollar: float
    ) -> None:
        self._crews, self._supply, self._energy = crews, supply, energy
        self._dt_h, self._dollar, self._step, self._last = dt_h, dollar, step, len(energy) - 1
        self._km = crews.sections.travel_km.tolist()
        self._busy = state[:, BUSY_H].tolist()
        self._places = state[:, PLACE].astype(int).tolist()
        self._clear = np.where(crews.known(state) > 0, FAR, 0).tolist()
        self._jobs = self._all_jobs(state)
        under_way = state[:, TARGET].astype(int).tolist()
        self._under_way = under_way
        self.sections = [q for q, clear in enumerate(self._clear) if clear and q not in under_way]

    def _all_jobs(self, state: Array) -> list[list[tuple[float, ...]]]:
        """Per crew and section, the hours of each part of the work that is left."""
        crews, known, repairs = self._crews, self._crews.known(state), self._crews.repairs_h(state)
        jobs = []
        for setup, speed in zip(crews.setup_h.tolist(), crews.patrol_kmh.tolist(), strict=True):
            own: list[tuple[float, ...]] = []
            for q in range(crews.sections.size):
                patrol = (setup + float(crews.sections.line_km[q]) / speed,) if known[q] == 1 else ()
                own.append((*patrol, setup + float(repairs[q])) if repairs[q] > 0 else patrol)
            jobs.append(own)
        return jobs

    def __call__(self, schedule: Schedule) -> float:
        """What the rest of the day costs, at most the horizon."""
        clear, dollars = self._clear.copy(), 0.0
        for d, order in enumerate(schedule):
            step = self._step + ceil(self._busy[d] / self._dt_h - _ROUNDING)
            dollars += self._finish(d, step, clear)
            if clear[self._under_way[d]] < FAR and self._under_way[d] >= 0:
                step = max(step, clear[self._under_way[d]])
            place = self._places[d]
            for q in order:
                step, place, cost = self._go(d, step, place, q)
                if step >= self._last:
                    break
                dollars += cost
                clear[q] = step
        supplied = np.minimum(self._supply.supplied_from(np.array(clear)), self._last)
        return float(self._energy[supplied, np.arange(len(clear))].sum()) + self._dollar * dollars

    def _finish(self, d: int, step: int, clear: list[int]) -> float:
        """The job under way, and the repair after it if it is a patrol that will find a fault."""
        q = self._under_way[d]
        if q < 0:
            return 0.0
        parts = self._jobs[d][q]
        more = parts[1] if len(parts) == 2 else 0.0
        clear[q] = step + ceil(more / self._dt_h - _ROUNDING)
        return (self._busy[d] + more) * float(self._crews.hour_cost[d])

    def _go(self, d: int, step: int, place: int, section: int) -> tuple[int, int, float]:
        """Step at which a crew has cleared a section, its place, and the cost [$]."""
        km = self._km[place][section]
        travel, hours = km / float(self._crews.speed_kmh[d]), 0.0
        for part in self._jobs[d][section]:
            step += ceil((travel + part) / self._dt_h - _ROUNDING)
            hours, travel = hours + travel + part, 0.0
        return step, section, hours * float(self._crews.hour_cost[d]) + km * float(self._crews.km_cost[d])


def improved(cost: ScheduleCost, schedule: Schedule, rng: np.random.Generator, moves: int) -> tuple[Schedule, float]:
    """A schedule after random moves of sections, by simulated annealing; and its cost.

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
        tried = _moved(present, rng)
        new = cost(tried)
        warmth = hot * (1 - k / moves) ** 2
        if new <= value or rng.random() < np.exp((value - new) / max(warmth, 1e-12)):
            present, value = tried, new
            if value < lowest:
                best, lowest = present, value
    return best, lowest


def _moved(schedule: Schedule, rng: np.random.Generator) -> Schedule:
    """Move a section to another place of any crew, or exchange two."""
    orders = [list(order) for order in schedule]
    places = [(d, k) for d, order in enumerate(orders) for k in range(len(order))]
    if not places:
        return schedule
    d, k = places[int(rng.integers(len(places)))]
    if rng.random() < 0.3:
        e, j = places[int(rng.integers(len(places)))]
        orders[d][k], orders[e][j] = orders[e][j], orders[d][k]
    else:
        q = orders[d].pop(k)
        e = int(rng.integers(len(orders)))
        orders[e].insert(int(rng.integers(len(orders[e]) + 1)), q)
    return tuple(tuple(order) for order in orders)

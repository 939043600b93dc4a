"""Repair crews: they patrol sections that a storm has left dark, find their faults, and repair them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict, Field, field_validator

from dss_marl.devices.base import DeviceGroup, DeviceSpec, act_periods, unique_names
from dss_marl.devices.outage_sections import OutageSections
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.load_priorities import Priorities
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints

CLEAR, UNKNOWN, FAULTED = 0.0, 1.0, 2.0  # what is known of a section
PLACE, TARGET, BUSY_H, WORK_H, COST = range(5)  # columns of a crew; then what is known of sections, then the repairs
_OWN = 5
_NOWHERE = -1.0
_ABOUT_0 = 1e-9  # [h] rounding tolerance
_SCALE_H = 8.0  # of observed hours


class CrewSpec(DeviceSpec):
    """One crew. What describes the storm must be the same for all crews."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    name: str = Field(default="", description="of the crew; empty: crew_ and its depot")
    bus: str = Field(description="depot, where it starts")
    on_duty_h: float = Field(default=0.0, ge=0, description="hours after the start at which it comes on duty [h]")
    speed_kmh: float = Field(default=20.0, gt=0, description="of the truck, along lines, debris on the roads [km/h]")
    setup_h: float = Field(default=0.25, ge=0, description="briefing and earthing before each patrol or repair [h]")
    patrol_kmh: float = Field(default=2.5, gt=0, description="of a patrol on foot along all lines of a section [km/h]")
    repairs: bool = Field(default=True, description="whether it repairs; else it patrols only, as damage assessors do")
    hour_cost: float = Field(default=150.0, ge=0, description="of an hour of travel, patrol or repair [$]")
    km_cost: float = Field(default=1.0, ge=0, description="of a kilometre of the truck [$]")
    reclosers: tuple[str, ...] = Field(
        min_length=1, description="switches that trip; those behind open without voltage"
    )
    faults: tuple[int, int] = Field(default=(2, 4), description="range of the number of faulted sections per storm")
    repair_h: float = Field(default=2.0, gt=0, description="mean time of a repair [h]")
    repair_spread: float = Field(default=0.5, ge=0, le=2, description="standard deviation of its logarithm [1]")

    @field_validator("faults")
    @classmethod
    def _in_order(cls, limits: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= limits[0] <= limits[1]:
            raise ValueError(f"must be two numbers from 1, the lower first; got {list(limits)}")
        return limits

    @property
    def storm(self) -> tuple[object, ...]:
        """Settings that crews share."""
        return self.reclosers, self.faults, self.repair_h, self.repair_spread


@dataclass(frozen=True)
class Crews(DeviceGroup):
    """Crews that choose the next section; a crew at work holds.

    A storm faults some sections, drawn for each day in proportion to their length of line. The recloser before each
    trips; all sections behind it are dark and their switches open without voltage. Nobody knows which of them is
    faulted: until it has been patrolled and, if need be, repaired, no section may be energised, see ``barred``.

    Entry -1 waits, the q-th level above sends the crew to section q: to patrol it, or to repair it if a fault is
    known. The job takes travel, setup and the patrol or the repair, and counts at the end of the interval in which it
    is done. A section takes one crew at a time.

    Device state of a crew: its place (a row of ``sections.travel_km``), the section of its job or -1, hours until it
    is free, hours worked and cost in the last interval [$]; and the same for all crews: what is known of each section
    (clear, unknown, faulted), and the hours of its repair, 0 without a fault, which no agent observes before a patrol.

    Attributes:
        sections: that may lose their supply.
        loads: (L) index of the loads in Feeder.injections.
        section_weight: (L, Q) priority of each load in its section, else 0.
        repairs: (D) True for crews that repair.
        on_duty_h, speed_kmh, setup_h, patrol_kmh, hour_cost, km_cost: (D) as in the settings.
        faults: lowest and highest number of faulted sections.
        repair_h, repair_spread: mean of the log-normal time of a repair [h], and its logarithm's standard deviation.
    """

    sections: OutageSections
    loads: IntArray
    section_weight: Array
    repairs: BoolArray
    on_duty_h: Array
    speed_kmh: Array
    setup_h: Array
    patrol_kmh: Array
    hour_cost: Array
    km_cost: Array
    faults: tuple[int, int]
    repair_h: float
    repair_spread: float

    action_labels: ClassVar[tuple[str, ...]] = ("wait, or go to a section",)
    coupled: ClassVar[bool] = True
    cost_column: ClassVar[int] = COST
    Spec: ClassVar[type[DeviceSpec]] = CrewSpec

    @property
    def state_size(self) -> int:  # type: ignore[override]
        """See DeviceGroup."""
        return _OWN + 2 * self.sections.size

    @cached_property
    def telemetry_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """The crew's job, and of each section what is known, whether a crew is on it, and how long this takes."""
        own = ("at work or not yet on duty", f"hours until it is free [{_SCALE_H:g} h]")
        parts = [
            (
                f"section {bus} unknown",
                f"section {bus} faulted",
                f"section {bus} has a crew",
                f"load of section {bus} times priority [MW]",
                f"time of this crew to patrol or repair section {bus} [{_SCALE_H:g} h]",
            )
            for bus in self.sections.buses
        ]
        return own + tuple(label for part in parts for label in part)

    @cached_property
    def _known(self) -> slice:
        return slice(_OWN, _OWN + self.sections.size)

    @cached_property
    def _repairs(self) -> slice:
        return slice(_OWN + self.sections.size, _OWN + 2 * self.sections.size)

    # --- the storm ---------------------------------------------------------------------------------------------------

    def initial(self) -> Array:
        """See DeviceGroup.initial: no fault, crews at their depots."""
        state = np.zeros((self.size, self.state_size))
        state[:, PLACE] = self.sections.size + np.arange(self.size)
        state[:, TARGET], state[:, BUSY_H] = _NOWHERE, self.on_duty_h
        return state

    def start(self, rng: np.random.Generator, weekend: bool, hour: float) -> Array:
        """See DeviceGroup.start: a storm."""
        state, sections = self.initial(), self.sections
        count = min(int(rng.integers(self.faults[0], self.faults[1] + 1)), sections.size)
        faulted = rng.choice(sections.size, count, replace=False, p=sections.line_km / sections.line_km.sum())
        hours = self.repair_h * np.exp(self.repair_spread * rng.standard_normal(count) - self.repair_spread**2 / 2)
        state[:, _OWN + sections.size + faulted] = np.maximum(np.round(4 * hours) / 4, 0.25)
        state[:, self._known] = sections.dark[faulted].any(axis=0) * UNKNOWN
        return state

    def known(self, state: Array) -> Array:
        """(..., Q) what is known of the sections: CLEAR, UNKNOWN or FAULTED."""
        return state[..., 0, self._known]

    def repairs_h(self, state: Array) -> Array:
        """(..., Q) hours that repairs take, 0 without a fault, known or not."""
        return state[..., 0, self._repairs]

    def barred(self, state: Array) -> BoolArray:
        """See DeviceGroup.barred: nodes of sections that are unknown or faulted."""
        known = self.known(state) > CLEAR
        more = np.zeros((*known.shape[:-1], 1), bool)
        return np.concatenate([known, more], axis=-1)[..., self.sections.of_node]

    def opened(self, state: Array) -> BoolArray:
        """See DeviceGroup.opened: what the faults of the storm trip, and what opens without voltage."""
        struck = self.repairs_h(state) > 0
        return np.asarray((struck[..., None] & self.sections.opened).any(axis=-2))

    # --- jobs --------------------------------------------------------------------------------------------------------

    def n_levels(self) -> IntArray:
        """See DeviceGroup.n_levels: wait, and one for each section."""
        return np.full((self.size, 1), self.sections.size + 1, np.int64)

    def default_action(self) -> Array:
        """See DeviceGroup.default_action: all wait."""
        return np.full((self.size, 1), -1.0)

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.hold_action: a crew at work goes on, the others wait."""
        return np.full((*state.shape[:-1], 1), -1.0)

    def entry(self, section: int) -> float:
        """The action entry that sends a crew to a section."""
        return 2 * (section + 1) / self.sections.size - 1

    def chosen(self, action: Array) -> IntArray:
        """(..., D) the section that each entry (..., D, 1) chooses, -1 for waiting."""
        return (np.rint((action[..., 0] + 1) / 2 * self.sections.size) - 1).astype(np.int64)

    def free(self, state: Array) -> BoolArray:
        """(..., D) crews that can take a job."""
        return state[..., BUSY_H] <= _ABOUT_0

    def open_jobs(self, state: Array) -> BoolArray:
        """(..., D, Q) sections that have no crew, and in which each crew finds a patrol or a repair to do."""
        taken = (state[..., TARGET, None] == np.arange(self.sections.size)).any(axis=-2)
        known = self.known(state)
        repair = ((known == FAULTED) & ~taken)[..., None, :] & self.repairs[:, None]
        return np.asarray(((known == UNKNOWN) & ~taken)[..., None, :] | repair)

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.feasible: waiting, and a job that no crew has taken for a crew that is free."""
        chosen = self.chosen(action)
        jobs = self.open_jobs(state)
        jobs = np.broadcast_to(jobs, (*chosen.shape, self.sections.size))
        wanted = np.take_along_axis(jobs, np.maximum(chosen, 0)[..., None], axis=-1)[..., 0]
        return np.array((chosen < 0) | wanted & self.free(state))[..., None]

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; writes no set point. Of crews that choose the same section, the first in a rotating
        order goes there, the others wait and count as limited."""
        state, chosen = state.copy(), self.chosen(action)
        limited = np.zeros(chosen.shape, np.int64)
        for place in np.ndindex(chosen.shape[:-1]):
            limited[place] = self._operate(chosen[place], state[place], interval.step_in(place), interval.dt_h)
        return state, limited

    def worked(self, jobs: IntArray, state: Array, interval: Interval) -> Array:
        """(D, K) one state after an interval in which crews are sent to these sections (D), -1 for waiting."""
        after = state.copy()
        self._operate(jobs, after, interval.step_in(()), interval.dt_h)
        return after

    def with_repairs(self, state: Array, hours: Array) -> Array:
        """(..., D, K) the state with other faults: (..., Q) hours of their repairs, 0 without a fault."""
        state = state.copy()
        state[..., self._repairs] = hours[..., None, :]
        return state

    def _operate(self, chosen: IntArray, state: Array, step: int, dt_h: float) -> IntArray:
        """Give jobs and let an interval pass; changes one state (D, K). Returns (D) 1 where a crew was refused."""
        state[:, WORK_H] = state[:, COST] = 0.0
        refused = self._assign(chosen, state, step)
        self._work(state, dt_h)
        return refused

    def _assign(self, chosen: IntArray, state: Array, step: int) -> IntArray:
        """Give jobs to free crews; changes one state (D, K). Returns (D) 1 where a crew was refused."""
        refused, free = np.zeros(self.size, np.int64), self.free(state)
        for d in np.roll(np.arange(self.size), -(step % self.size)):
            q = int(chosen[d])
            if q < 0:
                continue
            if not (free[d] and self.open_jobs(state)[d, q]):
                refused[d] = 1
                continue
            state[d, BUSY_H] = self.job_h(state)[d, q]
            state[d, COST] = self.km_cost[d] * self.sections.travel_km[int(state[d, PLACE]), q]
            state[d, PLACE] = state[d, TARGET] = q
        return refused

    def _work(self, state: Array, dt_h: float) -> None:
        """Let an interval pass; changes one state (D, K)."""
        worked = np.minimum(state[:, BUSY_H], dt_h) * (state[:, TARGET] >= 0)
        state[:, WORK_H] = worked
        state[:, COST] += worked * self.hour_cost
        state[:, BUSY_H] = np.maximum(state[:, BUSY_H] - dt_h, 0.0)
        done = (state[:, TARGET] >= 0) & self.free(state)
        for q in state[done, TARGET].astype(int):
            self._finish(state, q)
        state[done, TARGET] = _NOWHERE

    def _finish(self, state: Array, section: int) -> None:
        """A patrol finds the fault or that there is none, a repair removes it."""
        known, hours = _OWN + section, _OWN + self.sections.size + section
        found = state[0, known] == UNKNOWN and state[0, hours] > 0
        state[:, known] = FAULTED if found else CLEAR
        if not found:
            state[:, hours] = 0.0

    def job_h(self, state: Array) -> Array:
        """(..., D, Q) hours that the next job in each section takes each crew: travel, setup, and patrol or repair."""
        sections = self.sections
        travel = sections.travel_km[state[..., PLACE].astype(int)] / self.speed_kmh[:, None]
        patrol = sections.line_km / self.patrol_kmh[:, None]
        repair = self.known(state)[..., None, :] == FAULTED
        work = np.where(repair, self.repairs_h(state)[..., None, :], patrol)
        return np.asarray(travel + self.setup_h[:, None] + work)

    def with_priorities(self, priorities: Priorities) -> Crews:
        """See DeviceGroup.with_priorities."""
        weight = priorities.weight[self.loads]
        return replace(self, section_weight=(self.section_weight > 0) * weight[:, None])

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.telemetry."""
        known = np.broadcast_to(self.known(state)[..., None, :], (*state.shape[:-1], self.sections.size))
        taken = (state[..., TARGET, None] == np.arange(self.sections.size)).any(axis=-2, keepdims=True)
        drawn = np.maximum(-setpoints.kw[..., self.loads], 0.0)[..., None] * self.section_weight
        load = np.add.reduce(drawn, axis=-2) / 1000  # a matrix product would round a batch differently
        load = np.broadcast_to(load[..., None, :], known.shape)
        hours = self.job_h(state) / _SCALE_H * (known > CLEAR)
        parts = np.stack(
            [known == UNKNOWN, known == FAULTED, np.broadcast_to(taken, known.shape), load, hours], axis=-1
        )
        own = np.stack([~self.free(state), state[..., BUSY_H] / _SCALE_H], axis=-1)
        return np.concatenate([own, parts.reshape(*known.shape[:-1], -1)], axis=-1)

    @classmethod
    def build(cls, specs: Sequence[CrewSpec], feeder: Feeder) -> Crews:
        """See DeviceGroup.build.

        Raises:
            ValueError: crews of different storms, a bus or switch that does not exist, or nothing to repair.
        """
        first = specs[0]
        if not any(spec.repairs for spec in specs):
            raise ValueError("crew: no crew repairs; leave out repairs: false for one of them")
        if len({spec.storm for spec in specs}) > 1:
            raise ValueError("crew: reclosers, faults, repair_h and repair_spread must be the same for all crews")
        names = [spec.name or f"crew_{spec.bus}" for spec in specs]
        sections = OutageSections.build(feeder, first.reclosers, [spec.bus for spec in specs])
        of_load = sections.of_node[[feeder.injections[j].nodes[0] for j in feeder.loads]]
        return cls(
            names=unique_names(names, "crew"),
            buses=tuple(feeder.bus(spec.bus).name for spec in specs),
            act_every=act_periods([spec.act_every for spec in specs]),
            sections=sections,
            loads=feeder.loads,
            section_weight=(of_load[:, None] == np.arange(sections.size)).astype(float),
            repairs=np.array([spec.repairs for spec in specs]),
            faults=first.faults,
            repair_h=first.repair_h,
            repair_spread=first.repair_spread,
            **{
                name: np.array([getattr(spec, name) for spec in specs], float)
                for name in ("on_duty_h", "speed_kmh", "setup_h", "patrol_kmh", "hour_cost", "km_cost")
            },
        )

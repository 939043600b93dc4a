"""EV chargers: cars that come, need energy, and leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec, act_periods
from dss_marl.devices.unit_specs import UnitSpec, new_units, unit_rows, unserved
from dss_marl.grid.feeder import AddedUnit, Feeder
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints, Solution
from dss_marl.profiles.ev_sessions import ev_sessions

# Columns of the memory; hours count from the start of the coming interval.
_ENTRY, _ARRIVAL, _DEPARTURE, _DUE, _KWH, _NEXT_ARRIVAL, _NEXT_DEPARTURE, _NEXT_KWH, _GIVEN, _UNMET, _GONE = range(11)
_NEXT = slice(_NEXT_ARRIVAL, _NEXT_KWH + 1)
_NEVER = 1e4  # [h]; a car that does not come, kept finite
_DONE = 1e-9  # [kWh], and hours: what floats leave over


class EVChargerSpec(UnitSpec):
    """A charger for one car at a time."""

    efficiency: float = Field(default=0.95, gt=0, le=1, description="into the car over taken from the grid")
    priority: float = Field(default=1.0, ge=0, description="weight of energy that a car leaves without")


@dataclass(frozen=True)
class Stays:
    """Cars at their chargers in some coming intervals.

    Attributes:
        device: (S) at which charger.
        kwh: (S) energy due, into the car [kWh].
        stay_h: (S, T) how long the car is connected in each interval [h].
        leaves: (S) whether it leaves within these intervals.
    """

    device: IntArray
    kwh: Array
    stay_h: Array
    leaves: BoolArray


@dataclass(frozen=True)
class EVChargers(DeviceGroup):
    """Chargers. The action is the share (a + 1) / 2 of the power that a car draws while it is connected.

    More than the car still needs is cut to what it needs; without a car only share 0 is possible. Uncontrolled
    chargers give all they can. In an interval in which a car comes or goes, it draws in proportion to its stay.

    A car that leaves with energy still due has unmet energy, counted once.
    Memory: the entry as asked, which a car that comes later meets; the session that is on or comes next: hours until
    arrival and departure, energy still due and in all [kWh]; the same of the one after it, without what is still due;
    energy given and unmet in the last interval [kWh]; 1 where a car left in it.

    Attributes:
        injections: (D) index of each in the Feeder's injections.
        kw: (D) rated power, from the grid [kW].
        efficiency: (D) into the car over taken from the grid [1].
        priority: (D) weight of unmet energy.
    """

    injections: IntArray
    kw: Array
    efficiency: Array
    priority: Array

    action_labels: ClassVar[tuple[str, ...]] = ("charging power",)
    state_size: ClassVar[int] = 11
    telemetry_labels: ClassVar[tuple[str, ...]] = (
        "car connected",
        "energy still due [session]",
        "time until departure [24 h]",
        "time needed at full power [time left]",
    )
    Spec: ClassVar[type[DeviceSpec]] = EVChargerSpec

    def initial(self) -> Array:
        """See DeviceGroup.initial: no car ever comes."""
        state = np.zeros((self.size, self.state_size))
        state[:, _ENTRY] = 1.0
        state[:, [_ARRIVAL, _DEPARTURE, _NEXT_ARRIVAL, _NEXT_DEPARTURE]] = _NEVER
        return state

    def start(self, rng: np.random.Generator, weekend: bool, hour: float) -> Array:
        """See DeviceGroup.start.

        A car that is there already has been charged evenly over its stay so far, so part of its energy is still due.
        None needs more than its charger can give during the stay.
        """
        days = []
        free = np.full(self.size, -np.inf)
        for day in (-1, 0, 1):  # last evening's cars may still be there
            drawn = ev_sessions(rng, self.size, weekend)
            arrival, kwh = np.maximum(drawn.arrival_h + 24 * day - hour, free), drawn.kwh  # one car at a time
            stays = np.where(kwh > 0, drawn.departure_h + 24 * day - hour, -np.inf)  # some do not come at all
            departure = np.maximum(stays, arrival)
            days.append((arrival, departure, np.minimum(kwh, self.kw * self.efficiency * (departure - arrival))))
            free = departure
        sessions = np.array([*days, [np.full(self.size, _NEVER)] * 2 + [np.zeros(self.size)]])  # (4, 3, D)
        now = np.argmax(sessions[:, 1] > 0, axis=0)  # the first that is not over
        arrival, departure, kwh = sessions[now, :, np.arange(self.size)].T
        state = self.initial()
        left = np.clip(departure / np.maximum(departure - arrival, _DONE), 0.0, 1.0)
        for column, value in ((_ARRIVAL, arrival), (_DEPARTURE, departure), (_DUE, kwh * left), (_KWH, kwh)):
            state[:, column] = value
        state[:, _NEXT] = sessions[np.minimum(now + 1, 3), :, np.arange(self.size)]
        return state

    def default_action(self) -> Array:
        """See DeviceGroup.neutral: full power while a car is connected."""
        return np.ones((self.size, 1))

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; more than the car needs, or anything without a car, is a limit."""
        asked, most = action[..., 0], self._most(state, interval)
        possible = np.minimum(asked, most)
        kw = self._write(possible, state, setpoints, interval)
        kept = state.copy()
        # Who asks for what is so already leaves the setting alone, for cars that come while nobody acts.
        kept[..., _ENTRY] = np.where(asked == np.minimum(state[..., _ENTRY], most), state[..., _ENTRY], asked)
        given = np.minimum(kw * interval.dt_h * self.efficiency, state[..., _DUE])
        due = state[..., _DUE] - given
        kept[..., _GIVEN], kept[..., _DUE] = given, np.where(due > _DONE, due, 0.0)
        kept[..., [_ARRIVAL, _DEPARTURE, _NEXT_ARRIVAL, _NEXT_DEPARTURE]] -= interval.dt_h
        self._let_go(kept)
        return kept, (possible != asked).astype(np.int64)

    def _let_go(self, kept: Array) -> None:
        """Cars whose time is over leave, and the next session is the one to come."""
        gone = kept[..., _DEPARTURE] <= _DONE
        kept[..., _GONE] = gone
        kept[..., _UNMET] = np.where(gone, kept[..., _DUE], 0.0)
        coming = kept[..., _NEXT]
        session = np.concatenate([coming, coming[..., -1:]], -1)  # nothing of it is given yet
        kept[..., _ARRIVAL : _KWH + 1] = np.where(gone[..., None], session, kept[..., _ARRIVAL : _KWH + 1])
        kept[..., _NEXT] = np.where(gone[..., None], [_NEVER, _NEVER, 0.0], coming)

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """See DeviceGroup.hold; a car that has come draws what was last asked, as far as it needs it."""
        self._write(self.hold_action(state, setpoints, interval)[..., 0], state, setpoints, interval)

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.present."""
        return np.minimum(state[..., _ENTRY], self._most(state, interval))[..., None]

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.legal."""
        allowed: BoolArray = action <= self._most(state, interval)[..., None]
        return allowed

    def _stay(self, state: Array, interval: Interval) -> Array:
        """(..., D) hours of the interval during which a car is connected."""
        until = np.minimum(state[..., _DEPARTURE], interval.dt_h)
        return np.maximum(until - np.maximum(state[..., _ARRIVAL], 0.0), 0.0)

    def _most(self, state: Array, interval: Interval) -> Array:
        """(..., D) the largest entry that does not give more than is due."""
        full = self.kw * self.efficiency * self._stay(state, interval)  # kWh at full power
        share = np.divide(state[..., _DUE], full, out=np.zeros(full.shape), where=full > 0)
        return np.minimum(2 * share - 1, 1.0)

    def _write(self, entry: Array, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """(..., D) mean power in the interval [kW], which is also set."""
        kw: Array = (entry + 1) / 2 * self.kw * self._stay(state, interval) / interval.dt_h
        setpoints.kw[..., self.injections] = -kw
        setpoints.kvar[..., self.injections] = 0.0
        return kw

    def stays(self, state: Array, steps: int, dt_h: float) -> Stays:
        """The stays of cars in the coming intervals, as they come about.

        Args:
            memory: (D, K) before the first interval.
            steps, dt_h: how many intervals, of what length.
        """
        kept, number, most = state.copy(), np.zeros(self.size, np.int64), 3  # one now, one known, and none
        stay_h = np.zeros((most, self.size, steps))
        kwh, leaves = np.zeros((most, self.size)), np.zeros((most, self.size), bool)
        everyone = np.arange(self.size)
        for step in range(steps):
            kwh[number, everyone] = kept[:, _DUE]
            stay_h[number, everyone, step] = self._stay(kept, Interval(step, 0.0, dt_h))
            kept[:, [_ARRIVAL, _DEPARTURE, _NEXT_ARRIVAL, _NEXT_DEPARTURE]] -= dt_h
            self._let_go(kept)
            leaves[number, everyone] = kept[:, _GONE] > 0
            number = np.minimum(number + (kept[:, _GONE] > 0), most - 1)
        there = stay_h.any(-1)
        return Stays(np.nonzero(there)[1], kwh[there], stay_h[there], leaves[there])

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """See DeviceGroup.check; on a dead bus nothing flowed, so it is due still, or unmet where the car has left."""
        dead = unserved(self.injections, setpoints, solution)
        if dead.any():
            state = state.copy()
            back = np.where(dead, state[..., _GIVEN], 0.0)
            left = state[..., _GONE] > 0
            state[..., _DUE] += np.where(left, 0.0, back)
            state[..., _UNMET] += np.where(left, back, 0.0)
            state[..., _GIVEN] -= back
        return state, np.zeros(state.shape[:-1], np.int64)

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.readings; of a car that is there in the interval, and nothing of those that come later."""
        there = self._stay(state, interval) > 0
        hours = np.where(there, state[..., _DEPARTURE], 1.0)
        due = np.where(there, state[..., _DUE], 0.0)
        needed = due / (self.kw * self.efficiency)
        told = (
            there,
            due / np.maximum(state[..., _KWH], _DONE),
            np.where(there, hours / 24, 0.0),
            np.clip(needed / np.maximum(hours, _DONE), 0.0, 1.0),
        )
        return np.stack([np.asarray(value, float) for value in told], -1)

    def unmet_kwh(self, before: Array, after: Array, interval: Interval) -> Array:
        """See DeviceGroup.unmet_kwh: what cars that left in the interval lack."""
        return after[..., _UNMET] * self.priority

    @classmethod
    def added_units(cls, specs: Sequence[EVChargerSpec]) -> list[AddedUnit]:
        """See DeviceGroup.new_injections."""
        return new_units(specs, "ev_charger")

    @classmethod
    def build(cls, specs: Sequence[EVChargerSpec], feeder: Feeder) -> EVChargers:
        """See DeviceGroup.build."""
        rows = unit_rows(specs, feeder, "ev_charger")
        return cls(
            names=tuple(spec.label for spec in specs),
            buses=tuple(feeder.injections[j].bus for j in rows),
            act_every=act_periods([spec.act_every for spec in specs]),
            injections=rows,
            kw=np.array([spec.kw for spec in specs]),
            efficiency=np.array([spec.efficiency for spec in specs]),
            priority=np.array([spec.priority for spec in specs]),
        )

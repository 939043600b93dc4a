"""EV chargers: charging sessions with arrival, energy demand and departure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from pydantic import Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec, Goal, act_periods, clipped
from dss_marl.devices.unit_specs import UnitSpec, new_units, unit_rows, unserved
from dss_marl.grid.feeder import AddedUnit, Feeder
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints, Solution
from dss_marl.profiles.ev_sessions import ev_sessions

# Columns of the device state; hours are relative to the start of the coming interval.
_ENTRY, _ARRIVAL, _DEPARTURE, _DUE, _KWH, _NEXT_ARRIVAL, _NEXT_DEPARTURE, _NEXT_KWH, _GIVEN, _UNMET, _GONE = range(11)
_NEXT = slice(_NEXT_ARRIVAL, _NEXT_KWH + 1)
_NEVER = 1e4  # [h]; for an EV that does not arrive; finite
_DONE = 1e-9  # [kWh] and [h]: rounding tolerance


class EVChargerSpec(UnitSpec):
    """A charger for one EV at a time."""

    efficiency: float = Field(default=0.95, gt=0, le=1, description="energy into the EV over energy from the grid")
    priority: float = Field(default=1.0, ge=0, description="weight of energy missing at departure")
    v2g_kwh: float = Field(
        default=0.0, ge=0, description="energy below its state at arrival that an EV lends; 0: it only charges [kWh]"
    )


@dataclass(frozen=True)
class Stays:
    """Charging sessions over the coming intervals.

    Attributes:
        device: (S) index of the charger.
        kwh: (S) energy due, into the EV [kWh].
        most_kwh: (S) the most that can be due: energy of the session, and what the EV lends [kWh].
        stay_h: (S, T) connected time in each interval [h].
        leaves: (S) whether the EV leaves within these intervals.
    """

    device: IntArray
    kwh: Array
    most_kwh: Array
    stay_h: Array
    leaves: BoolArray


@dataclass(frozen=True)
class EVChargers(DeviceGroup):
    """Chargers. The action sets the power that a connected EV draws: its rated power at 1, the least at -1.

    The least is 0, and the action a share (a + 1) / 2 of rated power; of an EV that lends energy (``v2g_kwh``) it is
    the rated power into the grid, and the action a share a. The energy due stays between 0 and that of the session plus
    what the EV lends; requests beyond are cut, to 0 without an EV. What is lent is due at departure like the rest.
    Uncontrolled chargers charge at full power. In an interval with an arrival or departure the power is in proportion
    to the connected time.

    An EV that leaves before its demand is met has unmet energy, counted once.
    Device state: the requested entry, which applies to EVs that arrive later; the current or next session: hours until
    arrival and departure, energy due and energy of the session [kWh]; the same of the following session, without the
    energy due; energy delivered, negative if lent, and unmet in the last interval [kWh]; 1 if an EV left in it.

    Attributes:
        injections: (D) index of each in Feeder.injections.
        kw: (D) rated power, on the grid side [kW].
        efficiency: (D) energy into the EV over energy from the grid; likewise of energy lent [1].
        priority: (D) weight of unmet energy.
        v2g_kwh: (D) energy below its state at arrival that an EV lends [kWh].
    """

    injections: IntArray
    kw: Array
    efficiency: Array
    priority: Array
    v2g_kwh: Array

    action_labels: ClassVar[tuple[str, ...]] = ("charging power",)
    state_size: ClassVar[int] = 11
    Spec: ClassVar[type[DeviceSpec]] = EVChargerSpec

    @property
    def telemetry_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """Of the connected EV; the energy that it can still lend only where one does."""
        return (
            "EV connected",
            f"energy due [share of {'the most' if self.wears else 'session'}]",
            "time until departure [24 h]",
            "time needed at full power [share of time left]",
            *(["time to lend at full power [share of time left]"] if self.wears else []),
        )

    @cached_property
    def lends(self) -> BoolArray:
        """(D) True where EVs may discharge."""
        found: BoolArray = self.v2g_kwh > 0
        return found

    @cached_property
    def wears(self) -> bool:
        """Whether any EV may discharge."""
        return bool(self.lends.any())

    @cached_property
    def _least(self) -> Array:
        """(D) share of rated power drawn at entry -1: 0, or -1 where EVs may discharge."""
        return -self.lends.astype(float)

    def share(self, entry: Array) -> Array:
        """(..., D) share of rated power drawn, negative into the grid, at entries (..., D)."""
        return ((1 - self._least) * entry + (1 + self._least)) / 2

    def entry(self, share: Array) -> Array:
        """(..., D) the entries at which these shares (..., D) of rated power are drawn; see ``share``."""
        return (2 * share - (1 + self._least)) / (1 - self._least)

    def initial(self) -> Array:
        """See DeviceGroup.initial: no EV arrives."""
        state = np.zeros((self.size, self.state_size))
        state[:, _ENTRY] = 1.0
        state[:, [_ARRIVAL, _DEPARTURE, _NEXT_ARRIVAL, _NEXT_DEPARTURE]] = _NEVER
        return state

    def start(self, rng: np.random.Generator, weekend: bool, hour: float) -> Array:
        """See DeviceGroup.start.

        An EV that is already connected has been charged evenly since its arrival, so part of its energy is still due.
        No EV needs more than its charger can deliver during the stay.
        """
        days = []
        free = np.full(self.size, -np.inf)
        for day in (-1, 0, 1):  # EVs of the previous evening may still be connected
            drawn = ev_sessions(rng, self.size, weekend)
            arrival, kwh = np.maximum(drawn.arrival_h + 24 * day - hour, free), drawn.kwh  # one EV at a time
            stays = np.where(kwh > 0, drawn.departure_h + 24 * day - hour, -np.inf)  # some EVs do not arrive at all
            departure = np.maximum(stays, arrival)
            days.append((arrival, departure, np.minimum(kwh, self.kw * self.efficiency * (departure - arrival))))
            free = departure
        sessions = np.array([*days, [np.full(self.size, _NEVER)] * 2 + [np.zeros(self.size)]])  # (4, 3, D)
        now = np.argmax(sessions[:, 1] > 0, axis=0)  # the first session that has not ended
        arrival, departure, kwh = sessions[now, :, np.arange(self.size)].T
        state = self.initial()
        left = np.clip(departure / np.maximum(departure - arrival, _DONE), 0.0, 1.0)
        for column, value in ((_ARRIVAL, arrival), (_DEPARTURE, departure), (_DUE, kwh * left), (_KWH, kwh)):
            state[:, column] = value
        state[:, _NEXT] = sessions[np.minimum(now + 1, 3), :, np.arange(self.size)]
        return state

    def default_action(self) -> Array:
        """See DeviceGroup.default_action: full power while an EV is connected."""
        return np.ones((self.size, 1))

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; limited by the energy due and by what the EV lends, and to 0 without an EV."""
        requested, limits = action[..., 0], self._limits(state, interval)
        possible = clipped(requested, *limits)
        kw = self._write(possible, state, setpoints, interval)
        kept = state.copy()
        # A request equal to the present power keeps the setting, for EVs that arrive before the next action.
        kept[..., _ENTRY] = np.where(requested == clipped(state[..., _ENTRY], *limits), state[..., _ENTRY], requested)
        given = self._given(kw * interval.dt_h, state)
        due = state[..., _DUE] - given
        kept[..., _GIVEN], kept[..., _DUE] = given, np.where(due > _DONE, due, 0.0)
        kept[..., [_ARRIVAL, _DEPARTURE, _NEXT_ARRIVAL, _NEXT_DEPARTURE]] -= interval.dt_h
        self._let_go(kept)
        return kept, (possible != requested).astype(np.int64)

    def _let_go(self, kept: Array) -> None:
        """End sessions whose departure has passed; the next session takes their place."""
        gone = kept[..., _DEPARTURE] <= _DONE
        kept[..., _GONE] = gone
        kept[..., _UNMET] = np.where(gone, kept[..., _DUE], 0.0)
        coming = kept[..., _NEXT]
        session = np.concatenate([coming, coming[..., -1:]], -1)  # nothing of it is delivered yet
        kept[..., _ARRIVAL : _KWH + 1] = np.where(gone[..., None], session, kept[..., _ARRIVAL : _KWH + 1])
        kept[..., _NEXT] = np.where(gone[..., None], [_NEVER, _NEVER, 0.0], coming)

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """See DeviceGroup.hold; a newly arrived EV draws the last requested power, up to its demand."""
        self._write(self.hold_action(state, setpoints, interval)[..., 0], state, setpoints, interval)

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.hold_action."""
        return clipped(state[..., _ENTRY], *self._limits(state, interval))[..., None]

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.feasible."""
        low, high = self._limits(state, interval)
        allowed: BoolArray = (action >= low[..., None]) & (action <= high[..., None])
        return allowed

    def action_towards(self, goal: Goal, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.action_towards: what of the energy due at the goal is not delivered yet."""
        left = np.where(goal.state[..., _GONE] > 0, goal.state[..., _UNMET], goal.state[..., _DUE])
        wanted, full = state[..., _DUE] - left, self.kw * self._stay(state, interval)  # kWh into the EV; at full power
        drawn = np.where(wanted < 0, wanted * self.efficiency, wanted / self.efficiency)
        share = np.divide(drawn, full, out=np.zeros(full.shape), where=full > 0)
        entry = np.where(full > 0, clipped(self.entry(share), -1.0, 1.0), goal.action[..., 0])
        return clipped(entry, *self._limits(state, interval))[..., None]

    def _stay(self, state: Array, interval: Interval) -> Array:
        """(..., D) connected time within the interval [h]."""
        until = np.minimum(state[..., _DEPARTURE], interval.dt_h)
        return np.maximum(until - np.maximum(state[..., _ARRIVAL], 0.0), 0.0)

    def _limits(self, state: Array, interval: Interval) -> tuple[Array, Array]:
        """(..., D) the lowest entry that lends no more than the EV does, and the highest within the energy due."""
        stay_h = self._stay(state, interval)
        full = self.kw * self.efficiency * stay_h  # kWh at full power
        share = np.divide(state[..., _DUE], full, out=np.zeros(full.shape), where=full > 0)
        high = np.minimum(self.entry(share), 1.0)
        low = np.full(full.shape, -1.0)
        if self.wears:
            empty = self.kw / self.efficiency * stay_h  # kWh out of the EV at full power
            lent = np.divide(self._room(state), empty, out=np.zeros(full.shape), where=empty > 0)
            low = np.where(self.lends, np.maximum(-lent, -1.0), low)
        return low, high

    def _room(self, state: Array) -> Array:
        """(..., D) energy that the EV can still lend, where it does [kWh]."""
        room = state[..., _KWH] + self.v2g_kwh - state[..., _DUE]
        return np.where(self.lends, np.maximum(room, 0.0), 0.0)

    def _given(self, kwh: Array, state: Array) -> Array:
        """(..., D) energy into the EV, negative out of it, for energy (..., D) from the grid [kWh]."""
        given = np.minimum(kwh * self.efficiency, state[..., _DUE])
        if self.wears:
            given = np.where(kwh < 0, np.maximum(kwh / self.efficiency, -self._room(state)), given)
        return given

    def _write(self, entry: Array, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """Set the mean power in the interval; returns it, (..., D) [kW]."""
        kw: Array = self.share(entry) * self.kw * self._stay(state, interval) / interval.dt_h
        setpoints.kw[..., self.injections] = -kw
        setpoints.kvar[..., self.injections] = 0.0
        return kw

    def stays(self, state: Array, steps: int, dt_h: float) -> Stays:
        """The charging sessions in the coming intervals.

        Args:
            state: (D, K) device state before the first interval.
            steps, dt_h: number and length of the intervals.
        """
        kept, number, most = state.copy(), np.zeros(self.size, np.int64), 3  # current session, next one, none
        stay_h = np.zeros((most, self.size, steps))
        kwh, most_kwh, leaves = *np.zeros((2, most, self.size)), np.zeros((most, self.size), bool)
        everyone = np.arange(self.size)
        for step in range(steps):
            kwh[number, everyone], most_kwh[number, everyone] = kept[:, _DUE], kept[:, _KWH] + self.v2g_kwh
            stay_h[number, everyone, step] = self._stay(kept, Interval(step, 0.0, dt_h))
            kept[:, [_ARRIVAL, _DEPARTURE, _NEXT_ARRIVAL, _NEXT_DEPARTURE]] -= dt_h
            self._let_go(kept)
            leaves[number, everyone] = kept[:, _GONE] > 0
            number = np.minimum(number + (kept[:, _GONE] > 0), most - 1)
        there = stay_h.any(-1)
        return Stays(np.nonzero(there)[1], kwh[there], most_kwh[there], stay_h[there], leaves[there])

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """See DeviceGroup.check; energy not delivered at a de-energised bus is still due, or unmet if the EV left."""
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
        """See DeviceGroup.telemetry; of an EV connected in the interval; later arrivals are not reported."""
        there = self._stay(state, interval) > 0
        hours = np.where(there, state[..., _DEPARTURE], 1.0)
        due = np.where(there, state[..., _DUE], 0.0)
        needed = due / (self.kw * self.efficiency)
        values = [
            there,
            due / np.maximum(state[..., _KWH] + self.v2g_kwh, _DONE),
            np.where(there, hours / 24, 0.0),
            np.clip(needed / np.maximum(hours, _DONE), 0.0, 1.0),
        ]
        if self.wears:
            lasting = np.where(there, self._room(state) * self.efficiency / self.kw, 0.0)  # h at full power
            values.append(np.clip(lasting / np.maximum(hours, _DONE), 0.0, 1.0))
        return np.stack([np.asarray(value, float) for value in values], -1)

    def unmet_kwh(self, before: Array, after: Array, interval: Interval) -> Array:
        """See DeviceGroup.unmet_kwh: energy missing in EVs that left in the interval."""
        return after[..., _UNMET] * self.priority

    def worn_kwh(self, state: Array) -> Array:
        """See DeviceGroup.worn_kwh: energy lent counts twice, as it is charged again; charging for driving does not."""
        return 2 * self.efficiency * np.maximum(-state[..., _GIVEN], 0.0)

    @classmethod
    def added_units(cls, specs: Sequence[EVChargerSpec]) -> list[AddedUnit]:
        """See DeviceGroup.added_units."""
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
            v2g_kwh=np.array([spec.v2g_kwh for spec in specs]),
        )

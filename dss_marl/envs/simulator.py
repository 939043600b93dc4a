"""Simulator: the feeder with its devices through a day, operated interval by interval; no agents, no rewards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dss_marl.devices import DeviceGroup, FeederTies, Switches
from dss_marl.engines.base import Engine
from dss_marl.envs.cold_load_pickup import ColdLoad
from dss_marl.envs.task import Task
from dss_marl.grid.regulator_direction import RegulatorDirection
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Interval, Setpoints, Solution
from dss_marl.grid.topology import Topology
from dss_marl.profiles import Day, Forecast

_SETTLED, _MOST_ROUNDS = 0.005, 60  # of reactive power over rating; power flows


class Fault(NamedTuple):
    """Nodes (N) that must not be energised from step ``first`` until, not including, step ``last``."""

    first: int
    last: int
    nodes: BoolArray


class Simulator:
    """One feeder on one engine.

    Args:
        task: what there is.
        engine: solves it.

    Attributes:
        joint: (D) True where devices stand in each other's way.
    """

    episode = ("_day", "_forecast", "_faults")

    def __init__(self, task: Task, engine: Engine) -> None:
        self.task = task
        self.engine = engine
        self._parts, place = [], 0
        for group in task.device_groups:
            size = group.size * group.state_size
            self._parts.append((slice(place, place + size), (group.size, group.state_size)))
            place += size
        every = [
            np.ones(group.size, np.int64) if group.act_every is None else group.act_every
            for group in task.device_groups
        ]
        self._every = np.concatenate(every)[task.agents.action_layout.entry_device]
        self._always = bool((self._every == 1).all())
        self._settling = [k for k, group in enumerate(task.device_groups) if group.voltage_dependent]
        self._silent = not any(len(group.telemetry_labels) for group in task.device_groups)
        # Most kinds have nothing to check or to owe; asking them costs more than this.
        self._checking = [
            k for k, g in enumerate(task.device_groups) if type(g).check is not DeviceGroup.check and not g.trips
        ]
        self._tripping = [k for k, g in enumerate(task.device_groups) if g.trips]
        self._owing = [k for k, g in enumerate(task.device_groups) if type(g).unmet_kwh is not DeviceGroup.unmet_kwh]
        self._storing = [
            k for k, g in enumerate(task.device_groups) if type(g).stored_kwh is not DeviceGroup.stored_kwh
        ]
        self._limit_kw = task.scenario.feeder.import_limit_kw or math.inf
        ends = np.cumsum([group.size for group in task.device_groups])
        self._rows = [slice(end - group.size, end) for group, end in zip(task.device_groups, ends, strict=True)]
        self._zeros = np.zeros(int(ends[-1]))
        self._zeros.flags.writeable = False  # shared by the states
        self.coupled = np.concatenate([np.full(group.size, group.coupled) for group in task.device_groups])
        self._day: Day | None = None
        self._forecast: Forecast | None = None
        self._faults: tuple[Fault, ...] = ()
        self._first = round(task.scenario.start_hour / task.scenario.dt_h)
        cold = task.scenario.cold_load
        self._cold = None if cold is None else ColdLoad(cold, task.feeder, self._topology)
        turns = (
            any(isinstance(group, Switches | FeederTies) for group in task.device_groups) and len(task.feeder.taps) > 0
        )
        self._regulator_direction = RegulatorDirection.build(task.feeder) if turns else None
        self._cold_rows = slice(place, place + (self._cold.size if self._cold else 0))

    # --- the day -----------------------------------------------------------------------------------------------------

    def begin(self, number: int, start: Setpoints, faults: Sequence[str] | None = ()) -> GridState:
        """Reset to a day: the state of its first interval, devices at their start.

        Args:
            number: of the day.
            start: taps and switches at the beginning.
            faults: branches that are broken throughout; None takes the day's own outages, each for its time. Protection
                opens the switches around what breaks; an outage that no switch parts from the source is left out.

        Raises:
            ValueError: no such day or branch, or no switch parts a broken branch from the source.
        """
        task, scenario = self.task, self.task.scenario
        beyond = max(0, self._first + scenario.steps + 1 - task.profiles.steps)
        if scenario.horizon > 1:
            self._forecast = task.profiles.forecast(number, scenario.horizon, beyond)
            self._day = self._forecast.day
        else:
            self._forecast, self._day = None, task.profiles.day(number, max(1, beyond))
        self._faults = self._outages(number) if faults is None else self._throughout(faults)
        rng, weekend = task.profiles.rng(number, "devices"), task.profiles.weekend(number)
        device_state = [
            group.start(own, weekend, scenario.start_hour).ravel()
            for group, own in zip(task.device_groups, rng.spawn(len(task.device_groups)), strict=True)
        ]
        if self._cold is not None:
            found = self._injections(0, self._protected(0, start))
            device_state.append(self._cold.start(self._cold.supplied(found, self._wanted(0))))
        self.engine.restart()
        return self.observe(0, start, np.concatenate(device_state), task.default_action.copy(), None)

    def _throughout(self, branches: Sequence[str]) -> tuple[Fault, ...]:
        return (Fault(0, 10**9, self.task.feeder.at_ends(branches)),) if branches else ()

    def _outages(self, number: int) -> tuple[Fault, ...]:
        """Those that begin on the day and that a switch parts from the source, in steps of the episode."""
        scenario, profiles, result = self.task.scenario, self.task.profiles, []
        for outage in profiles.outages(number):
            first = math.floor((outage.start_h - scenario.start_hour) / scenario.dt_h)
            last = math.ceil((outage.start_h + outage.duration_h - scenario.start_hour) / scenario.dt_h)
            nodes = self.task.feeder.at_ends([outage.branch])
            if last > 0 and not self._topology.reaches_source(nodes):
                result.append(Fault(max(first, 0), last, nodes))
        return tuple(result)

    @cached_property
    def _topology(self) -> Topology:
        return Topology.build(self.task.feeder)

    def interval(self, step: int) -> Interval:
        """When step ``step`` is, and what is broken then."""
        scenario = self.task.scenario
        hour = (scenario.start_hour + step * scenario.dt_h) % 24
        broken = [fault.nodes for fault in self._faults if fault.first <= step < fault.last]
        return Interval(step, hour, scenario.dt_h, np.logical_or.reduce(broken) if broken else None)

    def _protected(self, step: int, present: Setpoints) -> Setpoints:
        """Taps and switches as they are once protection has opened around what breaks in this step."""
        fresh = [fault.nodes for fault in self._faults if fault.first == step]
        if not fresh:
            return present
        return replace(present, closed=self._topology.isolated(present.closed, np.logical_or.reduce(fresh)))

    # --- one interval ------------------------------------------------------------------------------------------------

    def operate(self, now: GridState, joint_action: Array) -> tuple[GridState, IntArray]:
        """The coming interval with the devices acting.

        Args:
            now: as agents saw it.
            flat: (F) what each entry of each device is asked for; held where the device may not act now.

        Returns:
            the interval as operated, and (D) 1 where a device's limit cut the request.

        Raises:
            PowerFlowError: it cannot be solved.
        """
        task, action_layout = self.task, self.task.agents.action_layout
        interval = self.interval(now.step)
        setpoints = self._injections(now.step, now.setpoints)
        if not self._always:
            joint_action = np.where(self.can_act(now.step), joint_action, self.hold_action(now))
        device_state, limited = [], []
        for group, action, kept in zip(
            task.device_groups, action_layout.by_group(joint_action), self.device_states(now.device_state), strict=True
        ):
            new, cut = group.act(action, kept, setpoints, interval)
            device_state.append(new.ravel())
            limited.append(cut)
        together = np.concatenate([*device_state, now.device_state[self._cold_rows]])
        own = self.device_states(together)
        while True:
            operated = setpoints.copy() if self._tripping else setpoints
            supplied = self._pick_up(now.step, operated, together)
            solution = self._solved(operated, together, task.scenario.circuit_controls)
            if task.scenario.circuit_controls:
                operated.tap = solution.tap.copy()
            operated.closed = solution.closed.copy()
            if not sum(self._checked(k, own, operated, solution, limited) for k in self._tripping):
                break
            for k in self._tripping:  # each trip leaves fewer that can
                task.device_groups[k].hold(own[k], setpoints, interval)
        setpoints = operated
        for k in self._checking:
            self._checked(k, own, setpoints, solution, limited)
        if self._cold is not None:
            together[self._cold_rows] = self._cold.after(together[self._cold_rows], supplied, interval.dt_h)
        after = self._state(interval, setpoints, solution, together, joint_action, self._unmet(now, own, interval))
        return after, np.concatenate(limited)

    def _checked(
        self, k: int, own: list[Array], setpoints: Setpoints, solution: Solution, limited: list[IntArray]
    ) -> int:
        """Check a kind: its memory and counts change in place; how many of its devices exceed a rating."""
        checked, exceeded = self.task.device_groups[k].check(own[k], setpoints, solution)
        if checked is not own[k]:
            own[k][:] = checked
        limited[k] = np.maximum(limited[k], exceeded)
        return int(exceeded.sum())

    def _unmet(self, now: GridState, own: list[Array], interval: Interval) -> Array:
        """(D) what the devices owed in the interval and did not deliver [kWh]."""
        if not self._owing:
            return self._zeros
        before, unmet = self.device_states(now.device_state), self._zeros.copy()
        for k in self._owing:
            unmet[self._rows[k]] = self.task.device_groups[k].unmet_kwh(before[k], own[k], interval)
        return unmet

    def observe(
        self, step: int, present: Setpoints, device_state: Array, action: Array, last: GridState | None
    ) -> GridState:
        """Interval ``step`` as agents see it: its load and sun, the devices where they are.

        Args:
            step: number of the interval.
            present: taps and switches as they are.
            memory: of the devices.
            action: what they did last.
            last: the interval before, whose voltages stand where the scenario observes the last ones.
        """
        stale = last is not None and self.task.scenario.observed_voltages == "last"
        return self._held(step, present, device_state, action, last.solution if stale and last is not None else None)

    def advance_unsolved(self, after: GridState) -> GridState:
        """The interval after one, as a search needs it: as ``coming``, but the last voltages spare a power flow."""
        return self._held(after.step + 1, after.setpoints, after.device_state, after.action, after.solution)

    def _held(
        self, step: int, present: Setpoints, device_state: Array, action: Array, solution: Solution | None
    ) -> GridState:
        """An interval with the devices where they are, solved unless a solution stands in."""
        interval = self.interval(step)
        setpoints = self._injections(step, self._protected(step, present))
        for group, own in zip(self.task.device_groups, self.device_states(device_state), strict=True):
            group.hold(own, setpoints, interval)
        self._pick_up(step, setpoints, device_state)
        if solution is None:
            solution = self._solved(setpoints, device_state.copy(), False)
        return self._state(interval, setpoints, solution, device_state, action, self._zeros)

    def picked_up_kw(self, now: GridState) -> Array:
        """(J) what each load would draw if all were supplied, with what they draw more after the dark, >= 0 [kW]."""
        kw = np.maximum(-self._wanted(now.step), 0.0)
        if self._cold is not None:
            kw[self._cold.loads] *= self._cold.factors(now.device_state[self._cold_rows])
        return kw

    def without_pickup(self, now: GridState, step: int) -> GridState:
        """The same state in another interval, with no load that was dark; its solution and readings stay."""
        device_state = now.device_state.copy()
        device_state[self._cold_rows] = 0.0
        return now.replace(step=step, device_state=device_state)

    def _pick_up(self, step: int, setpoints: Setpoints, device_state: Array) -> BoolArray:
        """Loads that come back draw more; (L) which loads are supplied, none where the scenario has no cold load."""
        if self._cold is None:
            return np.zeros(0, bool)
        supplied = self._cold.supplied(setpoints, self._wanted(step))
        self._cold.raise_loads(device_state[self._cold_rows], setpoints, supplied)
        return supplied

    def _solved(self, setpoints: Setpoints, device_state: Array, controls: bool) -> Solution:
        """The power flow, with devices that follow their voltages settled; their memory changes in place."""
        if self._regulator_direction is not None and not controls:
            setpoints = self._bypassed(setpoints)  # shares all but the taps, so what responds below moves both
        solution = self.engine.solve(setpoints, controls)
        if not self._settling:
            return solution
        own = self.device_states(device_state)
        for _ in range(_MOST_ROUNDS):
            off = max(self.task.device_groups[k].respond(own[k], setpoints, solution) for k in self._settling)
            if off < _SETTLED:
                break
            solution = self.engine.solve(setpoints, controls)
        return solution

    def _bypassed(self, setpoints: Setpoints) -> Setpoints:
        """The same with regulators in neutral that are not fed from their first side; the positions are kept.

        Fed from behind, they would raise the wrong side: the circuit's own controls then run to an end.
        """
        assert self._regulator_direction is not None
        forward = self._regulator_direction.fed_forward(setpoints.closed)
        if forward.all():
            return setpoints
        return Setpoints(setpoints.kw, setpoints.kvar, np.where(forward, setpoints.tap, 0), setpoints.closed)

    def _state(
        self,
        interval: Interval,
        setpoints: Setpoints,
        solution: Solution,
        device_state: Array,
        action: Array,
        unmet: Array,
    ) -> GridState:
        assert self._day is not None
        row, horizon = self._first + interval.step, self.task.scenario.horizon
        if self._silent:
            telemetry = self._zeros[:0]
        else:
            telemetry = np.concatenate(
                [
                    group.telemetry(own, setpoints, interval).ravel()
                    for group, own in zip(self.task.device_groups, self.device_states(device_state), strict=True)
                ]
            )
        return GridState(
            interval.step,
            interval.hour,
            interval.dt_h,
            interval.faulted,
            setpoints=setpoints,
            solution=solution,
            device_state=device_state,
            forecast=self._day.kw[row : row + 1] if self._forecast is None else self._forecast.kw(row),
            price=self._day.price[row : row + horizon],
            action=action,
            telemetry=telemetry,
            unmet_kwh=unmet,
            stored_kwh=self._stored(device_state),
            import_limit_kw=self._limit_kw,
        )

    def _stored(self, device_state: Array) -> Array:
        """(D) energy in the devices' stores [kWh]; empty where none stores."""
        if not self._storing:
            return self._zeros[:0]
        own, stored = self.device_states(device_state), self._zeros.copy()
        for k in self._storing:
            stored[self._rows[k]] = self.task.device_groups[k].stored_kwh(own[k])
        return stored

    # --- what devices may do -----------------------------------------------------------------------------------------

    def device_states(self, device_state: Array) -> list[Array]:
        """Per kind, its (D, K) memory; views."""
        return [device_state[part].reshape(shape) for part, shape in self._parts]

    def can_act(self, step: int) -> BoolArray:
        """(F) False where the entry's device waits for a later step."""
        return step % self._every == 0

    def hold_action(self, now: GridState) -> Array:
        """(F) the action that keeps every device as it is."""
        setpoints = self._injections(now.step, now.setpoints)
        return np.concatenate(
            [
                group.hold_action(own, setpoints, self.interval(now.step)).ravel()
                for group, own in zip(self.task.device_groups, self.device_states(now.device_state), strict=True)
            ]
        )

    def feasible(self, now: GridState, values: Array) -> BoolArray:
        """(F, L) whether the devices would do just that.

        Args:
            now: before the interval.
            values: (F, L) what to try in each entry, one level after the other.
        """
        setpoints = self._injections(now.step, now.setpoints)
        interval = self.interval(now.step)
        tried = self.task.agents.action_layout.by_group(np.nan_to_num(values).T)
        parts = [
            group.feasible(action, own, setpoints, interval).reshape(len(action), -1)
            for group, action, own in zip(
                self.task.device_groups, tried, self.device_states(now.device_state), strict=True
            )
        ]
        return np.concatenate(parts, axis=-1).T

    def _wanted(self, step: int) -> Array:
        """(J) injections of an interval before any control [kW]."""
        assert self._day is not None
        return self._day.kw[self._first + step]

    def _injections(self, step: int, present: Setpoints) -> Setpoints:
        """Set points with the interval's injections before control, and taps and switches as they are."""
        assert self._day is not None
        row = self._first + step
        return Setpoints(
            self._day.kw[row].copy(), self._day.kvar[row].copy(), present.tap.copy(), present.closed.copy()
        )

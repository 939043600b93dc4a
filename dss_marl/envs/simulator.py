"""Simulator: a feeder with its devices, operated interval by interval; no agents, no rewards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dss_marl.devices import FeederTies, Goal, Switches
from dss_marl.devices.fleet import DeviceFleet
from dss_marl.engines.base import Engine, PowerFlowError
from dss_marl.envs.cold_load_pickup import ColdLoad
from dss_marl.envs.conditions import EpisodeConditions
from dss_marl.envs.task import Task
from dss_marl.grid.regulator_direction import RegulatorDirection
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Interval, Setpoints, Solution, assembled

_NO_LOADS = np.zeros(0, bool)
SETTLED = 0.005  # largest deviation of a voltage-dependent device from its curve, reactive power over rating
MOST_SOLVES = 60  # power flows until voltage-dependent devices have settled


class Simulator:
    """Operates one feeder on one engine.

    Args:
        task: defines feeder, devices and profiles.
        engine: solves the power flow.

    Attributes:
        fleet: all device groups.
        cold_load: model of cold-load pickup; None if the scenario has none.
        cold_load_rows: rows of its state in the device state, after those of the devices.
        state_kind: class of the states that it makes.
    """

    state_kind: type[GridState] = GridState

    def __init__(self, task: Task, engine: Engine) -> None:
        scenario = task.scenario
        self.task = task
        self.engine = engine
        self.fleet = DeviceFleet(task.device_groups, task.agents.action_layout.parts)
        self.cold_load = None
        if scenario.cold_load is not None:
            self.cold_load = ColdLoad(scenario.cold_load, task.feeder, task.topology)
        devices_end = self.fleet.state_size
        self.cold_load_rows = slice(devices_end, devices_end + (self.cold_load.size if self.cold_load else 0))
        switched = any(isinstance(group, Switches | FeederTies) for group in task.device_groups)
        self._direction = RegulatorDirection.build(task.feeder) if switched and len(task.feeder.taps) else None
        self._pv_rows = task.remembered_pv
        self._import_limit_kw = scenario.feeder.import_limit_kw or math.inf
        self._conditions: EpisodeConditions | None = None
        self._intervals: dict[int, Interval] = {}  # of the running episode; each is asked for several times

    @property
    def conditions(self) -> EpisodeConditions:
        """Conditions of the running episode; set them to continue another episode.

        Raises:
            RuntimeError: no episode has begun.
        """
        if self._conditions is None:
            raise RuntimeError("the simulator has no running episode; call begin first")
        return self._conditions

    @conditions.setter
    def conditions(self, conditions: EpisodeConditions) -> None:
        self._conditions, self._intervals = conditions, {}

    def begin(self, number: int, start: Setpoints, faults: Sequence[str] | None = ()) -> GridState:
        """Start a day: the state of its first interval, with devices in their initial state.

        Args:
            number: of the day.
            start: initial taps and switches.
            faults: branches faulted throughout the episode; None: the day's own outages, each for its duration.
                Protection opens the switches around a fault; outages that no switch can isolate are ignored.

        Raises:
            ValueError: no such day or branch, or no switch isolates a faulted branch from the source; nothing has
                changed.
            PowerFlowError: the first interval cannot be solved.
        """
        return self.enter(number, start, EpisodeConditions.of_day(self.task, number, faults))

    def enter(self, number: int, start: Setpoints, today: EpisodeConditions) -> GridState:
        """As ``begin``, on a day whose conditions are known."""
        task, self.conditions = self.task, today
        rng, weekend = task.profiles.rng(number, "devices"), task.profiles.weekend(number)
        device_state = self.fleet.start(rng, weekend, today.start_hour)
        start = self.fleet.with_opened(device_state, start)
        device_state = self._with_cold_load(0, device_state, start)
        self.engine.restart()
        return self.observe(0, start, device_state, task.default_action.copy(), None)

    def _with_cold_load(self, step: Any, device_state: Array, start: Setpoints) -> Array:
        """(..., K) the devices' state at the start, with that of cold-load pickup after it."""
        if self.cold_load is None:
            return device_state
        today = self.conditions
        first = today.setpoints(step, today.protected(step, start))
        cold = self.cold_load.start(self.cold_load.supplied(first, today.injections_kw(step)))
        return np.concatenate([device_state, cold], axis=-1)

    def _interval(self, step: Any) -> Interval:
        """Time step of the running episode."""
        if step not in self._intervals:
            self._intervals[step] = self.conditions.interval(step)
        return self._intervals[step]

    def _interval_of(self, now: GridState) -> Interval:
        """Time step of a state of the running episode, with the nodes that must not be energised in it."""
        return self._barred(self._interval(now.step), now.device_state)

    def _barred(self, interval: Interval, device_state: Array) -> Interval:
        """The interval with the nodes that devices bar among the faulted ones."""
        faulted = self.fleet.barred(device_state, interval.faulted)
        return interval if faulted is interval.faulted else replace(interval, faulted=faulted)

    # --- one interval ------------------------------------------------------------------------------------------------

    def operate(self, now: GridState, joint_action: Array) -> tuple[GridState, IntArray]:
        """Operate the coming interval with a joint action.

        Args:
            now: the coming interval as observed.
            joint_action: (F) request to each entry; a device that cannot act in this step holds.

        Returns:
            the interval as operated, and (D) 1 where a device's limit cut the request.

        Raises:
            PowerFlowError: the power flow fails.
        """
        fleet, interval = self.fleet, self._interval_of(now)
        setpoints = self.conditions.setpoints(now.step, now.setpoints)
        joint_action = fleet.hold_waiting(joint_action, now.device_state, setpoints, interval)
        device_state, limited = fleet.act(joint_action, now.device_state, setpoints, interval)
        operated, supplied, solution = self._run(interval, setpoints, device_state, limited)
        fleet.check(device_state, operated, solution, limited)
        if self.cold_load is not None:
            cold = device_state[..., self.cold_load_rows]
            device_state[..., self.cold_load_rows] = self.cold_load.after(cold, supplied, interval.dt_h)
        unmet_kwh = fleet.unmet_kwh(now.device_state, device_state, interval)
        more = {"action": joint_action, "unmet_kwh": unmet_kwh, "pv_kwh": self.fed_in(now, operated)}
        return self._state(interval, operated, solution, device_state, **more), limited

    def fed_in(self, now: GridState, operated: Setpoints) -> Array:
        """(..., 2, U) ``GridState.pv_kwh`` at the end of an interval ``now`` with set points as operated."""
        if not self._pv_rows.size:
            return now.pv_kwh
        available_kw = self.conditions.injections_kw(now.step)[..., self._pv_rows]
        return np.asarray(now.pv_kwh + np.stack([available_kw, operated.kw[..., self._pv_rows]], axis=-2) * now.dt_h)

    def attempt(self, now: GridState, joint_action: Array) -> tuple[GridState | None, bool | BoolArray]:
        """The interval as it would be with a joint action, None if its power flow fails; and whether it fails."""
        try:
            return self.operate(now, joint_action)[0], False
        except PowerFlowError:
            return None, True

    def acted(
        self,
        now: GridState,
        joint_action: Array,
        solution: Solution,
        exact: bool = False,
        shift_pu: Array | None = None,
    ) -> tuple[Setpoints, Array, Array]:
        """What the devices make of a joint action without a power flow, of which the solution is given.

        Args:
            now, joint_action: as in ``operate``.
            solution: that the devices see afterwards.
            exact: set points in double precision, for differences, though the engine's may be in single precision.
            shift_pu: (D) added to the voltages that devices follow [pu]; None: nothing.

        Returns:
            the set points, the devices' state, and (D) energy owed [kWh].
        """
        fleet, interval = self.fleet, self._interval_of(now)
        setpoints = self.conditions.setpoints(now.step, now.setpoints)
        if exact:
            setpoints.kw, setpoints.kvar = setpoints.kw.astype(np.float64), setpoints.kvar.astype(np.float64)
        joint_action = fleet.hold_waiting(joint_action, now.device_state, setpoints, interval)
        device_state, limited = fleet.act(joint_action, now.device_state, setpoints, interval)
        self._pick_up(interval.step, setpoints, device_state)
        if fleet.voltage_dependent:
            fleet.settle(device_state, setpoints, solution, shift_pu)
        fleet.check(device_state, setpoints, solution, limited)
        if fleet.trips:
            fleet.trip(device_state, setpoints, solution, limited)
        return setpoints, device_state, fleet.unmet_kwh(now.device_state, device_state, interval)

    def solved_setpoints(self, operated: Setpoints) -> Setpoints:
        """The set points that the engine solves for an operated interval, with bypassed regulators at neutral."""
        if self._direction is None or self.task.scenario.circuit_controls:
            return operated
        return self._bypass(operated)

    def observe(
        self, step: Any, present: Setpoints, device_state: Array, action: Array, last: GridState | None
    ) -> GridState:
        """Interval ``step`` as observed: its load and PV with all devices held.

        Args:
            step: number of the interval.
            present: present taps and switches.
            device_state: of the devices.
            action: (F) their last action.
            last: the interval before, the source of voltages if the scenario's ``observed_voltages`` is "last".
        """
        stale = last is not None and self.task.scenario.observed_voltages == "last"
        pv_kwh = None if last is None else last.pv_kwh
        return self.hold(
            step, present, device_state, action, last.solution if stale and last is not None else None, pv_kwh
        )

    def observe_next(self, after: GridState) -> GridState:
        """The interval that follows an operated one, as observed."""
        return self.observe(after.step + 1, after.setpoints, after.device_state, after.action, after)

    def hold(
        self,
        step: Any,
        present: Setpoints,
        device_state: Array,
        action: Array,
        solution: Solution | None,
        pv_kwh: Array | None = None,
    ) -> GridState:
        """Interval ``step`` with all devices held.

        Args:
            step, present, device_state, action: as in ``observe``.
            solution: used instead of a power flow; None: the interval is solved.
            pv_kwh: fed in so far, see GridState; None: nothing.
        """
        interval = self._barred(self._interval(step), device_state)
        setpoints = self.conditions.setpoints(step, self.conditions.protected(step, present))
        self.fleet.hold(device_state, setpoints, interval)
        self._pick_up(step, setpoints, device_state)
        if solution is None:
            settling = device_state.copy() if self.fleet.voltage_dependent else device_state
            solution = self._solve(setpoints, settling, False)
        if pv_kwh is None:
            pv_kwh = np.zeros((*device_state.shape[:-1], 2, self._pv_rows.size))
        more = {"action": action, "unmet_kwh": self.fleet.zeros(device_state), "pv_kwh": pv_kwh}
        return self._state(interval, setpoints, solution, device_state, **more)

    # --- feasible actions --------------------------------------------------------------------------------------------

    def hold_action(self, now: GridState) -> Array:
        """(F) the joint action that keeps every device at its set point."""
        setpoints = self.conditions.setpoints(now.step, now.setpoints)
        return self.fleet.hold_action(now.device_state, setpoints, self._interval_of(now))

    def action_towards(self, now: GridState, goal: Goal) -> Array:
        """(..., F) the joint action that leads from ``now`` as near to a goal as one action may.

        Args:
            now: before the interval.
            goal: joint action, device state and set points after the same interval of another play.
        """
        setpoints = self.conditions.setpoints(now.step, now.setpoints)
        return self.fleet.action_towards(goal, now.device_state, setpoints, self._interval_of(now))

    def feasible(self, now: GridState, values: Array) -> BoolArray:
        """(F, L) True where the devices would execute the value without limiting it.

        Args:
            now: before the interval.
            values: (F, L) values to try in each entry, level by level.
        """
        setpoints = self.conditions.setpoints(now.step, now.setpoints)
        return self.fleet.feasible(values, now.device_state, setpoints, self._interval_of(now))

    # --- the power flow ----------------------------------------------------------------------------------------------

    def _pick_up(self, step: Any, setpoints: Setpoints, device_state: Array) -> BoolArray:
        """Apply cold-load pickup; returns (L) which loads are supplied, (0) without cold-load pickup."""
        if self.cold_load is None:
            return _NO_LOADS
        supplied = self.cold_load.supplied(setpoints, self.conditions.injections_kw(step))
        self.cold_load.raise_loads(device_state[..., self.cold_load_rows], setpoints, supplied)
        return supplied

    def _run(
        self, interval: Interval, setpoints: Setpoints, device_state: Array, limited: IntArray
    ) -> tuple[Setpoints, BoolArray, Solution]:
        """Solve an interval in which the devices have acted, again without those that trip, until none does.

        Args:
            interval: the time step.
            setpoints: as the devices wrote them; changed in place, as are device_state and limited.
            device_state: (K)
            limited: (D)

        Returns:
            the set points as operated, (L) which loads were supplied, and the solution.
        """
        fleet = self.fleet
        while True:
            operated = setpoints.copy() if fleet.trips else setpoints
            supplied = self._pick_up(interval.step, operated, device_state)
            solution = self._solve_operated(operated, device_state)
            if not (fleet.trips and fleet.trip(device_state, operated, solution, limited)):
                return operated, supplied, solution
            fleet.hold_tripping(device_state, setpoints, interval)

    def _solve_operated(self, setpoints: Setpoints, device_state: Array) -> Solution:
        """As ``_solve``, with the circuit's own controls if the scenario has them; these change taps and switches."""
        controls = self.task.scenario.circuit_controls
        solution = self._solve(setpoints, device_state, controls)
        if controls:
            setpoints.tap = solution.tap.copy()
        setpoints.closed = solution.closed.copy()
        return solution

    def _solve(self, setpoints: Setpoints, device_state: Array, controls: bool) -> Solution:
        """The power flow with voltage-dependent devices settled; their state changes in place."""
        if self._direction is not None and not controls:
            setpoints = self._bypass(setpoints)  # shares all arrays but the taps, so that responses below change both
        solution = self._flow(setpoints, controls)
        return self._settled(setpoints, device_state, solution, controls) if self.fleet.voltage_dependent else solution

    def _flow(self, setpoints: Setpoints, controls: bool) -> Solution:
        """One power flow."""
        return self.engine.solve(setpoints, controls)

    def _settled(self, setpoints: Setpoints, device_state: Array, solution: Solution, controls: bool) -> Solution:
        """The power flow after voltage-dependent devices have settled, from a first one."""
        for _ in range(MOST_SOLVES):
            if self.fleet.respond(device_state, setpoints, solution) < SETTLED:
                break
            solution = self._flow(setpoints, controls)
        return solution

    def _bypass(self, setpoints: Setpoints) -> Setpoints:
        """The set points with regulators in reverse flow at neutral; the original keeps their positions.

        In reverse flow a regulator would raise the wrong side, and the circuit's own controls would run to the end.
        """
        assert self._direction is not None
        forward = self._direction.fed_forward(setpoints.closed)
        if forward.all():
            return setpoints
        return replace(setpoints, tap=np.where(forward, setpoints.tap, 0))

    def _state(
        self, interval: Interval, setpoints: Setpoints, solution: Solution, device_state: Array, **rest: Array
    ) -> GridState:
        """The grid state of an interval; ``rest`` is its ``action``, ``unmet_kwh`` and ``pv_kwh``."""
        fleet = self.fleet
        return assembled(
            self.state_kind,
            step=interval.step,
            hour=interval.hour,
            dt_h=interval.dt_h,
            faulted=interval.faulted,
            last=interval.last,
            setpoints=setpoints,
            solution=solution,
            device_state=device_state,
            telemetry=fleet.telemetry(device_state, setpoints, interval),
            stored_kwh=fleet.stored_kwh(device_state),
            fuel_l=fleet.fuel_l(device_state),
            worn_kwh=fleet.worn_kwh(device_state),
            import_limit_kw=self._import_limit_kw,
            **self._looked_up(interval.step),
            **rest,
        )

    def _looked_up(self, step: Any) -> dict[str, Any]:
        """The fields of a state that follow from the day and the step alone."""
        today = self.conditions
        return {"forecast": today.forecast_kw(step), "price": today.price(step)}

"""BatchSimulator: several copies of a feeder with its devices, operated interval by interval at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dss_marl.engines.base import BatchEngine
from dss_marl.envs.batch_conditions import BatchConditions, Faults
from dss_marl.envs.conditions import start_hour_of
from dss_marl.envs.day_table import DayTable, day_and_row, episode_number
from dss_marl.envs.episode_draw import Draw
from dss_marl.envs.simulator import MOST_SOLVES, SETTLED, Simulator
from dss_marl.envs.task import Task
from dss_marl.grid.copies import put_rows, with_rows
from dss_marl.grid.deferred_state import DeferredState
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Interval, Setpoints, Solution


class BatchSimulator(Simulator):
    """As Simulator, with a leading axis B on all states; a failed power flow stops its own copy only.

    What differs from one copy to the next is how often it is solved: until its devices have settled, until none trips,
    or not at all after a failure. Each copy is solved exactly as often, and in the same order, as alone.

    Args:
        task: defines feeder, devices and profiles.
        engine: solves the power flows of all copies.

    Attributes:
        running: (B) False for copies that are not solved: those whose power flow has failed since ``resume``.
        many: the conditions of all copies.
        table: of the days that they play.
        precision: of the set points and the solutions, as the engine's attribute of this name says.
    """

    state_kind: type[GridState] = DeferredState

    def __init__(self, task: Task, engine: BatchEngine) -> None:
        super().__init__(task, engine)  # type: ignore[arg-type]  # used in _flow alone
        self.copies = engine.copies
        self.batch_engine = engine
        self.precision = np.dtype(getattr(engine, "precision", np.float64))
        self.running = np.ones(engine.copies, bool)
        self._steps = np.zeros(engine.copies, np.int64)
        self.table = DayTable(task, self._start_of_day, self.fleet.state_size, self.precision)
        self.many = BatchConditions(task, self.table, engine.copies)
        self.conditions = self.many  # type: ignore[assignment]  # which does all that is asked of one copy's
        points = task.start
        kw, kvar = (power.astype(self.precision) for power in (points.kw, points.kvar))
        self._start = self._repeated(Setpoints(kw, kvar, points.tap, points.closed))

    def _start_of_day(self, number: int) -> Array:
        """(K) device state at the start of an episode."""
        profiles, (day, row) = self.task.profiles, day_and_row(number)
        rng, weekend = profiles.rng(day, "devices"), profiles.weekend(day)
        scenario = self.task.scenario
        hour = scenario.start_hour if row is None else start_hour_of(scenario, row)
        return self.fleet.start(rng, weekend, hour)

    def resume(self, which: BoolArray | None = None) -> None:
        """Solve all copies again, or those (B) alone."""
        self.running = np.ones(self.copies, bool) if which is None else which.copy()

    def checked(self, draws: Sequence[Draw]) -> tuple[IntArray, list[Faults]]:
        """Numbers of the episodes that were drawn, see ``episode_number``, and their faults; they are then known.

        Raises:
            ValueError: no such day or branch, or no switch parts a broken branch from the source.
        """
        known = self.many.faults_of
        faults = [
            () if one.faults == () else known(one.day, one.faults if one.faults is None else tuple(one.faults))
            for one in draws
        ]
        numbers = np.array([episode_number(one.day, one.first_row) for one in draws], np.int64)
        self.table.places(numbers)
        return numbers, faults

    def enter_all(self, rows: IntArray, numbers: IntArray, faults: Sequence[Faults]) -> GridState:
        """Start a day in some copies; see Simulator.enter.

        Args:
            rows: (b) the copies.
            numbers, faults: (b) of the episodes that they start, see ``checked``.

        Returns:
            (B, ...) the state of the first interval; of the other copies without meaning.
        """
        which = np.zeros(self.copies, bool)
        which[rows] = True
        self.many.begin(rows, numbers, faults)
        device_state = self.table.start[self.many.place]
        points = self.fleet.with_opened(device_state, self._start)
        device_state = self._with_cold_load(self._steps, device_state, points)
        self.batch_engine.restart(which)
        self.resume(which)
        action = np.repeat(self.task.default_action[None], self.copies, 0)
        return self.observe(self._steps, points, device_state, action, None)

    def _repeated(self, one: Setpoints) -> Setpoints:
        """The set points of one copy for all, (B, ...)."""
        n = self.copies
        return Setpoints(
            np.tile(one.kw, (n, 1)), np.tile(one.kvar, (n, 1)), np.tile(one.tap, (n, 1)), np.tile(one.closed, (n, 1))
        )

    def operate(self, now: GridState, joint_action: Array) -> tuple[GridState, IntArray]:
        """See Simulator.operate; ``running`` becomes False for the copies whose power flow fails."""
        return super().operate(now, joint_action)

    def attempt(self, now: GridState, joint_action: Array) -> tuple[GridState, BoolArray]:
        """See Simulator.attempt, of the copies that run; (B) True where it fails, and ``running`` stays as it is."""
        before = self.running
        self.resume(before)
        tried = self.operate(now, joint_action)[0]
        failed, self.running = before & ~self.running, before
        return tried, failed

    def _interval(self, step: Any) -> Interval:
        """See Simulator; copies that are out of step seldom ask for the same intervals again."""
        return self.many.interval(step)

    def _looked_up(self, step: Any) -> dict[str, Any]:
        """See Simulator; of many copies it is looked up when it is asked for."""
        return {"outlook": self.many.outlook(step)}

    # --- copies that need more power flows than others ---------------------------------------------------------------

    def _flow(self, setpoints: Setpoints, controls: bool, wanted: BoolArray | None = None) -> Solution:
        """One power flow of the running copies, or of some of them."""
        which = self.running if wanted is None else wanted & self.running
        solution, failed = self.batch_engine.solve(setpoints, controls, None if which.all() else which)
        if failed.any():
            self.running = self.running & ~failed
        return solution

    def _run(
        self, interval: Interval, setpoints: Setpoints, device_state: Array, limited: IntArray
    ) -> tuple[Setpoints, BoolArray, Solution]:
        """See Simulator._run; copies in which nothing trips any more stay as they are."""
        if not self.fleet.trips:
            return super()._run(interval, setpoints, device_state, limited)
        everyone, pending = self.running, self.running.copy()
        operated, supplied, solution = None, np.zeros((self.copies, 0), bool), None
        while True:
            self.running = pending
            trial = setpoints.copy()
            fed = self._pick_up(interval.step, trial, device_state)
            flow = self._solve_operated(trial, device_state)
            everyone = everyone & (self.running | ~pending)
            solution = flow if solution is None else with_rows(solution, flow, pending)
            operated = trial if operated is None else with_rows(operated, trial, pending)
            supplied = fed if not supplied.size else put_rows(supplied, fed, pending)
            kept, cut = device_state.copy(), limited.copy()
            tripped = self.fleet.trip(device_state, trial, flow, limited) & self.running
            device_state[~pending], limited[~pending] = kept[~pending], cut[~pending]
            pending = tripped
            if not pending.any():
                self.running = everyone
                return operated, supplied, solution
            held = setpoints.copy()
            self.fleet.hold_tripping(device_state, held, interval)
            _overwrite(setpoints, held, pending)

    def _settled(self, setpoints: Setpoints, device_state: Array, solution: Solution, controls: bool) -> Solution:
        """See Simulator._settled; copies that have settled stay as they are."""
        moving = self.running.copy()
        for _ in range(MOST_SOLVES):
            points, state = setpoints.copy(), device_state.copy()
            off = self.fleet.respond(state, points, solution)
            _overwrite(setpoints, points, moving)
            device_state[moving] = state[moving]
            moving &= ~(off < SETTLED)
            if not moving.any():
                break
            solution = with_rows(solution, self._flow(setpoints, controls, moving), moving)
            moving &= self.running
        return solution


def _overwrite(setpoints: Setpoints, values: Setpoints, rows: BoolArray) -> None:
    """Replace the set points of some copies, in place."""
    for target, value in (
        (setpoints.kw, values.kw),
        (setpoints.kvar, values.kvar),
        (setpoints.tap, values.tap),
        (setpoints.closed, values.closed),
    ):
        target[rows] = value[rows]
    if values.converter_kw is not None:
        setpoints.put_converter_kw(slice(None), put_rows(setpoints.lost_kw, values.converter_kw, rows))

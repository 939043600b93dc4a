"""OpenDSS power flow of one compiled circuit, writing only the set points that changed."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from dss_marl.engines.base import PowerFlowError
from dss_marl.engines.opendss.branch_currents import Currents, read_flows
from dss_marl.engines.opendss.commands import FOLLOW_SHAPES, engine_settings
from dss_marl.engines.opendss.context import acquire, check_thread, compile_circuit, release
from dss_marl.engines.opendss.element_sums import WHY_SINGULAR, ElementSums, has_solution, stiff_branches
from dss_marl.engines.opendss.floating_loads import has_floating_loads
from dss_marl.engines.opendss.grid_forming import grid_forming_powers
from dss_marl.engines.opendss.hidden_state import has_reversible_controls, hidden_states
from dss_marl.engines.opendss.load_draws import Draws
from dss_marl.engines.opendss.load_jumps import LoadJumps
from dss_marl.engines.opendss.solver_calls import FULL_REBUILD, REUSE_FACTORS, SolverCalls
from dss_marl.engines.opendss.switchgear import SwitchWriter, close_all
from dss_marl.engines.opendss.tap_changers import TapWriter
from dss_marl.engines.opendss.terminals import activate
from dss_marl.engines.supply import Supply
from dss_marl.grid.angles import NodePlaces
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.indexing import contiguous
from dss_marl.grid.state import BoolArray, IntArray, Setpoints, Solution, assembled

_FLOOR_PU, _CEILING_PU = 0.4, 1.6  # between which the units that a scenario adds deliver what is asked
# Current sources count as sources; faults and converters between two buses dissipate, which is loss.
_OWN_POWER = ("pvsystem.", "storage.", "generator.", "vccs.", "indmach", "windgen.", "generic5.")
_NO_UNITS = np.zeros((0, 3))
_NO_UNITS.flags.writeable = False  # shared by the solutions


class OpenDSSEngine:
    """One circuit in one OpenDSS context, opened at the first solve and kept open.

    Loads and units read their kW and kvar from one-point load shapes in memory owned by this object, so a change of
    all injections costs one array copy. Taps and switches are written only where they changed, because each write
    rebuilds the admittance matrix.

    Args:
        feeder: the circuit; its ``path`` and ``commands`` are compiled.
        tolerance: OpenDSS's relative convergence tolerance. Solutions that differ only in history are equal to about
            this value in pu; after ``restart`` they are bitwise equal.
        floor_pu: an energised node below this voltage is a failed power flow [pu]; 0.4 at least, where the scenario's
            units stop to deliver what is asked.
        ceiling_pu: likewise above this voltage [pu]; 1.6 at most.
        max_iterations: per solve.
    """

    def __init__(
        self,
        feeder: Feeder,
        tolerance: float = 1e-5,
        floor_pu: float = _FLOOR_PU,
        max_iterations: int = 100,
        ceiling_pu: float = _CEILING_PU,
    ) -> None:
        if floor_pu < _FLOOR_PU:
            raise ValueError(f"floor_pu must be at least 0.4: below, units deliver less than asked; got {floor_pu}")
        if not floor_pu < ceiling_pu <= _CEILING_PU:
            raise ValueError(
                f"ceiling_pu must be above floor_pu, and 1.6 at most: above, units deliver more than asked; got "
                f"{ceiling_pu}"
            )
        self.feeder = feeder
        self.tolerance = tolerance
        self.floor_pu = floor_pu
        self.max_iterations = max_iterations
        self.ceiling_pu = ceiling_pu
        self._context: Any = None
        self._turned = False
        self._fresh = True
        self._regular: set[bytes] = set()  # switch states whose matrix has an inverse
        self._supply = Supply(feeder)
        powers = (len(feeder.injections),)
        self._shapes = powers, powers, (len(feeder.taps),), (len(feeder.switches),)

    def solve(self, setpoints: Setpoints, controls: bool = False) -> Solution:
        """Steady state of the feeder; see Engine.solve."""
        if self._context is None:
            self._open()
        check_thread()
        given = setpoints.kw.shape, setpoints.kvar.shape, setpoints.tap.shape, setpoints.closed.shape
        if given != self._shapes:
            raise ValueError(
                f"set points of feeder {self.feeder.name!r} must be of one state, with kw, kvar, tap and closed of "
                f"shape {', '.join(map(str, self._shapes))}; got {', '.join(map(str, given))}. Solve a batch state by "
                "state, or with an engine that solves batches"
            )
        if controls and self._turned:
            self.close()
            self._open()
        was_fresh = self._fresh
        try:
            solution = self._attempt(setpoints, controls)
            if was_fresh or self._jumps is None or not self._jumps.are_near(self._calls.voltages()):
                return solution
            self._fresh = True  # the one that a new engine finds
        except PowerFlowError:
            if was_fresh:
                raise
        # A warm start may fail, or converge to a collapsed solution, where a flat start does not.
        if self._context is None:
            self._open()
        return self._attempt(setpoints, controls)

    def element_loss_kw(self) -> float:
        """Losses of the last solve as OpenDSS sums them over lines and transformers [kW].

        Independent of the power balance that gives ``Solution.loss_kw``, and therefore a check of it.

        Raises:
            RuntimeError: nothing has been solved yet.
        """
        if self._context is None:
            raise RuntimeError("element_loss_kw needs a solution; call solve first")
        return float(self._context.Circuit.Losses()[0]) / 1000

    def restart(self) -> None:
        """Forget all history: the solves that follow are bitwise those of a new engine."""
        if self._context is not None:
            self._fresh = True

    def close(self) -> None:
        """Return the context to the pool."""
        if self._context is not None:
            context, self._context = self._context, None
            release(context)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the interpreter may be shutting down
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Without the context, which cannot be copied; the copy opens its own."""
        return {k: getattr(self, k) for k in ("feeder", "tolerance", "floor_pu", "max_iterations", "ceiling_pu")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    # --- opening -------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        feeder, context = self.feeder, acquire()
        try:
            compile_circuit(context, feeder.path, feeder.commands)
            self._hidden, self._reversible = hidden_states(context), has_reversible_controls(context)
            for command in engine_settings(self.tolerance, self.max_iterations):
                context.Text.Command(command)
            context.Solution.Solve()
            self._several = bool(self._hidden) or has_floating_loads(context)  # of nodes that a solve has numbered
            ends = close_all(context, feeder.switches)
            self._bind_nodes(context)
            self._flows = read_flows(context, feeder)
            context.Text.Command(FOLLOW_SHAPES)  # not before: each solve in it would take an hour out of batteries
            self._bind_shapes(context)
            self._draws = Draws(context, feeder)
            self._sums = ElementSums(context) if stiff_branches(feeder) else None
            jumps = LoadJumps(context)
            self._jumps = jumps if len(jumps) else None
        except BaseException:
            release(context)
            raise
        self._context, self._lib = context, context.dss_lib
        self._tap = np.array([row.initial for row in feeder.taps], dtype=np.int64)
        self._step = np.array([row.step_pu for row in feeder.taps])
        self._offset = np.array([row.offset_pu for row in feeder.taps])
        self._closed = np.array([row.closed or row.kind == "switch" for row in feeder.switches], bool)
        ends |= {feeder.switches[s].element: [1] for s in feeder.grid_forming_units}
        self._switches = SwitchWriter(context, feeder.switches, ends)
        self._grid_forming_rows = [
            [row.grid_forming_switch for row in feeder.injections].index(s) for s in feeder.grid_forming_units
        ]
        # Power elements that no set point controls take part in the power balance; controls and meters do not.
        self._own = [name for name in feeder.uncontrolled if name.startswith(_OWN_POWER)]
        self._all = np.ones(len(feeder.nodes), bool)
        self._all.flags.writeable = False  # shared by the solutions
        # A bus without any connection may have no base voltage.
        self._per_volt = np.divide(1e-3, feeder.kv_base, where=feeder.kv_base > 0, out=np.zeros(len(feeder.nodes)))
        self._taps = TapWriter(context, feeder.taps)
        self._turned = False  # whether a control may have turned round
        self._fresh = True

    def _bind_nodes(self, context: Any) -> None:
        """Positions of the Feeder's nodes in OpenDSS's voltage vector; usually its beginning."""
        place = {name.lower(): i + 1 for i, name in enumerate(context.Circuit.YNodeOrder())}
        self._calls = SolverCalls(context, len(place))
        places = np.array([place[node] for node in self.feeder.nodes])
        # Position of the neutral conductors; 0 is earth. None where there are none, which saves the subtraction.
        neutrals = np.array([place.get(node, 0) for node in self.feeder.neutrals], dtype=np.int64)
        self._neutrals = neutrals if neutrals.any() else None
        self._places = contiguous(places)
        self._node_places = NodePlaces.of(self.feeder.nodes, self._places, self._neutrals)

    def _bind_shapes(self, context: Any) -> None:
        """Give every load and unit a one-point shape in our memory: kW in row 0, kvar in row 1 of ``_power``."""
        rows = self.feeder.injections
        self._power = np.zeros((2, len(rows)))  # must outlive the circuit: OpenDSS reads it in place
        self._kw, self._kvar = self._power
        self._sign = np.array([-1.0 if row.kind == "load" else 1.0 for row in rows])
        address, cast = self._power.ctypes.data, context.dss_ffi.cast
        size = self._power.itemsize
        for j, row in enumerate(rows):
            context.Text.Command(f"new loadshape.dss_marl_{j} npts=1 interval=1 useactual=yes pmult=[1] qmult=[1]")
            context.LoadShape.Name(f"dss_marl_{j}")
            kw, kvar = cast("void*", address + size * j), cast("void*", address + size * (len(rows) + j))
            # ONE point of double precision, external memory, stride 1
            context.dss_lib.LoadShapes_Set_Points(1, context.dss_ffi.NULL, kw, kvar, 1, 0, 1)
            context.Text.Command(f'edit "{row.name}" daily=dss_marl_{j} status=variable')

    # --- one solve -----------------------------------------------------------------------------------------------

    def _attempt(self, setpoints: Setpoints, controls: bool) -> Solution:
        context = self._context
        self._fresh = self._fresh or self._several  # of several solutions, that of a new engine
        energised, dead = self._supply.of(setpoints.closed)
        # After a tap change reuse the structure and values of the factorisation. A fresh start must not: with reuse
        # the matrix, and so the last bits of the voltages, would depend on earlier solves.
        # Set before writing: a tap written under one option is lost in a rebuild under the other.
        self._calls.set_options(FULL_REBUILD if self._fresh else REUSE_FACTORS)
        self._write(setpoints, dead)
        tap = self._tap
        if self._fresh:
            # Both are needed: a flat start alone keeps the loads' admittances of the last rebuild.
            for command in self._hidden:
                context.Text.Command(command)
            self._switches.close_terminals()
            context.YMatrix.SystemYChanged(True)
            context.YMatrix.SolutionInitialized(False)
        try:
            if controls:
                self._turned = self._reversible
                context.Solution.ControlMode(0)  # static: controls act until they are content
                self._lib.Solution_SolveSnap()
                context.Solution.ControlMode(-1)
                converged = context.Solution.Converged()  # a checked call: raises an error of the two calls before
                tap = self._read_controls()
            else:
                converged = self._calls.solve()
        except Exception as error:
            self.close()  # the circuit's state is unknown, so the next solve compiles it again
            raise PowerFlowError(f"OpenDSS on feeder {self.feeder.name!r}: {error.args[-1]}") from error
        self._refuse_singular(setpoints.closed)
        return self._solution(converged, tap, energised)

    def _solution(self, converged: bool, tap: IntArray, energised: BoolArray | None) -> Solution:
        v = self._calls.voltages()
        v_pu = np.abs(v[self._places] if self._neutrals is None else v[self._places] - v[self._neutrals])
        v_pu *= self._per_volt
        self._check(converged, v_pu, energised)
        if energised is not None:
            v_pu[~energised] = 0.0
        self._fresh = False
        served = self._kw.copy()  # a unit without limits of its own delivers what is asked: the floor is above them
        self._draws.write(served)
        source_kw, source_kvar, lost = self._balance()
        kw, kvar = _NO_UNITS, _NO_UNITS
        if self._grid_forming_rows:
            kw, kvar = grid_forming_powers(self._context, self.feeder, self._closed)
            served[self._grid_forming_rows] += kw.sum(axis=-1)
            source_kw, source_kvar = source_kw - kw.sum(), source_kvar - kvar.sum()  # OpenDSS adds up all sources
        # The balance is cheaper than summing the branches, and as exact as the solve.
        loss_kw = np.add.reduce(served) + source_kw if lost is None else np.float64(lost)
        if self._own and lost is None:
            loss_kw += self._own_kw()
        return assembled(
            Solution,
            v_pu=v_pu,
            loss_kw=loss_kw,
            source_kw=source_kw,
            source_kvar=source_kvar,
            served_kw=served,
            v_alive=v_pu if energised is None else np.where(energised, v_pu, 1.0),
            energised=self._all if energised is None else energised,
            all_energised=energised is None,
            tap=tap,
            closed=self._closed,
            currents=Currents(self._flows, v.copy(), tap * self._step + self._offset, self._closed, self._node_places),
            grid_forming_kw=kw,
            grid_forming_kvar=kvar,
        )

    def _balance(self) -> tuple[np.float64, np.float64, float | None]:
        """Power of all sources [kW, kvar], and the losses [kW] where they cannot be had from the power balance."""
        if self._sums is None:
            source_kw, source_kvar = self._calls.source_power()
            return np.float64(source_kw), np.float64(source_kvar), None
        given, lost = self._sums.powers()
        return np.float64(given.real), np.float64(given.imag), lost

    def _write(self, setpoints: Setpoints, dead: IntArray) -> None:
        np.multiply(setpoints.kw, self._sign, out=self._kw)
        np.multiply(setpoints.kvar, self._sign, out=self._kvar)
        if dead.size:
            self._power[:, dead] = 0.0
        if self._fresh or setpoints.tap.tobytes() != self._tap.tobytes():
            # Writing an unchanged tap would rebuild Y too; a fresh start does that anyway, and the circuit's own
            # controls leave taps that differ in the last bit.
            ratio = (1.0 + setpoints.tap * self._step + self._offset).tolist()
            for r in np.flatnonzero((setpoints.tap != self._tap) | self._fresh).tolist():
                self._taps.write(r, ratio[r])
            self._tap = setpoints.tap.astype(np.int64)  # a copy, never changed in place: solutions share it
        if setpoints.closed.tobytes() != self._closed.tobytes():
            before, self._closed = self._closed, setpoints.closed.copy()
            self._switches.write(self._closed, before)

    def _read_controls(self) -> IntArray:
        """(R) taps after the circuit's own controls; capacitor states are stored."""
        capacitors = self._context.Capacitors
        tap, closed = self._tap.copy(), self._closed.copy()
        for r in range(len(tap)):
            tap[r] = round((self._taps.read(r) - 1.0 - self._offset[r]) / self._step[r])
        for s, row in enumerate(self.feeder.switches):
            if row.kind == "capacitor":
                capacitors.Name(row.element.split(".", 1)[1])
                closed[s] = bool(capacitors.States()[row.step - 1])
        # A control accumulates steps, so the last bit differs until a fresh start writes every tap.
        self._tap, self._closed = tap, closed
        return tap

    def _check(self, converged: bool, v_pu: Any, energised: BoolArray | None) -> None:
        alive = v_pu if energised is None else v_pu[energised]
        lowest, highest = np.minimum.reduce(alive), np.maximum.reduce(alive)
        if converged and lowest >= self.floor_pu and highest <= self.ceiling_pu:  # false for NaN too
            return
        self._fresh = True
        if not np.isfinite(alive).all():
            problem = "voltages are not finite; check for NaN or infinite set points"
        elif not converged:
            problem = f"no convergence within {self.max_iterations} iterations"
        elif lowest >= self.floor_pu:
            node = self.feeder.nodes[int(np.argmin(np.where(v_pu == highest, 0, 1)))]
            problem = f"node {node} is at {highest:.3f} pu, above the ceiling of {self.ceiling_pu} pu"
        else:
            node = self.feeder.nodes[int(np.argmin(np.where(v_pu == lowest, 0, 1)))]
            problem = f"node {node} is at {lowest:.3f} pu, below the floor of {self.floor_pu} pu"
        raise PowerFlowError(f"power flow of feeder {self.feeder.name!r} failed: {problem}")

    def _refuse_singular(self, closed: BoolArray) -> None:
        """Once for each state of the switches; see has_solution."""
        key = closed.tobytes()
        if key in self._regular:
            return
        if not has_solution(self._context, np.zeros(len(self._calls.voltages()), complex)):
            self._fresh = True
            raise PowerFlowError(f"power flow of feeder {self.feeder.name!r} failed: {WHY_SINGULAR}")
        if len(self._regular) > 10_000:
            self._regular.clear()
        self._regular.add(key)

    def _own_kw(self) -> float:
        """Output of the circuit's own power elements [kW]."""
        total = 0.0
        for name in self._own:
            total -= activate(self._context, name).TotalPowers()[0]  # of every terminal
        return total

"""BatchedEngine: the power flow of many copies of one feeder at once, true to OpenDSS."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import numpy as np

from dss_marl.engines.base import PowerFlowError
from dss_marl.engines.batched.backends import backend_of
from dss_marl.engines.batched.branch_loading import BatchCurrents
from dss_marl.engines.batched.compiled.limits import limits
from dss_marl.engines.batched.compiled.precision import single_is_enough
from dss_marl.engines.batched.controls.circuit_controls import CircuitControls, Settled
from dss_marl.engines.batched.energised import BatchSupply, Supplied
from dss_marl.engines.batched.exact import ExactSolver
from dss_marl.engines.batched.factors import Factors, factorised
from dss_marl.engines.batched.gradients.setpoint_gradients import SetpointGradients
from dss_marl.engines.batched.network import Complex
from dss_marl.engines.batched.reference import Reference
from dss_marl.engines.batched.results import Forming, FoundRows
from dss_marl.engines.batched.solver import Demand, Flow, Solver
from dss_marl.engines.batched.store import controls_of, network_of
from dss_marl.engines.batched.validation import Means, Validation, validated
from dss_marl.engines.engine_loop import check_batch, joined
from dss_marl.engines.opendss.engine import OpenDSSEngine
from dss_marl.grid.angles import NodePlaces
from dss_marl.grid.copies import with_rows
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.solution_slopes import SolutionSlopes
from dss_marl.grid.state import Array, BoolArray, IntArray, Setpoints, Solution, assembled

_FLOOR_PU, _CEILING_PU = 0.4, 1.6  # as for OpenDSSEngine: between them units deliver what is asked
_SINGLE = 2e-5  # tolerance below which float32 does not reach [pu]
_NEAR = 0.4  # of the tolerance: decisions of controls that are nearer are made with exact voltages
_EXACT = 1e-8  # stop of the iteration for these [pu]


class BatchedEngine:
    """Many copies of a circuit, solved side by side from its admittances; see BatchEngine.

    OpenDSS is asked for the admittances and, at construction, for the solutions of random states, with which the
    engine's own are compared. Copies that do not converge are solved again in float64 with acceleration, then by
    OpenDSS; those that still have no solution have failed.

    Args:
        feeder: the circuit.
        copies: their number B.
        tolerance: largest change of a voltage in the last iteration [pu]; solutions are within a fifth of it, or 1e-6,
            of OpenDSS's.
        floor_pu, ceiling_pu: energised nodes beyond are a failed power flow [pu]; see OpenDSSEngine.
        max_iterations: per solve.
        precision: "single" iterates in float32, "double" in float64; None: single where the tolerance allows it and the
            feeder stays within it.
        backend: "numba", compiled, "numpy", or "torch", on a GPU if there is one; None: numba if
            it is installed.
        threads: to spread the copies over.
        moving: (R) and (S) True for the taps and switches that may move; the others keep the state of their first
            solve and then cost nothing. None: all may move.
        validate: compare random states with OpenDSS.

    Attributes:
        means: precision and stop of the iteration.
        validation: what the comparison found; None without one.

    Raises:
        ValueError: no copies; an element without a model here, with its name; solutions that differ from OpenDSS's.
    """

    def __init__(
        self,
        feeder: Feeder,
        copies: int,
        tolerance: float = 1e-4,
        floor_pu: float = _FLOOR_PU,
        ceiling_pu: float = _CEILING_PU,
        max_iterations: int = 100,
        precision: str | None = None,
        backend: str | None = None,
        threads: int = 1,
        moving: tuple[BoolArray, BoolArray] | None = None,
        validate: bool = True,
    ) -> None:
        if copies < 1:
            raise ValueError(f"copies must be at least 1; got {copies}")
        if not _FLOOR_PU <= floor_pu < ceiling_pu <= _CEILING_PU:
            raise ValueError(f"floor_pu and ceiling_pu must lie between 0.4 and 1.6; got {floor_pu} and {ceiling_pu}")
        if precision not in (None, "single", "double"):
            raise ValueError(f"precision must be 'single', 'double' or None; got {precision!r}")
        if not 0 < tolerance <= 1e-2:
            raise ValueError(f"tolerance must be above 0 and at most 0.01 pu; got {tolerance}")
        self.feeder, self.copies, self.tolerance = feeder, copies, tolerance
        self.floor_pu, self.ceiling_pu, self.max_iterations = floor_pu, ceiling_pu, max_iterations
        self.backend, self.threads, self.moving = backend_of(backend), threads, moving
        self.reasons: dict[int, str] = {}
        self._build()
        self.means = Means(precision or self._least_precision(), tolerance)
        self.validation: Validation | None = None
        if validate:
            self.means, self.validation = validated(self, precision is None)

    def _build(self) -> None:
        feeder = self.feeder
        self.network = network_of(feeder)
        self._supply, self._forming = BatchSupply(feeder), Forming(self.network, feeder)
        self._step = np.array([row.step_pu for row in feeder.taps])
        self._offset = np.array([row.offset_pu for row in feeder.taps])
        self._solver: Solver | None = None
        self._fixed: dict[int, int] = {}
        self._reserve: OpenDSSEngine | None = None
        self._differentiated: SetpointGradients | None = None

    def _least_precision(self) -> str:
        """That which reaches the tolerance on this feeder."""
        kva = float(np.hypot(self.feeder.nominal_kw, self.feeder.nominal_kvar)[self.feeder.loads].sum())
        fine = self.tolerance >= _SINGLE and single_is_enough(self.network, kva)
        return "single" if fine else "double"

    @property
    def precision(self) -> Any:
        """Of its solutions, and so of whatever is computed from them: numpy.float32 or float64."""
        return np.float32 if self.means.precision == "single" and self.backend == "numba" else np.float64

    def __repr__(self) -> str:
        checked = "" if self.validation is None else f", {self.validation}"
        how = f"{self.backend}, {self.means.precision} precision"
        return f"BatchedEngine({self.feeder.name!r}: {self.copies} copies, {how}{checked})"

    def solve(
        self, setpoints: Setpoints, controls: bool = False, wanted: BoolArray | None = None
    ) -> tuple[Solution, BoolArray]:
        """See BatchEngine.solve."""
        check_batch(setpoints, self.feeder, self.copies)
        self.reasons = {}
        if controls:
            return self._with_controls(setpoints, wanted)
        supplied = self._supply.of(setpoints.closed)
        demand = self._demand(setpoints, supplied, wanted)
        flow = self._solver_for(demand.states).solve(demand, self.means.stop, self.max_iterations)
        return self._solution(setpoints, supplied, demand, flow)

    def gradient(self, setpoints: Setpoints, slopes: SolutionSlopes) -> tuple[Array, Array]:
        """(B, J) slopes of a number with respect to the kW and kvar of set points; see SetpointGradients.

        Args:
            setpoints: (B, ...), in the Feeder's order.
            slopes: (B, ...) of the number with respect to their solution.
        """
        check_batch(setpoints, self.feeder, self.copies)
        if self._differentiated is None:
            self._differentiated = SetpointGradients(self.feeder)
        return self._differentiated(setpoints, slopes)

    def restart(self, which: BoolArray | None = None) -> None:
        """See BatchEngine.restart."""
        if self._solver is not None:
            self._solver.restart(which)

    def close(self) -> None:
        """See BatchEngine.close."""
        if self._solver is not None:
            self._solver.close()
            self._solver = None
        if self._reserve is not None:
            self._reserve.close()

    def __getstate__(self) -> dict[str, Any]:
        """Without tables and solvers, which the copy builds again."""
        keys = ("feeder", "copies", "tolerance", "floor_pu", "ceiling_pu", "max_iterations", "threads", "moving")
        state = {key: getattr(self, key) for key in keys}
        return state | {"means": self.means, "backend": self.backend, "validation": self.validation}

    def __setstate__(self, state: dict[str, Any]) -> None:
        means, validation = state.pop("means"), state.pop("validation")
        self.__init__(**state, validate=False)  # type: ignore[misc]
        self.means, self.validation = means, validation

    # --- one solve -----------------------------------------------------------------------------------------------

    def _demand(self, setpoints: Setpoints, supplied: Supplied, wanted: BoolArray | None) -> Demand:
        kw, kvar = setpoints.kw, setpoints.kvar
        if supplied.dead is not None:
            kw, kvar = np.where(supplied.dead, 0.0, kw), np.where(supplied.dead, 0.0, kvar)
        return Demand(kw, kvar, self.network.states(setpoints.tap, setpoints.closed), wanted)

    def _solver_for(self, states: IntArray) -> Solver:
        """The solver, for which all that does not move is part of the fixed admittances."""
        still = all((states[:, u] == state).all() for u, state in self._fixed.items())
        if self._solver is None or not still:
            if self._solver is not None:
                self._solver.close()
            may = self._may_move() if still else np.ones(states.shape[1], bool)
            alike = (states == states[:1]).all(axis=0)
            self._fixed = {u: int(states[0, u]) for u in np.flatnonzero(alike & ~may).tolist()}
            self._solver = self._new_solver(factorised(self.network, self._fixed))
        return self._solver

    def _may_move(self) -> BoolArray:
        """(U) which adjustable elements may move."""
        rows = self.network.adjustables
        if self.moving is None:
            return np.ones(len(rows), bool)
        taps, switches = self.moving
        found = [bool(switches[r.switch]) if r.switch >= 0 else any(taps[t] for t, _ in r.taps) for r in rows]
        return np.array(found, bool)

    def _new_solver(self, factors: Factors) -> Solver:
        if self.backend == "numpy":
            return Reference(factors)
        if self.backend == "torch":
            from dss_marl.engines.batched.torch_backend.torch_solver import TorchSolver

            return TorchSolver(factors, self.means.precision == "single")
        from dss_marl.engines.batched.compiled.compiled_solver import Compiled

        return Compiled(factors, self.copies, self.means.precision == "single", self.threads)

    def _solution(
        self, setpoints: Setpoints, supplied: Supplied, demand: Demand, flow: Flow
    ) -> tuple[Solution, BoolArray]:
        """The solution (B, ...), and (B) which copies have none."""
        closed = setpoints.closed.copy()
        boost = setpoints.tap * self._step + self._offset
        currents = BatchCurrents(self.network.flows, self._node_places, flow, boost, closed)
        found, failed = self._found(setpoints, supplied, demand, flow, currents)
        v_pu, served, kva, loss_kw = found.v_pu, found.served, found.kva, found.loss_kw
        if failed.any():
            v_pu, served = np.where(failed[:, None], 1, v_pu), np.where(failed[:, None], 0, served)
            kva, loss_kw = np.where(failed[:, None], 0, kva), np.where(failed, 0.0, loss_kw)
        total, forming, idle_kw = self._forming.split(kva, closed, served)
        whole = supplied.alive is None
        return assembled(
            Solution,
            v_pu=v_pu,
            loss_kw=loss_kw - idle_kw,
            source_kw=total.real,
            source_kvar=total.imag,
            served_kw=served,
            energised=np.broadcast_to(np.ones(v_pu.shape[-1], bool), v_pu.shape) if whole else supplied.alive,
            all_energised=whole,
            tap=setpoints.tap.astype(np.int64),
            closed=closed,
            currents=currents,
            grid_forming_kw=forming.real,
            grid_forming_kvar=forming.imag,
        ), failed

    @cached_property
    def _node_places(self) -> NodePlaces:
        network = self.network  # whose positions count from the first node, and earth as -1
        return NodePlaces.of(self.feeder.nodes, network.places + 1, network.neutrals + 1)

    def _found(
        self, setpoints: Setpoints, supplied: Supplied, demand: Demand, flow: Flow, currents: BatchCurrents
    ) -> tuple[FoundRows, BoolArray]:
        """What the solver found, and what else was found where that is no solution; (B) which copies have none."""
        v_pu, failed = flow.v_pu, np.zeros(self.copies, bool)
        wanted = np.ones(self.copies, bool) if demand.which is None else demand.which
        if demand.which is not None:
            v_pu[~wanted] = 1  # whatever stood there
        open_ = wanted & ~self._is_good(flow.residual, v_pu, supplied.alive, supplied.dead_nodes)
        if supplied.refused:
            self.reasons.update({b: why for b, why in supplied.refused.items() if wanted[b]})
            failed[list(self.reasons)] = True
            open_ &= ~failed
        found = FoundRows(v_pu, flow.served_kw, flow.source_kva, flow.loss_kw, currents)
        if open_.any():
            found = found.copy()
            failed |= self._repeat(np.flatnonzero(open_), setpoints, supplied, demand, found)
        return found, failed

    def _is_good(
        self, residual: Array, v_pu: Any, alive: BoolArray | None, dead_nodes: IntArray | None = None
    ) -> BoolArray:
        """(B) whether the voltages are a solution, within the limits where energised; 0 elsewhere from now on."""
        if dead_nodes is None:
            low, high = limits(v_pu, alive)
        else:  # a few columns, instead of a choice at each voltage
            v_pu[:, dead_nodes] = 1
            low, high = limits(v_pu, None)
            v_pu[:, dead_nodes] = 0
        return np.asarray((residual < self.means.stop) & (low >= self.floor_pu) & (high <= self.ceiling_pu))

    # --- what the solver did not find ----------------------------------------------------------------------------

    def _repeat(
        self, rows: IntArray, setpoints: Setpoints, supplied: Supplied, demand: Demand, found: FoundRows
    ) -> BoolArray:
        """Solve some copies again, in float64 from a flat start, then by OpenDSS; (B) which have no solution."""
        failed = np.zeros(self.copies, bool)
        finite = np.isfinite(demand.kw[rows]).all(axis=-1) & np.isfinite(demand.kvar[rows]).all(axis=-1)
        alive = supplied.alive if supplied.alive is None else supplied.alive[rows[finite]]
        picked = rows[finite]
        if picked.size:
            part = Demand(demand.kw[picked], demand.kvar[picked], demand.states[picked])
            flow = self._in_reserve.solve(part, min(self.means.stop, _SINGLE), self.max_iterations)
            good = self._is_good(flow.residual, flow.v_pu, alive)
            found.take(picked[good], flow, np.flatnonzero(good))
            rows = np.setdiff1d(rows, picked[good])
        for b in rows.tolist():
            failed[b] = not self._by_opendss(b, setpoints, found)
        return failed

    @cached_property
    def _in_reserve(self) -> ExactSolver:
        """In float64, for whatever state."""
        return ExactSolver(factorised(self.network), self.backend == "numba")

    def _by_opendss(self, b: int, setpoints: Setpoints, found: FoundRows) -> bool:
        one = Setpoints(setpoints.kw[b], setpoints.kvar[b], setpoints.tap[b], setpoints.closed[b])
        try:
            found.replace(b, self._opendss_solution(one), self.network)
        except PowerFlowError as error:
            self.reasons[b] = str(error)
            return False
        return True

    def _opendss_solution(self, setpoints: Setpoints, controls: bool = False) -> Solution:
        """By OpenDSS, whatever it solved before."""
        if self._reserve is None:
            self._reserve = OpenDSSEngine(
                self.feeder, min(self.tolerance / 10, 1e-5), self.floor_pu, self.max_iterations, self.ceiling_pu
            )
        self._reserve.restart()
        return self._reserve.solve(setpoints, controls)

    # --- the circuit's own controls ------------------------------------------------------------------------------

    def _with_controls(self, setpoints: Setpoints, wanted: BoolArray | None) -> tuple[Solution, BoolArray]:
        """With the circuit's own controls, to be left where they are content."""
        if self._controls is None:
            return self._settled_by_opendss(setpoints, wanted)
        which = np.ones(self.copies, bool) if wanted is None else wanted
        supplied = self._supply.of(setpoints.closed)
        demand = self._demand(setpoints, supplied, wanted)
        settled = self._settled(setpoints, demand, which)
        tap, closed = settled.tap.copy(), settled.closed.copy()
        near = np.flatnonzero(which & (settled.margin < _NEAR * self.tolerance) & ~settled.failed)
        if near.size:
            exact = self._exactly_settled(setpoints, demand, near)
            tap[near], closed[near] = exact.tap, exact.closed
        stuck = which & settled.failed
        fine = which & ~stuck
        moved = Setpoints(setpoints.kw, setpoints.kvar, tap, closed)
        demand = Demand(demand.kw, demand.kvar, self.network.states(tap, closed), fine)
        flow = self._solver_for(demand.states).solve(demand, self.means.stop, self.max_iterations)
        solution, failed = self._solution(moved, supplied, demand, flow)
        if stuck.any():
            rest, lost = self._settled_by_opendss(setpoints, stuck)
            solution, failed = with_rows(solution, rest, stuck), failed | lost
        return solution, failed

    def _settled(self, setpoints: Setpoints, demand: Demand, which: BoolArray) -> Settled:
        """Let the controls act, over the engine's own solver."""
        assert self._controls is not None
        nodes, states = self._controls.nodes, self.network.states

        def volts(tap: IntArray, closed: BoolArray, now: BoolArray) -> Complex:
            asked = Demand(demand.kw, demand.kvar, states(tap, closed), now)
            flow = self._solver_for(asked.states).solve(asked, self.means.stop, self.max_iterations)
            return _at(flow, nodes, now & ~(flow.residual < self.means.stop))

        return self._controls.settle(setpoints.tap, setpoints.closed, volts, wanted=which)

    def _exactly_settled(self, setpoints: Setpoints, demand: Demand, rows: IntArray) -> Settled:
        """Let the controls of some copies act, over power flows in float64."""
        assert self._controls is not None
        nodes, states, stop = self._controls.nodes, self.network.states, min(self.means.stop, _EXACT)
        kw, kvar = demand.kw[rows], demand.kvar[rows]

        def volts(tap: IntArray, closed: BoolArray, now: BoolArray) -> Complex:
            asked = Demand(kw[now], kvar[now], states(tap[now], closed[now]))
            flow = self._in_reserve.solve(asked, stop, self.max_iterations)
            found = np.zeros((len(rows), len(nodes)), complex)
            found[now] = _at(flow, nodes, ~(flow.residual < stop))
            return found

        return self._controls.settle(setpoints.tap[rows], setpoints.closed[rows], volts)

    @cached_property
    def _controls(self) -> CircuitControls | None:
        """The circuit's own controls; None where one of them has no model here, which OpenDSS then has to settle."""
        try:
            return CircuitControls(controls_of(self.feeder))
        except ValueError as error:
            warnings.warn(f"{error}; OpenDSS settles the controls of each copy, which is slow", stacklevel=5)
            return None

    def _settled_by_opendss(self, setpoints: Setpoints, wanted: BoolArray | None) -> tuple[Solution, BoolArray]:
        found: list[Solution | None] = [None] * self.copies
        failed = np.zeros(self.copies, bool)
        for b in range(self.copies) if wanted is None else np.flatnonzero(wanted).tolist():
            one = Setpoints(setpoints.kw[b], setpoints.kvar[b], setpoints.tap[b], setpoints.closed[b])
            try:
                found[b] = self._opendss_solution(one, True)
            except PowerFlowError as error:
                self.reasons[b], failed[b] = str(error), True
        return joined(found, setpoints, self.feeder), failed


def _at(flow: Flow, nodes: IntArray, lost: BoolArray) -> Complex:
    """(B, Z) voltages at some nodes, not a number where there is no solution [V]."""
    found: Complex = flow.volts()[:, nodes]
    found[lost] = np.nan
    return found

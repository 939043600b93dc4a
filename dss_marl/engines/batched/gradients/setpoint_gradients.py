"""SetpointGradients: from the slopes of a number with respect to solutions, those with respect to set points."""

from __future__ import annotations

import numpy as np

from dss_marl.engines.batched.energised import BatchSupply, Supplied
from dss_marl.engines.batched.factors import factorised
from dss_marl.engines.batched.gradients.flow_gradients import FlowSlopes, Gradients
from dss_marl.engines.batched.network import Complex
from dss_marl.engines.batched.reference import Reference
from dss_marl.engines.batched.solver import Demand, Solver
from dss_marl.engines.batched.store import network_of
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.solution_slopes import SolutionSlopes
from dss_marl.grid.state import Array, BoolArray, IntArray, Setpoints

_TOLERANCE, _ITERATIONS = 1e-9, 300  # of the power flow [pu]


class SetpointGradients:
    """Differentiates the power flow of a feeder with respect to the kW and kvar of its set points.

    Taps and switches count as they stand. The power flow is solved here, in float64, whatever engine found the solution
    that the slopes belong to.

    Args:
        feeder: the circuit.

    Raises:
        ValueError: an element has no model in the batched engine; names it.
    """

    def __init__(self, feeder: Feeder) -> None:
        self.feeder, self.network = feeder, network_of(feeder)
        self._supply = BatchSupply(feeder)
        self._step = np.array([row.step_pu for row in feeder.taps])
        self._offset = np.array([row.offset_pu for row in feeder.taps])
        starts = np.cumsum([0, *(len(source.nodes) for source in self.network.sources)]).tolist()
        self._columns = [slice(starts[k], starts[k] + 3) for k in self.network.forming]  # of grid-forming units
        switch = [row.grid_forming_switch for row in feeder.injections]
        self._forming = [switch.index(s) for s in feeder.grid_forming_units]
        self._sources = starts[-1]
        self._fixed: dict[int, int] = {}
        self._gradients: Gradients | None = None
        self._solver: Solver | None = None
        self._key = 0, 0

    def __call__(self, setpoints: Setpoints, slopes: SolutionSlopes) -> tuple[Array, Array]:
        """(B, J) slopes with respect to ``setpoints.kw`` [1/kW] and ``setpoints.kvar`` [1/kvar].

        Args:
            setpoints: (B, ...), in the Feeder's order.
            slopes: (B, ...) of the number with respect to the solution of these set points.

        Returns:
            both; 0 where de-energised. NaN in copies without a solution, and at the nose of the power flow.
        """
        supplied = self._supply.of(setpoints.closed)
        kw, kvar = setpoints.kw, setpoints.kvar
        if supplied.dead is not None:
            kw, kvar = np.where(supplied.dead, 0.0, kw), np.where(supplied.dead, 0.0, kvar)
        demand = Demand(kw, kvar, self.network.states(setpoints.tap, setpoints.closed))
        gradients = self._gradients_for(demand.states)
        flow = self._solver_for(len(kw), gradients).solve(demand, _TOLERANCE, _ITERATIONS)
        lost = ~(flow.residual < _TOLERANCE)
        lost[list(supplied.refused)] = True
        volts = np.where(lost[:, None], 1.0, flow.volts())
        found = gradients(demand, volts, self._flow_slopes(setpoints, slopes, supplied, volts))
        for values in found:
            if supplied.dead is not None:
                values[supplied.dead] = 0.0
            values[lost] = np.nan
        return found

    def _gradients_for(self, states: IntArray) -> Gradients:
        """Those of the network; what was alike in all copies of the first call is part of the fixed admittances."""
        still = all((states[:, u] == state).all() for u, state in self._fixed.items())
        if self._gradients is None or not still:
            alike = (states == states[:1]).all(axis=0) & still
            self._fixed = {u: int(states[0, u]) for u in np.flatnonzero(alike).tolist()}
            self._gradients = Gradients(Reference(factorised(self.network, self._fixed)))
        return self._gradients

    def _solver_for(self, copies: int, gradients: Gradients) -> Solver:
        """For so many copies, compiled if numba is installed."""
        key = copies, id(gradients)
        if self._solver is None or self._key != key:
            if self._solver is not None:
                self._solver.close()
            self._solver, self._key = _solver(gradients.reference, copies), key
        return self._solver

    def _flow_slopes(
        self, setpoints: Setpoints, slopes: SolutionSlopes, supplied: Supplied, volts: Complex
    ) -> FlowSlopes:
        closed, v_pu = setpoints.closed, slopes.v_pu
        sources = np.repeat((slopes.source_kw + 1j * slopes.source_kvar)[:, None], self._sources, axis=1)
        for columns, row, switch in zip(self._columns, self._forming, self.feeder.grid_forming_units, strict=True):
            sources[:, columns] = (slopes.served_kw[:, row] * closed[:, switch])[:, None]
        by_volts = None
        if slopes.loading.any():
            boost = setpoints.tap * self._step + self._offset
            by_volts = self.network.flows.voltage_slopes(volts, boost, closed, slopes.loading)
        alive: BoolArray | None = supplied.alive
        return FlowSlopes(
            v_pu=v_pu if alive is None else np.where(alive, v_pu, 0.0),
            served_kw=slopes.served_kw,
            loss_kw=slopes.loss_kw,
            source_kva=sources,
            volts=by_volts,
        )


def _solver(reference: Reference, copies: int) -> Solver:
    try:
        import numba  # noqa: F401
    except ImportError:
        return reference
    from dss_marl.engines.batched.compiled.compiled_solver import Compiled

    return Compiled(reference.factors, copies, single=False)

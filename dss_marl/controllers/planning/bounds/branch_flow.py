"""Branch-flow relaxation: a bound on the return of volt-var control on a balanced radial feeder.

Second-order cone relaxation of the branch-flow equations (Farivar and Low, doi:10.1109/TPWRS.2013.2255317), interval by
interval: no device of such a task carries anything over from one interval to the next.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from dss_marl.controllers.optimization.interval_qp import solver_module
from dss_marl.controllers.planning.bounds.device_ranges import day_ranges
from dss_marl.controllers.planning.bounds.radial_network import BASE_MVA, RadialNetwork, network_reason
from dss_marl.devices import Inverters
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array
from dss_marl.mdp import rewards

SAYS = (
    "currents may exceed what their powers call for, each inverter has any kW and kvar that it can reach, and the "
    "price of an excursion is its convex envelope, for voltages from 0.8 to 1.2 pu; the feeder model is exact"
)
_V_MOST, _V_LEAST = 1.2, 0.8  # where loads keep their power [pu]
_PRICED = ("voltage_violation", "violating_share", "loss")
# At most 0, so that leaving them out can only raise the bound.
_PENALTIES = ("reactive_power", "curtailment", "voltage_deviation", "converter_loss")
_USABLE = ("Solved", "AlmostSolved")


def unsupported_reason(task: Task) -> str:
    """Why the relaxation does not bound a task; "" if it does."""
    scenario = task.scenario
    if scenario.circuit_controls or scenario.attack is not None or scenario.faults:
        return "the circuit's own controls, attacks or faults"
    if any(not isinstance(group, Inverters) or group.voltage_dependent for group in task.device_groups):
        return "devices other than inverters that follow their actions"
    if not task.band.uniform:
        return "voltage limits that differ by level"
    others = [name for name in task.rewards if name not in _PRICED + _PENALTIES]
    return f"reward terms {', '.join(others)}" if others else network_reason(task)


def day_return(task: Task, day: int) -> float:
    """The bound of a day's team return.

    Raises:
        ValueError: an interval's program cannot be solved.
        ImportError: Clarabel is missing.
    """
    program = _Program(task)
    return -sum(program.least_cost(kw, kvar, low, high) for kw, kvar, low, high in day_ranges(task, day))


class _Program:
    """The relaxation of one interval. Columns: P, Q, l and v of each branch and its bus, excursion, kW, kvar."""

    def __init__(self, task: Task) -> None:
        self.net, self.units = RadialNetwork.of(task), task.device_groups[0].injections  # type: ignore[attr-defined]
        count, weight = len(self.net.above), task.reward_model.weight
        self.n, self.d = count, len(self.units)
        self.cost = np.zeros(5 * count + 2 * self.d)
        self.cost[2 * count : 3 * count] = weight(rewards.loss) * BASE_MVA * self.net.r
        self.low, self.high = float(task.band.low), float(task.band.high)
        widest = max(_V_MOST - self.high, self.low - _V_LEAST)
        per_pu = weight(rewards.voltage_violation) + weight(rewards.violating_share) / widest
        self.cost[4 * count : 5 * count] = per_pu * self.net.scored
        self.equal, self.root = self._balances()
        self.cones = [self._cone(k) for k in range(count)]

    def _columns(self, k: int) -> tuple[int, int, int, int, int]:
        """Columns of branch k and its bus: P, Q, l, v, excursion."""
        return k, self.n + k, 2 * self.n + k, 3 * self.n + k, 4 * self.n + k

    def _balances(self) -> tuple[sp.csc_matrix, Array]:
        """Rows of the power balances and voltage drops (3 n), and where they hold the source's voltage."""
        rows = sp.lil_matrix((3 * self.n, len(self.cost)))
        root = np.zeros(3 * self.n)
        for k, (up, r, x) in enumerate(zip(self.net.above, self.net.r, self.net.x, strict=True)):
            p, q, square, v, _ = self._columns(k)
            rows[k, p] += 1.0
            rows[k, square] -= r
            rows[self.n + k, q] += 1.0
            rows[self.n + k, square] -= x
            rows[2 * self.n + k, [v, p, q, square]] = 1.0, 2 * r, 2 * x, -(r**2 + x**2)
            if up >= 0:
                rows[up, p] -= 1.0
                rows[self.n + up, q] -= 1.0
                rows[2 * self.n + k, 3 * self.n + up] -= 1.0
            else:
                root[2 * self.n + k] = self.net.source_v
        for d, injection in enumerate(self.units):
            bus = int(self.net.injection_bus[injection])
            if bus >= 0:
                rows[bus, 5 * self.n + d] += 1.0
                rows[self.n + bus, 5 * self.n + self.d + d] += 1.0
        return sp.csc_matrix(rows), root

    def _cone(self, k: int) -> tuple[sp.csc_matrix, Array]:
        """(v + l, 2 P, 2 Q, v - l) of branch k in a second-order cone, as ends - rows x; v at its upper end."""
        p, q, square, _, _ = self._columns(k)
        rows, ends, up = sp.lil_matrix((4, len(self.cost))), np.zeros(4), int(self.net.above[k])
        rows[0, square], rows[1, p], rows[2, q], rows[3, square] = -1.0, -2.0, -2.0, 1.0
        if up >= 0:
            rows[0, 3 * self.n + up] = rows[3, 3 * self.n + up] = -1.0
        else:
            ends[[0, 3]] = self.net.source_v
        return sp.csc_matrix(rows), ends

    def _limits(self, low: Array, high: Array) -> tuple[sp.csc_matrix, Array]:
        """Rows x <= ends: the excursion's envelope, the range of voltages, and that of the units (2, D)."""
        n, every = self.n, sp.identity(len(self.cost), format="csr")
        v, off, unit = every[3 * n : 4 * n], every[4 * n : 5 * n], every[5 * n :]
        chord = (_V_MOST - self.high) / (_V_MOST**2 - self.high**2)  # below sqrt(v) - high within the range
        tangent = 1 / (2 * self.low)  # likewise below low - sqrt(v)
        rows = [chord * v - off, -tangent * v - off, -off, v, -v, unit, -unit]
        base = 1e3 * BASE_MVA
        ends = [chord * self.high**2, -tangent * self.low**2, 0.0, _V_MOST**2, -(_V_LEAST**2)]
        sides = [np.full(n, end) for end in ends] + [high.ravel() / base, -low.ravel() / base]
        return sp.vstack(rows), np.concatenate(sides)

    def least_cost(self, kw: Array, kvar: Array, low: Array, high: Array) -> float:
        """A cost that no set points go below.

        Args:
            kw, kvar: (J) injections, 0 for the units.
            low, high: (2, D) range of kW and kvar of each unit.
        """
        clarabel = solver_module()
        drawn = np.concatenate([-self.net.injected(kw), -self.net.injected(kvar), np.zeros(self.n)])
        limits, sides = self._limits(low, high)
        matrices = [self.equal, limits, *(rows for rows, _ in self.cones)]
        ends = [drawn + self.root, sides, *(end for _, end in self.cones)]
        cones = [clarabel.ZeroConeT(3 * self.n), clarabel.NonnegativeConeT(len(sides))]
        cones += [clarabel.SecondOrderConeT(4)] * self.n
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        nothing = sp.csc_matrix((len(self.cost), len(self.cost)))
        stacked = sp.csc_matrix(sp.vstack(matrices))
        solution = clarabel.DefaultSolver(nothing, self.cost, stacked, np.concatenate(ends), cones, settings).solve()
        if str(solution.status) not in _USABLE:
            raise ValueError(f"the relaxation of an interval ended with {solution.status}; no bound of this day")
        return float(solution.obj_val_dual)

"""Measurement model: predicted measurements for given injections and taps, and their sensitivities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dss_marl.engines import open_engine
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, IntArray, Setpoints, Solution
from dss_marl.zones import Zone

_TOLERANCE = 1e-7  # of the power flow: sensitivities are differences of solutions
_STEP_KW = 20.0  # injection step for sensitivities [kW]


@dataclass(frozen=True)
class PredictedMeasurements:
    """Predicted measurements of a state.

    Attributes:
        v_pu: (N) node voltages [pu].
        zone_kw: (Z) net injection of each zone [kW].
    """

    v_pu: Array
    zone_kw: Array


class MeasurementModel:
    """A model of the feeder on a separate engine, with network data but without data of the day.

    Args:
        task: with the feeder.
        base_kw: (J) injections at which sensitivities are taken [kW].
    """

    def __init__(self, task: Task, base_kw: Array) -> None:
        feeder = task.feeder
        self._task = task
        self._engine = open_engine(feeder, tolerance=_TOLERANCE)
        nominal, kvar = feeder.nominal_kw, feeder.nominal_kvar
        self._kvar_per_kw = np.divide(kvar, nominal, out=np.zeros_like(kvar), where=nominal != 0)
        self._kvar_per_kw[np.setdiff1d(np.arange(len(nominal)), feeder.loads)] = 0.0
        self._members = [np.concatenate([zone.loads, zone.units]) for zone in task.zones]
        self._slopes(base_kw)

    def predict(self, kw: Array, tap: Array) -> PredictedMeasurements:
        """Predict for injections (J) [kW], loads at their power factor, units at unity, and real-valued taps (R)."""
        whole = np.rint(tap).astype(np.int64)
        solution = self._solve(kw, whole)
        shown = self._predict(solution)
        rest = tap - whole
        return PredictedMeasurements(shown.v_pu + self.v_per_tap @ rest, shown.zone_kw) if rest.any() else shown

    def slopes(self, nodes: IntArray, zones: Sequence[int], taps: IntArray) -> Array:
        """(m, J + t) sensitivities of node voltages and zone powers to injections [1/kW] and taps [1/step]."""
        by_power = np.concatenate([self.v_per_kw[nodes], self.zone_per_kw[list(zones)]])
        by_tap = np.concatenate([self.v_per_tap[nodes][:, taps], np.zeros((len(zones), len(taps)))])
        return np.hstack([by_power, by_tap])

    def served_kw(self, zone: int, kw: Array) -> Array:
        """(l) the injections (J) of a zone [kW]."""
        return np.asarray(kw[self._members[zone]])

    def _slopes(self, base_kw: Array) -> None:
        start = self._task.start.tap
        base = self._predict(self._solve(base_kw, start))
        v, zone = [], []
        for j in range(len(base_kw)):
            kw = base_kw.copy()
            kw[j] += _STEP_KW
            shown = self._predict(self._solve(kw, start))
            v.append((shown.v_pu - base.v_pu) / _STEP_KW)
            zone.append((shown.zone_kw - base.zone_kw) / _STEP_KW)
        self.v_per_kw, self.zone_per_kw = np.array(v).T, np.array(zone).T  # (N, J), (Z, J)
        by_tap = []
        for r, row in enumerate(self._task.feeder.taps):
            tap = start.copy()
            move = 1 if tap[r] < row.maximum else -1
            tap[r] += move
            by_tap.append((self._predict(self._solve(base_kw, tap)).v_pu - base.v_pu) * move)
        self.v_per_tap = np.array(by_tap).reshape(len(by_tap), -1).T  # (N, R)

    def _solve(self, kw: Array, tap: IntArray) -> Solution:
        closed = self._task.start.closed
        return self._engine.solve(Setpoints(kw, kw * self._kvar_per_kw, tap, closed))

    def _predict(self, solution: Solution) -> PredictedMeasurements:
        served = solution.served_kw
        return PredictedMeasurements(solution.v_pu, np.array([served[own].sum() for own in self._members]))

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()


def rows_of(zones: Sequence[Zone], name: str) -> IntArray:
    """Concatenated rows ``name`` of several zones."""
    return np.concatenate([np.zeros(0, np.int64), *(getattr(zone, name) for zone in zones)])

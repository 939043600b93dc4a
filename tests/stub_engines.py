"""Engines that fail or refuse on purpose, that find every voltage at 1 pu, or a little off OpenDSS's."""

from dataclasses import replace

import numpy as np

import dss_marl
from dss_marl import PowerFlowError
from dss_marl.engines.opendss.batch import OpenDSSBatch


class Failing:
    """An engine whose n-th solve fails, counted from 0 at the last restart."""

    def __init__(self, engine, at):
        self.engine, self.at, self.count, self.feeder = engine, at, -1, engine.feeder

    def solve(self, setpoints, controls=False):
        self.count += 1
        if self.count == self.at:
            raise PowerFlowError("on purpose")
        return self.engine.solve(setpoints, controls)

    def restart(self):
        self.count = -1
        self.engine.restart()

    def close(self):
        self.engine.close()


def failing_fifth(feeder):
    """An engine whose fifth solve after a restart fails."""
    return Failing(dss_marl.OpenDSSEngine(feeder), 5)


class Calm:
    """An engine that finds every voltage at 1 pu: for what should not depend on the grid."""

    def __init__(self, feeder):
        self.feeder = feeder

    def solve(self, setpoints, controls=False):
        n, m = len(self.feeder.nodes), len(self.feeder.branches)
        one = np.float64(1)
        return dss_marl.Solution(
            np.ones(n), one, one, one, setpoints.kw.copy(), np.ones(n, bool), setpoints.tap.copy(),
            setpoints.closed.copy(), lambda: np.zeros(m),
        )  # fmt: skip

    def restart(self):
        pass

    def close(self):
        pass


class Nearby(OpenDSSBatch):
    """A batch engine whose voltages are a little off OpenDSS's."""

    opened = 0

    def __init__(self, feeder, copies):
        type(self).opened += 1
        super().__init__(feeder, copies=copies)

    def solve(self, setpoints, controls=False, wanted=None):
        solution, failed = super().solve(setpoints, controls, wanted)
        return replace(solution, v_pu=solution.v_pu * (1 + 1e-5)), failed


class Refusing:
    """A batch engine that cannot model the feeder."""

    def __init__(self, feeder, copies):
        raise ValueError(f"load 'load.671' of feeder {feeder.name!r} has model 7, which this engine does not know")

"""Batch engines for tests: one that solves in single precision, and one that solves nothing."""

import numpy as np

from dss_marl.engines import open_batch_engine
from dss_marl.grid.state import Solution, assembled

ROUNDED = ("v_pu", "loss_kw", "source_kw", "source_kvar", "served_kw", "grid_forming_kw", "grid_forming_kvar")


class Currents:
    """Solution.currents in single precision."""

    def __init__(self, found):
        self.found = found

    def __call__(self, by_conductor=False):
        return self.found.currents(by_conductor=by_conductor).astype(np.float32)

    def angle_rad(self):
        return self.found.angle_rad.astype(np.float32)


class NoCurrents:
    """Solution.currents where nothing flows and all voltages have the angle of the source."""

    def __init__(self, loading, angle_rad):
        self.loading, self.angles = loading, angle_rad

    def __call__(self, by_conductor=False):
        return self.loading

    def angle_rad(self):
        return self.angles


class Recording:
    """OpenDSS, whose solutions are kept in ``solved``."""

    def __init__(self, feeder, copies):
        self.exact, self.feeder, self.copies, self.solved = open_batch_engine(feeder, copies), feeder, copies, []

    @property
    def reasons(self):
        return self.exact.reasons

    def solve(self, setpoints, controls=False, wanted=None):
        self.solved.append(self.exact.solve(setpoints, controls, wanted))
        return self.solved[-1]

    def restart(self, which=None):
        self.exact.restart(which)

    def close(self):
        self.exact.close()


class Single:
    """Gives the solutions that another engine has given, in single precision."""

    precision = np.float32
    reasons: dict[int, str] = {}  # noqa: RUF012

    def __init__(self, recording):
        self.feeder, self.copies, self.left = recording.feeder, recording.copies, list(recording.solved)

    def solve(self, setpoints, controls=False, wanted=None):
        assert setpoints.kw.dtype == setpoints.kvar.dtype == np.float32
        found, failed = self.left.pop(0)
        rounded = {name: np.asarray(getattr(found, name)).astype(np.float32) for name in ROUNDED}
        rest = {"energised": found.energised, "tap": found.tap, "closed": found.closed}
        return assembled(Solution, **rounded, **rest, currents=Currents(found)), failed

    def restart(self, which=None):
        pass

    def close(self):
        pass


class Still:
    """Finds every voltage at 1 pu: for what should not depend on the grid."""

    reasons: dict[int, str] = {}  # noqa: RUF012

    def __init__(self, feeder, copies, precision=np.float64):
        self.feeder, self.copies, self.precision = feeder, copies, precision

    def solve(self, setpoints, controls=False, wanted=None):
        ones, shape = np.ones(self.copies, self.precision), (self.copies, len(self.feeder.nodes))
        idle = np.zeros((self.copies, len(self.feeder.branches)), self.precision)
        solution = Solution(
            v_pu=np.ones(shape, self.precision),
            loss_kw=ones,
            source_kw=ones,
            source_kvar=ones,
            served_kw=setpoints.kw,
            energised=np.ones(shape, bool),
            tap=setpoints.tap,
            closed=setpoints.closed,
            currents=NoCurrents(idle, np.zeros(shape, self.precision)),
            grid_forming_kw=np.zeros((self.copies, 0, 3)),
            grid_forming_kvar=np.zeros((self.copies, 0, 3)),
        )
        return solution, np.zeros(self.copies, bool)

    def restart(self, which=None):
        pass

    def close(self):
        pass

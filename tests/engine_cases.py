"""Engines under contract, and the set points that the contract is tested on. To add an engine, add it to ENGINES."""

import hashlib
import importlib.util
from dataclasses import fields

import numpy as np
from common import feeder_with_units, random_setpoints

from dss_marl import OpenDSSEngine, PowerFlowError
from dss_marl.engines import BATCH_ENGINES
from dss_marl.engines.engine_loop import EngineLoop
from dss_marl.grid.copies import rows_of
from dss_marl.grid.state import Setpoints


class OneOfMany:
    """A batch engine as one for one state: that of its second copy, while the first solves something else."""

    def __init__(self, batch):
        self.batch, self.feeder, self.turn = batch, batch.feeder, 0

    def solve(self, setpoints, controls=False):
        self.turn += 1
        other = self.feeder.setpoints()
        other.kw = other.kw * (0.5 + 0.1 * (self.turn % 5))
        same = all(getattr(other, name).shape == getattr(setpoints, name).shape for name in POINTS)
        pair = (other, setpoints) if same else (setpoints, setpoints)
        both = Setpoints(*(np.stack([getattr(x, name) for x in pair]) for name in POINTS))
        solution, failed = self.batch.solve(both, controls)
        assert failed.shape == (2,)
        assert not failed[0]
        if hasattr(self.batch, "network"):
            volts, network = solution.currents._flow.volts()[1], self.batch.network
            self.raw_v_pu = abs(volts[1 + network.places]) / network.volts[network.places]
        if failed[1]:
            raise PowerFlowError(self.batch.reasons[1])
        return rows_of(solution, 1)

    def restart(self):
        self.batch.restart(np.array([False, True]))

    def close(self):
        self.batch.close()

    @property
    def tolerance(self):
        return getattr(self.batch, "tolerance", None) or self.batch.engines[1].tolerance

    @property
    def _context(self):
        return self.batch.engines[1]._context


def looped(feeder, tolerance=1e-5):
    return OneOfMany(EngineLoop([OpenDSSEngine(feeder, tolerance=tolerance) for _ in range(2)]))


def opendss_batch(feeder, tolerance=1e-5):
    return OneOfMany(BATCH_ENGINES["opendss"](feeder, copies=2, tolerance=tolerance))


def batched(feeder, tolerance=1e-5, backend=None):
    return OneOfMany(BATCH_ENGINES["batched"](feeder, copies=2, tolerance=tolerance, backend=backend, validate=False))


def batched_in_numpy(feeder, tolerance=1e-5):
    return batched(feeder, tolerance, "numpy")


POINTS = ("kw", "kvar", "tap", "closed")
# name: feeder, tolerance -> engine; an engine for batches as one for one state
ENGINES = {"opendss": OpenDSSEngine, "loop": looped, "opendss batch": opendss_batch}
if importlib.util.find_spec("numba"):
    ENGINES["batched"] = batched
ENGINES["batched, NumPy"] = batched_in_numpy
FEEDERS = ["ieee13", "ieee34", "ieee37", "ieee123"]
SWITCHED = ["ieee13", "case33", "ieee123"]
TIGHT = 1e-9


def arrays(solution):
    """Every number in a solution, as one vector."""
    named = [getattr(solution, f.name) for f in fields(solution) if f.name != "currents"]
    return np.concatenate([np.ravel(x).astype(float) for x in (*named, solution.loading)])


def switch_indices(feeder):
    return [s for s, row in enumerate(feeder.switches) if row.kind == "switch"]


def varied(feeder, seed, count=12):
    """Set points whose powers, taps, capacitors and switches all change from one to the next."""
    rng = np.random.default_rng(seed)
    result = []
    for k in range(count):
        setpoints = random_setpoints(feeder, rng)
        switches = switch_indices(feeder)
        if switches and k % 3 == 2:
            flip = switches[rng.integers(len(switches))]
            setpoints.closed[flip] = ~setpoints.closed[flip]
        result.append(setpoints)
    return result


def overload(feeder, factor=50.0):
    setpoints = feeder.setpoints()
    setpoints.kw, setpoints.kvar = setpoints.kw * factor, setpoints.kvar * factor
    return setpoints


def broken(feeder):
    setpoints = feeder.setpoints()
    setpoints.kw = setpoints.kw.copy()
    setpoints.kw[0] = np.nan
    return setpoints


def digest(kind, name):
    """Fingerprint of a sequence of solutions."""
    feeder = feeder_with_units(name)
    engine = ENGINES[kind](feeder, tolerance=1e-5)
    total = hashlib.sha256()
    for k, setpoints in enumerate(varied(feeder, 23, 10)):
        total.update(arrays(engine.solve(setpoints, controls=k == 7)).tobytes())
    engine.close()
    return total.hexdigest()

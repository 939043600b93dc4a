"""Floor: the least that a day's power flows cost, which engines and environments are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from dss_marl.engines.opendss.engine import OpenDSSEngine
from dss_marl.engines.opendss.solver_calls import REUSE_FACTORS
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Setpoints


class Floor:
    """A circuit that is written, solved and read without an engine around it.

    Args:
        feeder: the circuit.
    """

    def __init__(self, feeder: Feeder) -> None:
        self._engine = OpenDSSEngine(feeder)
        self._last: Setpoints | None = None

    def prepare(self, solved: Sequence[Setpoints]) -> list[Callable[[], None]]:
        """The solves after the first, which is solved here from a flat start; call them in order, each once.

        Each writes the loads and units, and the taps and switches that differ from the solve before; solves; and reads
        all voltages.

        Args:
            solved: set points, each of one state.
        """
        engine = self._engine
        if self._last is not None:
            engine._closed = self._last.closed.copy()  # what the last solves left in the circuit
        engine.restart()
        engine.solve(solved[0])
        engine._calls.set_options(REUSE_FACTORS)
        self._last = solved[-1]
        return [self._solve(before, after) for before, after in pairwise(solved)]

    def _solve(self, before: Setpoints, after: Setpoints) -> Callable[[], None]:
        engine = self._engine
        power = np.stack([after.kw, after.kvar]) * engine._sign
        power[:, engine._supply.of(after.closed)[1]] = 0.0
        ratios = (1.0 + after.tap * engine._step + engine._offset).tolist()
        taps = [(int(r), ratios[r]) for r in np.flatnonzero(after.tap != before.tap)]
        switches = (after.closed, before.closed) if (after.closed != before.closed).any() else ()
        written, places, calls = engine._power, engine._places, engine._calls

        def solve() -> None:
            written[:] = power
            for tap in taps:
                engine._taps.write(*tap)
            if switches:
                engine._switches.write(*switches)
            calls.solve()
            np.abs(calls.voltages()[places])

        return solve

    def close(self) -> None:
        """Return the circuit's context."""
        self._engine.close()

"""EngineLoop: a batch engine that solves copy by copy, each on an engine of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dss_marl.engines.base import Engine, PowerFlowError
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, BoolArray, Setpoints, Solution

_SCALARS = ("loss_kw", "source_kw", "source_kvar")
_ARRAYS = ("v_pu", "served_kw", "energised", "tap", "closed", "grid_forming_kw", "grid_forming_kvar")


class EngineLoop:
    """Any engine for one state, as many times as there are copies; see BatchEngine.

    Args:
        engines: one for each copy, all of the same feeder.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        if not engines:
            raise ValueError("a batch needs one engine at least")
        self.engines = tuple(engines)
        self.feeder = engines[0].feeder
        self.copies = len(engines)
        self.reasons: dict[int, str] = {}

    def solve(
        self, setpoints: Setpoints, controls: bool = False, wanted: BoolArray | None = None
    ) -> tuple[Solution, BoolArray]:
        """See BatchEngine.solve."""
        check_batch(setpoints, self.feeder, self.copies)
        self.reasons = {}
        found: list[Solution | None] = [None] * self.copies
        for b, engine in enumerate(self.engines):
            if wanted is None or wanted[b]:
                one = Setpoints(setpoints.kw[b], setpoints.kvar[b], setpoints.tap[b], setpoints.closed[b])
                try:
                    found[b] = engine.solve(one, controls)
                except PowerFlowError as error:
                    self.reasons[b] = str(error)
        failed = np.zeros(self.copies, bool)
        failed[list(self.reasons)] = True
        return joined(found, setpoints, self.feeder), failed

    def restart(self, which: BoolArray | None = None) -> None:
        """See BatchEngine.restart."""
        for b, engine in enumerate(self.engines):
            if which is None or which[b]:
                engine.restart()

    def close(self) -> None:
        """See BatchEngine.close."""
        for engine in self.engines:
            engine.close()


def check_batch(setpoints: Setpoints, feeder: Feeder, copies: int) -> None:
    """Check the shapes of a batch's set points.

    Raises:
        ValueError: they are not of these copies of the feeder.
    """
    columns = len(feeder.injections), len(feeder.injections), len(feeder.taps), len(feeder.switches)
    wanted = tuple((copies, n) for n in columns)
    given = setpoints.kw.shape, setpoints.kvar.shape, setpoints.tap.shape, setpoints.closed.shape
    if given != wanted:
        raise ValueError(
            f"set points of {copies} copies of feeder {feeder.name!r} must have kw, kvar, tap and closed of shape "
            f"{', '.join(map(str, wanted))}; got {', '.join(map(str, given))}"
        )


def blank(setpoints: Setpoints, feeder: Feeder) -> dict[str, np.ndarray]:
    """Finite arrays in the shapes of a solution of these set points, (B, ...): 1 pu, and no power."""
    batch, nodes = setpoints.kw.shape[:-1], len(feeder.nodes)
    formed = (*batch, len(feeder.grid_forming_units), 3)
    return {
        "v_pu": np.ones((*batch, nodes)),
        "loss_kw": np.zeros(batch),
        "source_kw": np.zeros(batch),
        "source_kvar": np.zeros(batch),
        "served_kw": np.zeros(setpoints.kw.shape),
        "energised": np.ones((*batch, nodes), bool),
        "tap": setpoints.tap.astype(np.int64),
        "closed": setpoints.closed.copy(),
        "grid_forming_kw": np.zeros(formed),
        "grid_forming_kvar": np.zeros(formed),
    }


def joined(found: Sequence[Solution | None], setpoints: Setpoints, feeder: Feeder) -> Solution:
    """Solutions of the copies as one, (B, ...); finite numbers without meaning where there is none."""
    arrays = blank(setpoints, feeder)
    for b, one in enumerate(found):
        if one is not None:
            for name in _SCALARS + _ARRAYS:
                row = getattr(one, name)
                if np.size(row):  # engines leave out grid-forming units that a feeder does not have
                    arrays[name][b] = row
    return Solution(**arrays, currents=_JoinedCurrents(tuple(found), len(feeder.branches), len(feeder.nodes)))


@dataclass(frozen=True)
class _JoinedCurrents:
    """See Solution.currents, of copies that may have no solution; 0 where there is none."""

    found: tuple[Solution | None, ...]
    branches: int
    nodes: int

    def __call__(self, by_conductor: bool = False) -> Array:
        """(B, M) or (B, C) loading of all copies."""
        rows = [x if x is None else x.currents(by_conductor=True) if by_conductor else x.loading for x in self.found]
        width = next((len(row) for row in rows if row is not None), self.branches)
        return np.array([np.zeros(width) if row is None else row for row in rows])

    def angle_rad(self) -> Array:
        """(B, N) angles of the node voltages [rad]."""
        return np.array([np.zeros(self.nodes) if x is None else x.angle_rad for x in self.found])

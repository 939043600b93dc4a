"""Phase angles of node voltages, each relative to its phase at the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dss_marl.grid.state import Array

_NOMINAL = {"1": 0.0, "2": -2 * np.pi / 3, "3": 2 * np.pi / 3}


class NodePlaces(NamedTuple):
    """Where the nodes of a feeder are in an engine's voltage vector, whose entry 0 is earth.

    Attributes:
        nodes: (N) positions, or a slice.
        neutrals: (N) positions of the conductors that the voltages are taken to; None: earth.
        turn: (N) complex numbers that turn each phase to that of the first.
    """

    nodes: Any
    neutrals: Any
    turn: Any

    @classmethod
    def of(cls, names: Sequence[str], nodes: Any, neutrals: Any) -> NodePlaces:
        """The places of nodes with these names, ``bus.phase``."""
        nominal = [_NOMINAL.get(name.rsplit(".", 1)[-1], 0.0) for name in names]
        return cls(nodes, neutrals, np.exp(-1j * np.array(nominal)))

    def angle_rad(self, volts: Any) -> Array:
        """(..., N) angles between -pi and pi [rad], for complex voltages (..., 1 + Y); 0 where there is none."""
        own = volts[..., self.nodes]
        if self.neutrals is not None:
            own = own - volts[..., self.neutrals]
        return np.asarray(np.angle(own * self.turn))


@dataclass(frozen=True)
class NoCurrents:
    """What Solution.currents is where nothing has been solved: no current in any branch, no angle at any node."""

    branches: int
    nodes: int

    def __call__(self, by_conductor: bool = False) -> Array:
        """(M) zeros."""
        return np.zeros(self.branches)

    def angle_rad(self) -> Array:
        """(N) zeros [rad]."""
        return np.zeros(self.nodes)

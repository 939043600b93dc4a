"""What is energised in many copies at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dss_marl.engines.base import PowerFlowError
from dss_marl.engines.supply import Supply
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import BoolArray, IntArray


class Supplied(NamedTuple):
    """Connectivity of B copies.

    Attributes:
        alive: (B, N) which nodes are energised; None if all are.
        dead: (B, J) which injections are not; None if all are energised.
        refused: copies whose sources stand in parallel, and why.
        dead_nodes: the nodes that are not energised, where they are the same in all copies; None where they are not.
    """

    alive: BoolArray | None
    dead: BoolArray | None
    refused: dict[int, str]
    dead_nodes: IntArray | None = None


class BatchSupply:
    """Connectivity of a feeder for the states of many copies; the last answer is kept while no switch moves."""

    def __init__(self, feeder: Feeder) -> None:
        self._feeder, self._supply = feeder, Supply(feeder)
        self._deciding = np.array([s for s, row in enumerate(feeder.switches) if row.kind != "capacitor"], np.int64)
        self._states: BoolArray | None = None
        self._found = Supplied(None, None, {})

    def of(self, closed: BoolArray) -> Supplied:
        """The connectivity in states (B, S); the arrays are shared, so not to be modified."""
        states = closed[:, self._deciding]
        if self._states is None or not np.array_equal(states, self._states):
            self._states, self._found = states, self._find(closed, states)
        return self._found

    def _find(self, closed: BoolArray, states: BoolArray) -> Supplied:
        _, first, which = np.unique(states, axis=0, return_index=True, return_inverse=True)
        which = which.reshape(-1)
        nodes, injections = len(self._feeder.nodes), len(self._feeder.injections)
        alive, dead = np.ones((len(first), nodes), bool), np.zeros((len(first), injections), bool)
        reasons: dict[int, str] = {}
        for k, b in enumerate(first.tolist()):
            try:
                here, without = self._supply.of(closed[b])
            except PowerFlowError as error:
                reasons[k] = str(error)
                continue
            if here is not None:
                alive[k] = here
                dead[k, without] = True
        refused = {b: reasons[k] for b, k in enumerate(which.tolist()) if k in reasons} if reasons else {}
        if alive.all():
            return Supplied(None, None, refused)
        dead_nodes = np.flatnonzero(~alive[0]) if len(first) == 1 else None
        return Supplied(alive[which], dead[which] if dead.any() else None, refused, dead_nodes)

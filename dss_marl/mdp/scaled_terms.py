"""Scaled terms: reward terms and costs declared as which quantities, over what, times what.

From the same declaration follow the term as a function, which may be called for any zone, and its part of a small
matrix: of several terms together, each quantity is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

from dss_marl.grid.compiled import kernels_for
from dss_marl.grid.state import DEAD_V_PU, Array, GridState
from dss_marl.mdp.declarations import take_identity
from dss_marl.mdp.quantities import Quantity
from dss_marl.zones import Zone, zone_batched

Term = Callable[[Zone, GridState, GridState], Any]


class Scale(NamedTuple):
    """A term is the sum of its quantities, divided by ``over`` and multiplied by ``times``."""

    over: float = 1.0
    times: float = 1.0


def scaled(*quantities: Quantity) -> Callable[[Callable[[Zone], Scale]], Term]:
    """Turn a function that returns the Scale of a term into the term.

    Args:
        quantities: of which the term is a multiple of the sum. The scale must be the same for all zones of a feeder.
    """

    def declare(scale: Callable[[Zone], Scale]) -> Term:
        def term(zone: Zone, before: GridState, after: GridState) -> Any:
            over, times = scale(zone)
            return reduce(add, (quantity(zone, before, after) for quantity in quantities)) / over * times

        take_identity(term, scale)
        term.scaled = quantities, scale  # type: ignore[attr-defined]
        return zone_batched(term)

    return declare


class ScaledTerms:
    """The terms among some that are scaled quantities, evaluated together for all zones.

    Args:
        weighted: (K) weights and terms, in order; rows of other terms are left at 0.
        stacked: all zones as one.

    Attributes:
        others: the rows of the other terms.
    """

    def __init__(self, weighted: Sequence[tuple[float, Term]], stacked: Zone) -> None:
        self._zones = stacked
        known = [getattr(term, "scaled", ((), None)) for _, term in weighted]
        every = list(dict.fromkeys(quantity for quantities, _ in known for quantity in quantities))
        self._quantities = sorted(every, key=lambda quantity: not hasattr(quantity, "sum_of"))
        self._sums = tuple(q.sum_of for q in self._quantities if hasattr(q, "sum_of"))
        self._which = np.zeros((len(weighted), len(self._quantities)))  # of ones, so that a product is exact
        self._over, self._times = np.ones((len(weighted), 1)), np.zeros((len(weighted), 1))
        self.others = [row for row, (quantities, _) in enumerate(known) if not quantities]
        for row, ((quantities, scale), (weight, _)) in enumerate(zip(known, weighted, strict=True)):
            for quantity in quantities:
                self._which[row, self._quantities.index(quantity)] += 1.0
            if scale is not None:
                self._over[row], times = scale(stacked)
                self._times[row] = times * weight

    def __call__(self, before: GridState, after: GridState) -> Array:
        """(..., K, Z) the weighted terms; a new array."""
        batch = after.solution.v_pu.shape[:-1]
        found = np.zeros((*batch, len(self._quantities), len(self._zones.index)))
        rows, left = found, self._quantities
        if batch:
            done = self._sum_together(found, after)
            rows, left = np.moveaxis(found, -2, 0)[done:], left[done:]
        for row, quantity in zip(rows, left, strict=True):
            row[...] = quantity(self._zones, before, after)
        values = np.asarray(self._which @ found)
        values /= self._over
        values *= self._times
        return values

    def _sum_together(self, found: Array, after: GridState) -> int:
        """Write those of (B, Q, Z) that are sums over voltages, which come first, if compiled; returns how many."""
        kernels, functions = kernels_for(after.solution.v_pu), self._sums
        if kernels is None or not functions:
            return 0
        zones = self._zones
        kernels.sums_of(functions, after.solution.v_pu, DEAD_V_PU, zones.scored_nodes, zones.bounds, found)
        return len(functions)

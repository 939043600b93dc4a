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
from dss_marl.grid.state import Array, GridState
from dss_marl.mdp.compiled_terms import CompiledTerms
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
        self._quantities = tuple(dict.fromkeys(quantity for quantities, _ in known for quantity in quantities))
        self._compiled = CompiledTerms(self._quantities, stacked)
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
        kernels = kernels_for(after.solution.v_pu) if batch else None
        if kernels is not None:
            self._compiled.write(kernels, found, before, after)
            for k in self._compiled.others:
                found[:, k] = self._quantities[k](self._zones, before, after)
            return np.asarray(self._which / self._over * self._times @ found)
        for row, quantity in zip(np.moveaxis(found, -2, 0) if batch else found, self._quantities, strict=True):
            row[...] = quantity(self._zones, before, after)
        values = np.asarray(self._which @ found)
        values /= self._over
        values *= self._times
        return values

"""What every solver of a network takes and gives; see ``reference`` for the arithmetic in its plainest form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dss_marl.engines.batched.factors import Factors
from dss_marl.engines.batched.network import Complex, Network
from dss_marl.grid.state import Array, BoolArray, IntArray


@dataclass(frozen=True)
class Demand:
    """The power flows of B copies that are to be solved.

    Attributes:
        kw, kvar: (B, J) of loads and units, + into the grid; 0 where de-energised.
        states: (B, U) of all adjustable elements of the network.
        which: (B) True for the copies to solve; None: all.
    """

    kw: Array
    kvar: Array
    states: IntArray
    which: BoolArray | None = None


@dataclass(frozen=True)
class Flow:
    """Power flows of B copies; rows of copies that were not wanted hold finite numbers without meaning.

    Attributes:
        v_pu: (B, N) node voltages to neutral or earth, whatever is energised [pu]; may be float32.
        served_kw: (B, J) delivered by loads and units, + into the grid [kW].
        loss_kw: (B) what the circuit dissipates, from currents and voltages that obey Kirchhoff's law together [kW].
        source_kva: (B, K) complex power into the circuit at each node of each source, source after source; 0 at a
            source's second terminal [kVA].
        residual: (B) largest change of a phase's voltage in the last iteration [pu]; infinite where it was not finite.
        iterations: (B).
        volts: computes (B, 1 + Y) complex node voltages, earth first [V].
        loading: computes (B, M) the highest loading of each branch's conductors [1].
        highest: computes (B) the highest loading of any branch, 0 without branches [1].
    """

    v_pu: Any
    served_kw: Any
    loss_kw: Array
    source_kva: Complex
    residual: Array
    iterations: IntArray
    volts: Callable[[], Complex]
    loading: Callable[[], Any]
    highest: Callable[[], Any]


def with_volts(network: Network, volts: Complex, states: IntArray, **found: Any) -> Flow:
    """A flow whose loadings follow from its voltages (B, 1 + Y) and the states (B, U); ``found`` is the rest of it."""

    def conductors() -> Array:
        return network.loading(volts, states)

    return Flow(
        **found,
        volts=lambda: volts,
        loading=lambda: network.flows.by_branch(conductors()),
        highest=lambda: np.max(conductors(), axis=-1, initial=0.0),
    )


class Solver(Protocol):
    """Solves the power flows of many copies of one network, each from a flat start: independent of all else.

    Attributes:
        factors: of the network.
    """

    factors: Factors

    def solve(self, demand: Demand, tolerance: float, iterations: int) -> Flow:
        """The power flows.

        Args:
            demand: of B copies.
            tolerance: stop where no phase's voltage changes by more [pu].
            iterations: give up after so many.
        """

    def restart(self, which: BoolArray | None = None) -> None:
        """Discard what copies (B) True, or all, keep of their last solve."""

    def close(self) -> None:
        """Release threads."""

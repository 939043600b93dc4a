"""Whether float32 is enough for the iteration on a network."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sl

from dss_marl.engines.batched.factors import LEAK_W
from dss_marl.engines.batched.network import Network

_PROBES = 8
_ENOUGH = 1e-5  # error of a voltage by rounding [pu]; the solvers' is about a tenth of this estimate


def rounding_error(network: Network, kva: float) -> float:
    """Largest error of a voltage if every node's current is rounded to float32 [pu].

    Where nothing but the charging of lines fixes the voltages to earth, as on feeders whose loads and windings are all
    in delta, rounding shifts all three together.

    Args:
        network: the circuit; its middle taps are taken, all switches closed.
        kva: of all loads together.
    """
    states = np.array([len(row.admittance) // 2 if row.taps else 1 for row in network.adjustables], np.int64)
    factors = sl.splu(network.assembled(states) + sp.diags(LEAK_W / network.volts**2).tocsc())
    rng = np.random.default_rng(0)
    loaded = np.unique(network.phases.one)
    if not loaded.size:
        return 0.0
    amps = np.zeros((network.count, _PROBES))
    signs = rng.choice((-1.0, 1.0), (len(loaded), _PROBES))
    amps[loaded] = signs * (np.finfo(np.float32).eps / 2 * 1000 * kva / 3 / network.volts[loaded])[:, None]
    volts = np.abs(factors.solve(amps.astype(complex)))
    return float((volts / network.volts[:, None]).max())


def single_is_enough(network: Network, kva: float) -> bool:
    """True where rounding to float32 matters to no voltage."""
    return rounding_error(network, kva) < _ENOUGH

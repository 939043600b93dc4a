"""Ports: a network as the phases of its loads and units see it, in dense matrices.

With the currents I that the phases draw and the voltages Vd of the skeleton,

    w = outer Vd - inner I,   Vd = S^-1 (Isrc - outer^T I),   V = nodes_outer Vd - nodes_inner I

are the voltages across the phases, of the skeleton, and of all nodes. Dense products beat sparse substitutions up to
some hundred phases, and on GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.engines.batched.network import Complex
from dss_marl.engines.batched.reference import Reference


@dataclass(frozen=True)
class Ports:
    """See the module; E phases, Y nodes in the network's order, m of the skeleton.

    Attributes:
        inner: (E, E), symmetric [ohm].
        outer: (E, m) [1].
        nodes_inner: (Y, E) [ohm].
        nodes_outer: (Y, m) [1].
    """

    inner: Complex
    outer: Complex
    nodes_inner: Complex
    nodes_outer: Complex

    @classmethod
    def of(cls, reference: Reference) -> Ports:
        """Those of a reference solver's network."""
        m, e = reference.factors.skeleton_size, len(reference.network.phases)
        none = np.zeros((1, m, m), complex)
        unit = reference.across.toarray().astype(complex)
        apart = reference.voltages(unit, np.broadcast_to(none, (e, m, m)), np.zeros((e, m), complex))
        still = np.zeros((m, reference.network.count), complex)
        together = reference.voltages(still, np.broadcast_to(none, (m, m, m)), np.eye(m, dtype=complex))
        nodes_inner, nodes_outer = np.ascontiguousarray(apart.T), np.ascontiguousarray(together.T)
        return cls(reference.across @ nodes_inner, reference.across @ nodes_outer, nodes_inner, nodes_outer)

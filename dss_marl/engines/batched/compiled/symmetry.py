"""Balanced feeders, whose three phases are rotations of each other: one phase of them is solved, a third of the work.

A rotation takes each node to the next phase of its bus. Where it leaves admittances, loads and sources as they are, and
the sources' currents lag by a third of a turn, so do all voltages: V[next] = V / r with r = exp(2 pi j / 3), and

    Y V = I   becomes   (Y0 + Y1 / r + Y2 r) V0 = I0,   Yk = admittances from phase 0 to the k-th

Loads in delta count as loads in wye of the same power.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from dss_marl.engines.batched.network import EARTH, Adjustable, Complex, Network, Phases, Source
from dss_marl.grid.state import IntArray

_TURN = np.exp(-2j * np.pi / 3)  # from a phase to the next
_EQUAL = 1e-9  # of the largest value


@dataclass(frozen=True)
class Third:
    """One phase of a balanced network.

    Attributes:
        network: with a node for each bus.
        node: (Y) the node of ``network`` that stands for each node of the whole.
        turn: (Y) factor of its voltage.
        source_nodes: (K) which of the sources' nodes in ``network`` stands for each one in the whole.
    """

    network: Network
    node: IntArray
    turn: Complex
    source_nodes: IntArray


def third(network: Network, volts: Complex) -> Third | None:
    """One phase of a network, if its three are rotations of each other.

    Args:
        network: the whole.
        volts: (Y) voltages of some unloaded state [V], which tell the order of the phases.
    """
    found = _Rotation.found(network, volts)
    return None if found is None else found.third()


class _Rotation:
    """A network with the next phase of each node (Y), and how many phases each is from the first."""

    def __init__(self, network: Network, following: IntArray, ahead: IntArray) -> None:
        self.network, self.next, self.ahead = network, following, ahead
        self.first = np.flatnonzero(ahead == 0)
        place = np.full(network.count, -1, np.int64)
        place[self.first] = np.arange(len(self.first))
        self.node = place.copy()
        self.node[following[self.first]] = place[self.first]
        self.node[following[following[self.first]]] = place[self.first]

    @classmethod
    def found(cls, network: Network, volts: Complex) -> _Rotation | None:
        """Consecutive nodes of one base voltage whose unloaded voltages are thirds of a turn apart."""
        count = network.count
        if count % 3 or not count or (network.neutrals != EARTH).any():
            return None
        bus = volts.reshape(-1, 3)
        if (np.abs(bus) < 0.1 * network.volts.reshape(-1, 3)).any():
            return None
        reference = volts[network.sources[0].nodes[0]]
        ahead = np.round(np.angle(bus / reference) / np.angle(_TURN)).astype(np.int64) % 3
        if (np.sort(ahead, axis=-1) != np.arange(3)).any():
            return None
        by_phase = np.argsort(ahead, axis=-1)  # of the three, which is the k-th
        place = np.arange(count).reshape(-1, 3)
        ordered = np.take_along_axis(place, by_phase, axis=-1)
        following = np.empty(count, np.int64)
        following[ordered.reshape(-1)] = np.roll(ordered, -1, axis=-1).reshape(-1)
        return cls(network, following, ahead.reshape(-1))

    def third(self) -> Third | None:
        network = self.network
        fixed = self._matrix(network.fixed)
        phases = self._phases()
        sources = [self._source(source) for source in network.sources]
        adjustables = [self._adjustable(row) for row in network.adjustables]
        if fixed is None or phases is None or None in sources or None in adjustables:
            return None
        reduced = replace(
            network,
            volts=network.volts[self.first],
            fixed=fixed,
            adjustables=tuple(row for row in adjustables if row is not None),
            phases=phases,
            sources=tuple(row for row in sources if row is not None),
            places=self.node[network.places],
        )
        return Third(reduced, self.node, _TURN**self.ahead, self._source_nodes(reduced))

    def _source_nodes(self, reduced: Network) -> IntArray:
        parts, start = [], 0
        for whole, one in zip(self.network.sources, reduced.sources, strict=True):
            parts.append(start + np.searchsorted(one.nodes, self.node[whole.nodes]))
            start += len(one.nodes)
        return np.concatenate(parts)

    def _matrix(self, matrix: Any) -> Any:
        """(Y / 3, Y / 3) sum of the admittances (Y, Y) to the three phases, turned; None if it is not symmetric."""
        coo = matrix.tocoo()
        turned = sp.csc_matrix((coo.data, (self.next[coo.row], self.next[coo.col])), shape=coo.shape)
        largest = np.abs(coo.data).max(initial=1e-30)
        if _largest(turned - matrix.tocsc()) > _EQUAL * largest:
            return None
        mine = self.ahead[coo.row] == 0
        rows, columns = self.node[coo.row[mine]], self.node[coo.col[mine]]
        values = coo.data[mine] * _TURN ** self.ahead[coo.col[mine]]
        reduced = sp.csc_matrix((values, (rows, columns)), shape=(len(self.first),) * 2)
        if _largest(reduced - reduced.T) > _EQUAL * largest:
            return None
        return (reduced + reduced.T) / 2

    def _small(self, nodes: IntArray, y: Complex) -> tuple[IntArray, Complex] | None:
        """Nodes and admittances of an element in one phase; None if it is no rotation of itself."""
        if not set(self.next[nodes].tolist()) <= set(nodes.tolist()):
            return None
        k = len(nodes)
        indices = np.repeat(nodes, k), np.tile(nodes, k)
        reduced = self._matrix(sp.csc_matrix((y.reshape(-1), indices), shape=(self.network.count,) * 2))
        if reduced is None:
            return None
        mine = np.unique(self.node[nodes])
        return mine, reduced[mine][:, mine].toarray()

    def _source(self, source: Source) -> Source | None:
        small = self._small(source.nodes, source.admittance)
        if small is None:
            return None
        amps = np.zeros(self.network.count, complex)
        amps[source.nodes] = source.amps
        counted = np.zeros(self.network.count, bool)
        counted[source.nodes] = source.counted
        turned = np.abs(amps[self.next] - amps * _TURN).max() > _EQUAL * np.abs(amps).max()
        if turned or (counted[self.next] != counted).any():
            return None
        nodes, y = small
        return Source(source.name, nodes, y, amps[self.first[nodes]], counted[self.first[nodes]])

    def _adjustable(self, row: Adjustable) -> Adjustable | None:
        parts = [self._small(row.nodes, y) for y in row.admittance]
        if None in parts:
            return None
        found = [part for part in parts if part is not None]
        return replace(row, nodes=found[0][0], admittance=np.stack([y for _, y in found]))

    def _phases(self) -> Phases | None:
        """One of each three phases of an injection, in wye; None if they are no rotation of each other."""
        p, following = self.network.phases, np.append(self.next, EARTH)
        law = np.column_stack(
            [p.injection, p.volts, p.share, p.model, p.v_min, p.v_max, p.v_low, p.low, p.exponents, p.zip]
        )
        delta = p.other != EARTH
        if (self.node[p.one[delta]] != self.node[p.other[delta]]).any():
            return None

        def keys(one: IntArray, other: IntArray) -> Any:
            ends = np.sort(np.stack([one, other], axis=-1), axis=-1)
            table = np.column_stack([law, ends])
            return table[np.lexsort(table.T)]

        if not np.array_equal(keys(p.one, p.other), keys(following[p.one], following[p.other])):
            return None
        # In delta the phase from the first to the second stands for all: whichever way it is written.
        kept = np.where(delta, self.ahead[p.one] + self.ahead[p.other] == 1, self.ahead[p.one] == 0)
        return Phases(
            p.injection[kept], self.node[p.one[kept]], np.full(int(kept.sum()), EARTH),
            (p.volts / np.where(delta, 3**0.5, 1.0))[kept], p.share[kept], p.model[kept], p.v_min[kept], p.v_max[kept],
            p.v_low[kept], p.low[kept], p.exponents[kept], p.zip[kept],
        )  # fmt: skip


def _largest(matrix: Any) -> float:
    return float(np.abs(matrix.tocoo().data).max(initial=0.0))

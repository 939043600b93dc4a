"""Factors: a network's admittance matrix eliminated once, but for the nodes of elements that set points change.

With s the other nodes and d these, the skeleton,

    Y(state) = [Yss Ysd; Yds Ydd] + sum of the adjustable elements' admittances, which lie within d
    Yss = L D L^T,   Ld = (D^-1 L^-1 Ysd)^T,   S(state) = Ydd - Ld D Ld^T + adjustable elements

so that a change of state costs a factorisation of the small, sparse S alone. The order of elimination keeps L sparse and
puts nodes without load or unit first: they take no part in the iteration, and get their voltages at the end.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sl

from dss_marl.engines.batched.network import Complex, Network
from dss_marl.grid.state import BoolArray, IntArray

_PASSIVE_DEGREE = 9  # a node without injection of more neighbours would fill L when it is eliminated first
_DROPPED = 1e-15  # of what an entry lies between: rounding
_LEAK_W = 1e-6  # at rated voltage from each node of the skeleton to earth, so that dead islands have an answer


@dataclass(frozen=True)
class Factors:
    """A network's elimination; nodes are numbered in its order, the skeleton's m last.

    Attributes:
        order: (Y) the network's node at each place of the order; ``place`` is its inverse.
        starts, rows, values: columns of the unit lower L and, below, of Ld: (s + 1), (nonzeros), (nonzeros).
        pivots: (s) 1 / D.
        injected: (Y) True where injections arrive in the forward substitution.
        needed: (s) True where the iteration needs the voltage.
        skeleton_rows, skeleton_columns: (p) pattern of the lower triangle of S with its fill, column by column.
        skeleton_starts: (m + 1) first entry of each column, which is the diagonal.
        skeleton: (p) entries of S that no state changes [S].
        updates: (u, 3) entries (a, b, c) for S[a] -= S[b] S[c] / pivot, with ``update_starts`` (m + 1) by pivot.
        table_starts: (U + 1) rows of each adjustable element in the next two.
        table_entries: (q) entry of S that it changes.
        table: list of (states) of values to add, one for each of these [S].
        moving: (U) which of the network's adjustable elements are not fixed.
    """

    network: Network
    order: IntArray
    place: IntArray
    starts: IntArray
    rows: IntArray
    values: Complex
    pivots: Complex
    injected: BoolArray
    needed: BoolArray
    skeleton_rows: IntArray
    skeleton_columns: IntArray
    skeleton_starts: IntArray
    skeleton: Complex
    updates: IntArray
    update_starts: IntArray
    table_starts: IntArray
    table_entries: IntArray
    table: tuple[Complex, ...]
    moving: IntArray

    @property
    def eliminated(self) -> int:
        """Number of nodes outside the skeleton."""
        return len(self.pivots)

    @property
    def skeleton_size(self) -> int:
        """Number of nodes m of the skeleton."""
        return len(self.skeleton_starts) - 1


def factorised(network: Network, fixed: dict[int, int] | None = None) -> Factors:
    """Eliminate a network.

    Args:
        network: the circuit.
        fixed: adjustable elements that keep a state, and this state; they then count as fixed admittances.

    Raises:
        ValueError: a node has no admittance at all, so that its voltage is anything.
    """
    fixed = fixed or {}
    moving = np.array([u for u in range(len(network.adjustables)) if u not in fixed], np.int64)
    matrix = _with_fixed(network, fixed)
    skeleton = _skeleton_nodes(network, moving)
    order, loaded = _order(network, matrix, skeleton, moving)
    size, m = network.count, len(skeleton)
    split = size - m
    place = np.empty(size, np.int64)
    place[order] = np.arange(size)
    ordered = matrix[order][:, order].tocsc()
    starts, rows, values, pivots, reduced = _eliminated(ordered, split, network)
    pattern = _pattern(network, reduced, place, split, moving)
    updates, update_starts, index = _updates(pattern)
    s_rows, s_columns = np.nonzero(pattern)
    by_column = np.lexsort((s_rows, s_columns))
    s_rows, s_columns = s_rows[by_column], s_columns[by_column]
    leak = _LEAK_W / network.volts[order[split:]] ** 2
    entries = reduced[s_rows, s_columns] + np.where(s_rows == s_columns, leak[s_rows], 0.0)
    table_starts, table_entries, table = _tables(network, place, split, index, moving)
    injected = loaded[order].copy()
    needed = injected[:split].copy()
    for k in range(split):
        below = rows[starts[k] : starts[k + 1]]
        if injected[k]:
            injected[below] = True
        if needed[k]:
            needed[below[below < split]] = True
    return Factors(
        network, order, place, starts, rows, values, pivots, injected, needed,
        s_rows, s_columns, np.searchsorted(s_columns, np.arange(m + 1)), entries,
        updates, update_starts, table_starts, table_entries, table, moving,
    )  # fmt: skip


def _with_fixed(network: Network, fixed: dict[int, int]) -> Any:
    """The matrix of what set points do not move, the elements that keep a state among it."""
    total = network.fixed.tocoo()
    parts = [(total.row, total.col, total.data)]
    for u, state in fixed.items():
        row = network.adjustables[u]
        k = len(row.nodes)
        parts.append((np.repeat(row.nodes, k), np.tile(row.nodes, k), row.admittance[state].reshape(-1)))
    rows, columns, values = (np.concatenate(group) for group in zip(*parts, strict=True))
    summed = sp.csc_matrix((values, (rows, columns)), shape=(network.count, network.count))
    summed.eliminate_zeros()
    return summed


def _skeleton_nodes(network: Network, moving: IntArray) -> IntArray:
    """Nodes of sources and of what moves."""
    nodes = [source.nodes for source in network.sources]
    nodes += [network.adjustables[u].nodes for u in moving]
    return np.unique(np.concatenate(nodes))


def _order(network: Network, matrix: Any, skeleton: IntArray, moving: IntArray) -> tuple[IntArray, BoolArray]:
    """Nodes in the order of elimination, and (Y) which carry a load or unit.

    Least degree first, within three groups: nodes without injection, with one, and the skeleton.
    """
    rows = matrix.tocsr()
    near = [set(rows.indices[rows.indptr[i] : rows.indptr[i + 1]].tolist()) - {i} for i in range(network.count)]
    for u in moving:
        nodes = network.adjustables[u].nodes.tolist()
        for node in nodes:
            near[node].update(other for other in nodes if other != node)
    loaded = np.zeros(network.count, bool)
    loaded[network.phases.one] = True
    loaded[network.phases.other[network.phases.other >= 0]] = True
    last = np.zeros(network.count, bool)
    last[skeleton] = True

    def key(node: int) -> tuple[int, int]:
        degree = len(near[node])
        passive = not loaded[node] and degree <= _PASSIVE_DEGREE
        return (2 if last[node] else 0 if passive else 1), degree

    heap = [(key(node), node) for node in range(network.count)]
    heapq.heapify(heap)
    order, done = [], np.zeros(network.count, bool)
    while heap:
        was, node = heapq.heappop(heap)
        if done[node] or was != key(node):
            continue  # another entry has its present degree
        done[node] = True
        order.append(node)
        around = near[node]
        for other in around:
            near[other] |= around
            near[other] -= {other, node}
        for other in around:
            heapq.heappush(heap, (key(other), other))
        near[node] = set()
    return np.array(order, np.int64), loaded


def _eliminated(ordered: Any, split: int, network: Network) -> tuple[IntArray, IntArray, Complex, Complex, Complex]:
    """Columns of L and Ld, 1 / D, and what remains of the skeleton (m, m)."""
    rest = ordered[split:, split:].toarray()
    if not split:
        return np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, complex), np.zeros(0, complex), rest
    inner = ordered[:split, :split].tocsc()
    if (np.abs(inner.diagonal()) == 0).any():
        raise ValueError(
            f"feeder {network.feeder_name!r} has a node that only loads connect to, so that its voltage is anything; "
            "earth it, or use the engine 'opendss'"
        )
    natural = {"SymmetricMode": True}  # complex symmetric and diagonally strong: no pivoting
    lu = sl.splu(inner, permc_spec="NATURAL", diag_pivot_thresh=0.0, options=natural)
    diagonal = lu.U.diagonal()
    side = sl.spsolve_triangular(lu.L.tocsr(), ordered[:split, split:].toarray(), lower=True, unit_diagonal=True)
    below = (side / diagonal[:, None]).T
    reduced = rest - below @ side
    size = np.sqrt(np.abs(reduced.diagonal()))
    reduced[np.abs(reduced) < _DROPPED * size[:, None] * size] = 0
    below[np.abs(below) < _DROPPED * max(np.abs(below).max(initial=0.0), 1e-30)] = 0
    columns = sp.vstack([sp.tril(lu.L, -1), sp.csr_matrix(below)]).tocsc()
    columns.eliminate_zeros()
    columns.sort_indices()
    return (
        columns.indptr.astype(np.int64),
        columns.indices.astype(np.int64),
        columns.data.astype(complex),
        1 / diagonal,
        reduced,
    )


def _pattern(network: Network, reduced: Complex, place: IntArray, split: int, moving: IntArray) -> BoolArray:
    """(m, m) lower triangle of S where it may be nonzero, in any state and after its own elimination."""
    pattern = np.abs(reduced) > 0
    for u in moving:
        at = place[network.adjustables[u].nodes] - split
        pattern[np.ix_(at, at)] = True
    pattern |= pattern.T
    np.fill_diagonal(pattern, True)
    pattern = np.tril(pattern)
    for k in range(len(pattern)):
        below = np.flatnonzero(pattern[k + 1 :, k]) + k + 1
        pattern[np.ix_(below, below)] |= np.tril(np.ones((len(below), len(below)), bool))
    return pattern


def _updates(pattern: BoolArray) -> tuple[IntArray, IntArray, IntArray]:
    """The updates of the factorisation of S, by pivot, and (m, m) the entry at each place, -1 outside the pattern."""
    columns, rows = np.nonzero(pattern.T)
    index = np.full(pattern.shape, -1, np.int64)
    index[rows, columns] = np.arange(len(rows))
    updates, starts = [], [0]
    for k in range(len(pattern)):
        below = (np.flatnonzero(pattern[k + 1 :, k]) + k + 1).tolist()
        updates += [(index[a, b], index[a, k], index[b, k]) for x, b in enumerate(below) for a in below[x:]]
        starts.append(len(updates))
    return np.array(updates, np.int64).reshape(-1, 3), np.array(starts, np.int64), index


def _tables(
    network: Network, place: IntArray, split: int, index: IntArray, moving: IntArray
) -> tuple[IntArray, IntArray, tuple[Complex, ...]]:
    """What each moving element adds to which entries of S, in each of its states."""
    starts, entries, table = [0], [], []
    for u in moving:
        row = network.adjustables[u]
        at = place[row.nodes] - split
        for a in range(len(at)):
            for b in range(len(at)):
                values = row.admittance[:, a, b]
                if at[a] >= at[b] and values.any():
                    entries.append(int(index[at[a], at[b]]))
                    table.append(values)
        starts.append(len(entries))
    return np.array(starts, np.int64), np.array(entries, np.int64), tuple(table)

"""The loading of branches for W copies side by side, from voltages in float64: stiff branches need all their digits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dss_marl.engines.batched.compiled.lane_memory import borrowed, item, pair, put, row, scalar_pair
from dss_marl.engines.batched.compiled.lanes import W, compiled, converted, entry_point, larger, like, root
from dss_marl.engines.batched.compiled.voltages import all_voltages, unpack
from dss_marl.engines.batched.network import Complex, Network
from dss_marl.grid.state import Array, IntArray

_DIGITS = 9  # to which the conductors of a balanced branch are the same


class Branches(NamedTuple):
    """Rows of ``Flows``, a conductor each, one after the other by branch.

    Attributes:
        starts: (M + 1) rows of each branch.
        entry_starts: (rows + 1) entries of each row.
        nodes, taps: (entries) row of the voltage, and of the divisors below.
        y: (entries, 2) [S].
        per_rating: (rows) 1 over the branch's rating [1/A].
        row_taps: (rows) the divisor of the current.
        divisors: (D) which adjustable element makes each divisor; the first is always 1.
        table_at, table: (D), (t) first value of 1 / divisor by its state, and all values.
    """

    starts: Any
    entry_starts: Any
    nodes: Any
    taps: Any
    y: Any
    per_rating: Any
    row_taps: Any
    divisors: Any
    table_at: Any
    table: Any


@compiled
def _factors(branches, states, first, factors):
    """1 / divisors (D, W) of the copies from ``first`` in states (B, U)."""
    branches, states, factors = borrowed((branches, states, factors))
    copies = states.shape[0]
    for d in range(branches.divisors.shape[0]):
        u = branches.divisors[d]
        for lane in range(W):
            state = states[min(first + lane, copies - 1), u] if u >= 0 else 0
            factors[d, lane] = branches.table[branches.table_at[d] + state]


@compiled
def _conductor(branches, r, nodes, factors):
    """Loading of a conductor."""
    branches, nodes, factors = borrowed((branches, nodes, factors))
    i_re, i_im = like(nodes, 0.0), like(nodes, 0.0)
    for q in range(item(branches.entry_starts, r), item(branches.entry_starts, r + 1)):
        re, im = scalar_pair(branches.y, q)
        v_re, v_im = pair(nodes, item(branches.nodes, q))
        p_re, p_im = re * v_re - im * v_im, re * v_im + im * v_re
        tap = item(branches.taps, q)
        if tap > 0:
            by = row(factors, tap)
            p_re, p_im = p_re * by, p_im * by
        i_re, i_im = i_re + p_re, i_im + p_im
    size = root(i_re * i_re + i_im * i_im) * like(nodes, item(branches.per_rating, r))
    tap = item(branches.row_taps, r)
    if tap > 0:
        size = size * row(factors, tap)
    return size


@entry_point
def load_groups(branches, e, injected, states, factors, rows, loading, highest):
    """Loading (B, M) of branches and the highest (B, 1), from the results of ``solve_groups``.

    Args:
        branches, e: see Branches and Exact.
        injected: of Results.
        states: (B, U).
        factors: (D, W) working memory.
        rows: (M + 1, W) working memory in the precision of ``loading``.
        loading, highest: to be written; a loading with no rows is not.
    """
    nodes = e.nodes
    for g in range(injected.shape[0]):
        all_voltages(e, injected[g], states, g * W)
        _factors(branches, states, g * W, factors)
        count = branches.starts.shape[0] - 1
        top = like(rows, 0.0)
        for b in range(count):
            most = like(nodes, 0.0)
            for r in range(branches.starts[b], branches.starts[b + 1]):
                most = larger(_conductor(branches, r, nodes, factors), most)
            low = converted(most, rows)
            put(rows, b, low)
            top = larger(low, top)
        put(rows, count, top)
        if loading.shape[0] > 0:
            unpack(rows[:count], g * W, loading)
        unpack(rows[count:], g * W, highest)


def branches_of(network: Network, place: IntArray, node: IntArray, turn: Complex) -> Branches:
    """Branches for a network's flows.

    Args:
        network: the whole.
        place: row of the voltage of each solved node.
        node, turn: (Y) solved node that stands for each of the network's, and the factor of its voltage.
    """
    rows = network.flows.rows
    divisors = _Divisors(network)
    seen_as = np.where(rows.columns > 0, place[node[rows.columns - 1]], -1)
    y = rows.y * np.where(rows.columns > 0, turn[rows.columns - 1], 0.0)
    starts, kept, parts = [0], [], []
    for begin, end in zip(rows.first_row, np.append(rows.first_row[1:], len(rows.y)), strict=True):
        found: dict[Any, int] = {}
        for r in range(begin, end):
            terms = _terms(seen_as[r], divisors.of_entries(rows.entry_tap[r]), y[r])
            if found.setdefault(_signature(terms), r) == r:
                kept.append(r)
                parts.append(terms)
        starts.append(len(kept))
    flat = np.array([value for terms in parts for value in terms.values()], complex)
    keys = np.array([key for terms in parts for key in terms], np.int32).reshape(-1, 2)
    return Branches(
        starts=np.array(starts, np.int64),
        entry_starts=np.cumsum([0, *(len(terms) for terms in parts)]),
        nodes=keys[:, 0].copy(),
        taps=keys[:, 1].copy(),
        y=np.ascontiguousarray(np.stack([flat.real, flat.imag], axis=-1)),
        per_rating=rows.per_rating[kept],
        row_taps=divisors.of_rows(rows.row_tap, rows.row_switch)[kept].astype(np.int32),
        divisors=np.array(divisors.elements, np.int64),
        table_at=np.cumsum([0, *(len(values) for values in divisors.tables)])[:-1],
        table=np.concatenate(divisors.tables),
    )


def _terms(nodes: IntArray, taps: IntArray, y: Complex) -> dict[tuple[int, int], complex]:
    """Admittances of a conductor by node and divisor; earth left out."""
    terms: dict[tuple[int, int], complex] = {}
    for place, tap, value in zip(nodes.tolist(), taps.tolist(), y.tolist(), strict=True):
        if value and place >= 0:
            terms[place, tap] = terms.get((place, tap), 0j) + value
    return terms


def _signature(terms: dict[tuple[int, int], complex]) -> Any:
    """What is the same for conductors whose currents differ in their phase alone."""
    if not terms:
        return ()
    first = next(iter(terms.values()))
    turned = {key: complex(np.round(value / first, _DIGITS)) + 0j for key, value in terms.items()}
    return tuple(sorted((key, value.real, value.imag) for key, value in turned.items())), float(
        f"{abs(first):.{_DIGITS}g}"
    )


class _Divisors:
    """What voltages and currents are divided by: 1, each tap ratio and its square; and by a switch, 1 or nothing.

    Attributes:
        elements: adjustable element that makes each divisor; -1: it is 1.
        tables: 1 / divisor in each of its states.
    """

    def __init__(self, network: Network) -> None:
        self.elements: list[int] = [-1]
        self.tables: list[Array] = [np.ones(1)]
        taps = [(tap, u, k) for u, element in enumerate(network.adjustables) for k, (tap, _) in enumerate(element.taps)]
        self._taps = len(taps)
        self._entries = np.zeros(2 * self._taps + 1, np.int64)
        switches = {element.switch: u for u, element in enumerate(network.adjustables) if element.switch >= 0}
        self._switches = np.zeros(len(switches) + 1, np.int64)
        for tap, u, k in taps:
            inverse = 1 / network.adjustables[u].ratios[k]
            self._entries[tap] = self._add(u, inverse)
            self._entries[self._taps + 1 + tap] = self._add(u, inverse**2)
        for switch, u in switches.items():
            self._switches[switch] = self._add(u, np.array([0.0, 1.0]))

    def _add(self, element: int, table: Array) -> int:
        self.elements.append(element)
        self.tables.append(table)
        return len(self.elements) - 1

    def of_entries(self, entry_tap: IntArray) -> IntArray:
        """Divisors of voltages, from the codes of Flows."""
        return self._entries[entry_tap]

    def of_rows(self, row_tap: IntArray, row_switch: IntArray) -> IntArray:
        """Divisors of currents."""
        return np.where(row_tap < self._taps, self._entries[row_tap], self._switches[row_switch])

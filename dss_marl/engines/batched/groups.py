"""Groups of W copies from set points to a solution: the compiled part of ``compiled``."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from dss_marl.engines.batched.lanes import (
    W, compiled, converted, entry_point, every_lane, item, like, pair, put, put_pair, root, row, scalar_pair, select, turned,
)  # fmt: skip
from dss_marl.engines.batched.sweeps import factor, iterate, sweep

_DIVERGED = 1e3  # sum of the squared changes of all voltages [pu]


class Ends(NamedTuple):
    """What becomes of voltages and set points, beside Active; rows are A active nodes, m of the skeleton, P passive ones.

    Attributes:
        moving: (U) columns of the states that move the skeleton.
        passive_starts, passive_rows, passive_values: (P + 1), (q), (q, 2) columns of L and Ld, as they are substituted.
        places, neutrals: (N) rows of the Feeder's nodes and of their neutrals, -1: earth.
        per_volt: (N) 1 / base voltage.
        source_starts: (sources + 1) first row of each in the next four.
        source_nodes: (K) row of each node of a source.
        source_y: (K, k, 2) admittances between the nodes of one source.
        amps: (K, 2) of the sources.
        counted: (K) True where power counts as delivered.
    """

    moving: Any
    passive_starts: Any
    passive_rows: Any
    passive_values: Any
    places: Any
    neutrals: Any
    per_volt: Any
    source_starts: Any
    source_nodes: Any
    source_y: Any
    amps: Any
    counted: Any


class Kept(NamedTuple):
    """What stays between solves, for each of G groups: the states and factors of skeletons, in both precisions."""

    states: Any
    factor: Any
    idle: Any
    factor_low: Any
    idle_low: Any


class Scratch(NamedTuple):
    """Working memory of a thread, (rows, 2, W) in the precision of the iteration and (.._exact) of the last sweep."""

    powers: Any
    v: Any
    x: Any
    last: Any
    bend: Any
    v_exact: Any
    currents: Any
    nodes: Any
    rows: Any
    sums: Any


class Results(NamedTuple):
    """See Flow; ``v`` (G, A + m, 2, W) has the voltages from which the others follow."""

    v: Any
    v_pu: Any
    served: Any
    loss_kw: Any
    kva: Any
    residual: Any
    count: Any


@compiled
def _pack(kw, kvar, first, powers):  # type: ignore[no-untyped-def]
    """Powers (B, J) of the copies from ``first`` as rows (J, 2, W); of those beyond the last, zero."""
    copies, size = kw.shape
    if first + W <= copies and size >= W:
        at = 0
        while at < size:
            j = min(at, size - W)
            turned(kw, first * size + j, size, powers, 2 * W * j, 2 * W)
            turned(kvar, first * size + j, size, powers, 2 * W * j + W, 2 * W)
            at += W
        return
    for j in range(size):
        for lane in range(W):
            here = first + lane < copies
            powers[j, 0, lane] = kw[first + lane, j] if here else 0.0
            powers[j, 1, lane] = kvar[first + lane, j] if here else 0.0


@compiled
def unpack(rows, first, target):  # type: ignore[no-untyped-def]
    """Rows (N, W) to the copies from ``first`` of a target (B, N)."""
    copies, size = target.shape
    if first + W <= copies and size >= W:
        at = 0
        while at < size:
            j = min(at, size - W)
            turned(rows, W * j, W, target, first * size + j, size)
            at += W
        return
    for lane in range(min(W, copies - first)):
        for j in range(size):
            target[first + lane, j] = rows[j, lane]


@compiled
def _move(states, first, moving, kept):  # type: ignore[no-untyped-def]
    """Note the states of the copies from ``first`` in kept (U, W); returns whether any differs from the one before."""
    copies, moved = states.shape[0], moving.shape[0] == 0 and kept[0, 0] != 0
    if moved:
        kept[0, 0] = 0
    for u in range(moving.shape[0]):
        for lane in range(W):
            state = states[min(first + lane, copies - 1), moving[u]]
            if kept[u, lane] != state:
                kept[u, lane] = state
                moved = True
    return moved


@compiled
def _refactor(skeleton, g, kept):  # type: ignore[no-untyped-def]
    f, idle = kept.factor[g], kept.idle[g]
    factor(skeleton, kept.states[g], f, idle)
    low, idle_low = kept.factor_low[g], kept.idle_low[g]
    for p in range(f.shape[0]):
        re, im = pair(f, p)
        put_pair(low, p, converted(re, low), converted(im, low))
    for k in range(idle.shape[0]):
        re, im = pair(idle, k)
        put_pair(idle_low, k, converted(re, idle_low), converted(im, idle_low))


@compiled
def _clean(fine, array, rows):  # type: ignore[no-untyped-def]
    """Zero the lanes that diverged, so that what follows from them is finite."""
    zero = like(array, 0.0)
    for i in range(rows):
        re, im = pair(array, i)
        put_pair(array, i, select(fine, re, zero), select(fine, im, zero))


@compiled
def spread(ends, v, nodes):  # type: ignore[no-untyped-def]
    """All voltages (A + m + P, 2, W), in the precision of ``nodes``, from those (A + m, 2, W) of active nodes."""
    n = v.shape[0]
    for i in range(n):
        re, im = pair(v, i)
        put_pair(nodes, i, converted(re, nodes), converted(im, nodes))
    zero = like(nodes, 0.0)
    for k in range(ends.passive_starts.shape[0] - 1):
        k_re, k_im = zero, zero
        for q in range(item(ends.passive_starts, k), item(ends.passive_starts, k + 1)):
            re, im = scalar_pair(ends.passive_values, q)
            x_re, x_im = pair(nodes, item(ends.passive_rows, q))
            k_re, k_im = k_re - (re * x_re - im * x_im), k_im - (re * x_im + im * x_re)
        put_pair(nodes, n + k, k_re, k_im)


@compiled
def _magnitudes(ends, nodes, rows):  # type: ignore[no-untyped-def]
    for i in range(ends.places.shape[0]):
        re, im = pair(nodes, item(ends.places, i))
        other = item(ends.neutrals, i)
        if other >= 0:
            o_re, o_im = pair(nodes, other)
            re, im = re - o_re, im - o_im
        put(rows, i, root(re * re + im * im) * like(rows, item(ends.per_volt, i)))


@compiled
def _serve(laws, v, currents, v_end, served):  # type: ignore[no-untyped-def]
    """served (J, W) by the voltages v from which the currents follow; returns the sum by those that follow from them."""
    kilo, zero = like(v, 0.001), like(served, 0.0)
    total = like(v, 0.0)
    for j in range(served.shape[0]):
        put(served, j, zero)
    for e in range(laws.one.shape[0]):
        a, b, j = item(laws.one, e), item(laws.other, e), item(laws.injection, e)
        i_re, i_im = pair(currents, e)
        re, im = pair(v, a)
        end_re, end_im = pair(v_end, a)
        if b >= 0:
            b_re, b_im = pair(v, b)
            re, im = re - b_re, im - b_im
            b_re, b_im = pair(v_end, b)
            end_re, end_im = end_re - b_re, end_im - b_im
        put(served, j, row(served, j) - converted((re * i_re + im * i_im) * kilo, served))
        total = total - (end_re * i_re + end_im * i_im) * kilo
    return total


@compiled
def _supply(ends, v, first, kva, sums):  # type: ignore[no-untyped-def]
    """Power of the sources at voltages v to the copies from ``first`` of kva (B, K, 2); returns the sum of kW."""
    copies, total, kilo = kva.shape[0], like(v, 0.0), like(v, 0.001)
    for s in range(ends.source_starts.shape[0] - 1):
        begin, end = ends.source_starts[s], ends.source_starts[s + 1]
        for a in range(begin, end):
            if not ends.counted[a]:
                continue
            a_re, a_im = scalar_pair(ends.amps, a)
            for b in range(begin, end):
                re, im = like(v, ends.source_y[a, b - begin, 0]), like(v, ends.source_y[a, b - begin, 1])
                v_re, v_im = pair(v, ends.source_nodes[b])
                a_re, a_im = a_re - (re * v_re - im * v_im), a_im - (re * v_im + im * v_re)
            v_re, v_im = pair(v, ends.source_nodes[a])
            kw = (v_re * a_re + v_im * a_im) * kilo
            put_pair(sums, 0, kw, (v_im * a_re - v_re * a_im) * kilo)
            total = total + kw
            for lane in range(min(W, copies - first)):
                kva[first + lane, a, 0] = sums[0, 0, lane]
                kva[first + lane, a, 1] = sums[0, 1, lane]
    return total


@compiled
def _finish(exact, ends, g, kept, s, out):  # type: ignore[no-untyped-def]
    """One sweep more in float64, and what a solution consists of.

    Kirchhoff's law holds to the last bit between the voltages and the currents of this sweep, so that losses and the
    currents of stiff branches are those of float64, whatever the precision of the iteration before.
    """
    first, copies, v, x = g * W, out.v_pu.shape[0], s.v_exact, out.v[g]
    for i in range(x.shape[0]):
        re, im = pair(s.v, i)
        put_pair(v, i, converted(re, v), converted(im, v))
    change, total = sweep(exact, kept.factor[g], kept.idle[g], s.powers, v, x, s.currents, True)
    fine = total < like(x, _DIVERGED)
    put(out.residual, g, select(fine, root(change), like(x, math.inf)))
    if not every_lane(fine):
        _clean(fine, v, x.shape[0])
        _clean(fine, x, x.shape[0])
        _clean(fine, s.currents, s.currents.shape[0])
    spread(ends, x, s.nodes)
    _magnitudes(ends, s.nodes, s.rows)
    unpack(s.rows, first, out.v_pu)
    balance = _serve(exact.laws, v, s.currents, x, s.rows[: out.served.shape[1]])
    unpack(s.rows, first, out.served)
    balance = balance + _supply(ends, x, first, out.kva, s.sums)
    put_pair(s.sums, 0, balance, balance)
    for lane in range(min(W, copies - first)):
        out.loss_kw[first + lane] = s.sums[0, 0, lane]


@compiled
def _skip(g, out):  # type: ignore[no-untyped-def]
    """Finite numbers without meaning, for copies that nobody wants."""
    out.v[g] = 0.0
    out.residual[g] = 0.0
    out.count[g] = 0.0
    for b in range(g * W, min(g * W + W, out.v_pu.shape[0])):
        out.v_pu[b] = 1.0
        out.served[b] = 0.0
        out.loss_kw[b] = 0.0
        out.kva[b] = 0.0


@entry_point
def solve_groups(  # type: ignore[no-untyped-def]
    active, exact, skeleton, ends, first, last, kw, kvar, states, which, tolerance, most, kept, s, out
):
    """Solve groups of copies, from set points to results.

    Args:
        active, exact: of the iteration, and in float64 for its last sweep.
        skeleton, ends: what else all copies share.
        first, last: groups.
        kw, kvar, states, which: (B, J), (B, J), (B, U), (B) see Demand.
        tolerance, most: of the iteration.
        kept, s, out: what stays, working memory, and results.
    """
    copies = kw.shape[0]
    for g in range(first, last):
        wanted = False
        for lane in range(W):
            b = g * W + lane
            here = b < copies and which[min(b, copies - 1)]
            wanted = wanted or here
            s.sums[0, 0, lane] = 1.0 if here else 0.0
        if not wanted:
            _skip(g, out)
            continue
        open_ = row(s.sums, 0) > like(s.sums, 0.0)
        if _move(states, g * W, ends.moving, kept.states[g]):
            _refactor(skeleton, g, kept)
        _pack(kw, kvar, g * W, s.powers)
        count = iterate(
            active, kept.factor_low[g], kept.idle_low[g], s.powers, open_, tolerance, most, s.v, s.x, s.last, s.bend
        )
        put(out.count, g, converted(count, out.count))
        _finish(exact, ends, g, kept, s, out)


@entry_point
def spread_groups(ends, v, nodes, target):  # type: ignore[no-untyped-def]
    """Voltages of all nodes to a target (B, 2 Y), from those of the active ones; ``nodes`` (Y, 2, W) is memory."""
    rows = nodes.reshape(nodes.shape[0] * 2, W)
    for g in range(v.shape[0]):
        spread(ends, v[g], nodes)
        unpack(rows, g * W, target)

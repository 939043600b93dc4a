"""Groups of W copies from set points to a solution: the compiled part of ``compiled``."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from dss_marl.engines.batched.compiled.lane_memory import borrowed, item, pair, put, put_pair, row, scalar_pair, turned
from dss_marl.engines.batched.compiled.lanes import W, compiled, converted, entry_point, every_lane, like, root, select
from dss_marl.engines.batched.compiled.sweeps import factor, inject, iterate, last_sweep
from dss_marl.engines.batched.compiled.voltages import spread, unpack

_DIVERGED = 1e3  # sum of the squared changes of all voltages [pu]


class Kept(NamedTuple):
    """What stays between solves, for each of G groups.

    Attributes:
        states: (G, U, W) of what moves the skeletons.
        factor: (G, p, 2, W) of them.
        idle: (G, m, 2, W) their voltages without loads [V].
        surplus: (G, K, 2, W) currents of the sources at these voltages [A].
    """

    states: Any
    factor: Any
    idle: Any
    surplus: Any


class Scratch(NamedTuple):
    """Working memory of a thread: rows of complex numbers (rows, 2, W), those of ``rows`` real (rows, W).

    Attributes:
        powers: (J) kW and kvar.
        v, x, last, bend: (A + m) of the iteration.
        change: (m) of the skeleton's voltages by loads.
        currents: (E) of the phases.
        nodes: (Y) all voltages.
        factor, idle: (p), (m) of the skeleton, in float64.
        rows: what goes to the results.
        sums: (1).
    """

    powers: Any
    v: Any
    x: Any
    last: Any
    bend: Any
    change: Any
    currents: Any
    nodes: Any
    factor: Any
    idle: Any
    rows: Any
    sums: Any


class Results(NamedTuple):
    """See Flow; its ``volts`` follow from the currents into the nodes, (G, A + m, 2, W) [A]."""

    injected: Any
    v_pu: Any
    served: Any
    loss_kw: Any
    kva: Any
    residual: Any
    count: Any


@compiled
def _pack(kw, kvar, first, powers):
    """Powers (B, J) of copies from ``first`` as rows (J, 2, W); of those beyond the last, zero."""
    kw, kvar, powers = borrowed((kw, kvar, powers))
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
def _move(states, first, moving, kept):
    """Note the states of the copies from ``first`` in kept (U, W); returns whether any is another than before."""
    states, moving, kept = borrowed((states, moving, kept))
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
def _refactor(skeleton, ends, g, kept, f, exact):
    """Factors of the skeletons of a group, and what follows from them without loads; in float64 at first."""
    skeleton, ends, kept, f, exact = borrowed((skeleton, ends, kept, f, exact))
    low, idle = kept.factor[g], kept.idle[g]
    factor(skeleton, kept.states[g], f, exact)
    for p in range(f.shape[0]):
        re, im = pair(f, p)
        put_pair(low, p, converted(re, low), converted(im, low))
    for k in range(idle.shape[0]):
        re, im = pair(exact, k)
        put_pair(idle, k, converted(re, idle), converted(im, idle))
    surplus = kept.surplus[g]
    for a in range(ends.source_nodes.shape[0]):
        re, im = scalar_pair(ends.amps, a)
        for b in range(ends.source_first[a], ends.source_end[a]):
            y_re, y_im = scalar_pair(ends.source_y, a * ends.width + b - ends.source_first[a])
            v_re, v_im = pair(exact, item(ends.source_nodes, b))
            re, im = re - (y_re * v_re - y_im * v_im), im - (y_re * v_im + y_im * v_re)
        put_pair(surplus, a, converted(re, surplus), converted(im, surplus))


@compiled
def _clean(fine, array, rows):
    """Zero the lanes that diverged, so that what follows from them is finite."""
    array = borrowed(array)
    zero = like(array, 0.0)
    for i in range(rows):
        re, im = pair(array, i)
        put_pair(array, i, select(fine, re, zero), select(fine, im, zero))


@compiled
def _magnitudes(ends, nodes, rows):
    ends, nodes, rows = borrowed((ends, nodes, rows))
    for i in range(ends.places.shape[0]):
        re, im = pair(nodes, item(ends.places, i))
        other = item(ends.neutrals, i)
        if other >= 0:
            o_re, o_im = pair(nodes, other)
            re, im = re - o_re, im - o_im
        put(rows, i, root(re * re + im * im) * like(rows, item(ends.per_volt, i)))


@compiled
def _serve(laws, v, currents, after, served, times):
    """served (J, W) by the voltages v from which the currents follow; returns the sum by those that follow."""
    laws, v, currents, after, served = borrowed((laws, v, currents, after, served))
    kilo, zero = like(v, 0.001 * times), like(served, 0.0)
    total = zero
    for j in range(served.shape[0]):
        put(served, j, zero)
    for e in range(laws.one.shape[0]):
        a, b, j = item(laws.one, e), item(laws.other, e), item(laws.injection, e)
        i_re, i_im = pair(currents, e)
        re, im = pair(v, a)
        end_re, end_im = pair(after, a)
        if b >= 0:
            b_re, b_im = pair(v, b)
            re, im = re - b_re, im - b_im
            b_re, b_im = pair(after, b)
            end_re, end_im = end_re - b_re, end_im - b_im
        put(served, j, row(served, j) - (re * i_re + im * i_im) * kilo)
        total = total - (end_re * i_re + end_im * i_im) * kilo
    return total


@compiled
def _supply(ends, change, after, surplus, first, kva, sums):
    """Power of the sources to the copies from ``first`` of kva (B, K, 2); returns the sum of kW.

    The large currents of stiff sources cancel in ``surplus``, in float64, and not here.
    """
    ends, change, after, surplus, kva, sums = borrowed((ends, change, after, surplus, kva, sums))
    copies, total, kilo = kva.shape[0], like(after, 0.0), like(after, 0.001)
    skeleton = after.shape[0] - change.shape[0]
    for a in range(ends.source_nodes.shape[0]):
        if not ends.counted[a]:
            continue
        re, im = pair(surplus, a)
        for b in range(ends.source_first[a], ends.source_end[a]):
            y_re, y_im = scalar_pair(ends.source_y_low, a * ends.width + b - ends.source_first[a])
            v_re, v_im = pair(change, item(ends.source_nodes, b))
            re, im = re - (y_re * v_re - y_im * v_im), im - (y_re * v_im + y_im * v_re)
        v_re, v_im = pair(after, skeleton + item(ends.source_nodes, a))
        kw = (v_re * re + v_im * im) * kilo
        put_pair(sums, 0, kw, (v_im * re - v_re * im) * kilo)
        total = total + kw * like(after, ends.times)
        for lane in range(min(W, copies - first)):
            kva[first + lane, a, 0] = sums[0, 0, lane]
            kva[first + lane, a, 1] = sums[0, 1, lane]
    return total


@compiled
def _finish(active, ends, g, kept, s, out):
    """One sweep more, and what a solution consists of."""
    active, ends, kept, s, out = borrowed((active, ends, kept, s, out))
    first, copies, after, injected = g * W, out.v_pu.shape[0], s.x, out.injected[g]
    inject(active, s.powers, s.v, injected, s.currents, True)
    for i in range(injected.shape[0]):
        re, im = pair(injected, i)
        put_pair(after, i, re, im)
    change, total = last_sweep(active, kept.factor[g], kept.idle[g], s.v, after, s.change)
    fine = total < like(total, _DIVERGED)
    put(out.residual, g, converted(select(fine, root(change), like(total, math.inf)), out.residual))
    if not every_lane(fine):
        _clean(fine, s.v, after.shape[0])
        _clean(fine, after, after.shape[0])
        _clean(fine, injected, after.shape[0])
        _clean(fine, s.change, s.change.shape[0])
        _clean(fine, s.currents, s.currents.shape[0])
    spread(ends, after, s.nodes)
    _magnitudes(ends, s.nodes, s.rows)
    unpack(s.rows, first, out.v_pu)
    balance = _serve(active.laws, s.v, s.currents, after, s.rows[: out.served.shape[1]], ends.times)
    unpack(s.rows, first, out.served)
    balance = balance + _supply(ends, s.change, after, kept.surplus[g], first, out.kva, s.sums)
    put_pair(s.sums, 0, balance, balance)
    for lane in range(min(W, copies - first)):
        out.loss_kw[first + lane] = s.sums[0, 0, lane]


@compiled
def _skip(g, out):
    """Finite numbers without meaning, for copies that nobody wants."""
    out = borrowed(out)
    out.injected[g] = 0.0
    out.residual[g] = 0.0
    out.count[g] = 0.0
    for b in range(g * W, min(g * W + W, out.v_pu.shape[0])):
        out.v_pu[b] = 1.0
        out.served[b] = 0.0
        out.loss_kw[b] = 0.0
        out.kva[b] = 0.0


@entry_point
def solve_groups(active, skeleton, ends, first, last, kw, kvar, states, which, tolerance, most, kept, s, out):
    """Solve groups of copies, from set points to results.

    Args:
        active, skeleton, ends: what all copies share.
        first, last: groups.
        kw, kvar, states, which: (B, J), (B, J), (B, U), (B) see Demand.
        tolerance, most: of the iteration.
        kept, s, out: what stays, working memory, and results.
    """
    active, skeleton, ends, kw, kvar, states, which, kept, s, out = borrowed(
        (active, skeleton, ends, kw, kvar, states, which, kept, s, out)
    )
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
            _refactor(skeleton, ends, g, kept, s.factor, s.idle)
        _pack(kw, kvar, g * W, s.powers)
        count = iterate(
            active, kept.factor[g], kept.idle[g], s.powers, open_, tolerance, most, s.v, s.x, s.last, s.bend
        )
        put(out.count, g, converted(count, out.count))
        _finish(active, ends, g, kept, s, out)

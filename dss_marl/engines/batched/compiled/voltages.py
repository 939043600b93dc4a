"""Voltages of all nodes from those that take part in the iteration, for W copies side by side."""

from __future__ import annotations

from typing import Any, NamedTuple

from dss_marl.engines.batched.compiled.lane_memory import borrowed, item, pair, put_pair, scalar_pair, turned
from dss_marl.engines.batched.compiled.lanes import W, compiled, converted, entry_point, like
from dss_marl.engines.batched.compiled.sweeps import backward, factor, forward


class Ends(NamedTuple):
    """What becomes of voltages and set points; rows are A active nodes, m of the skeleton, P passive ones.

    Attributes:
        moving: (U) columns of the states that move the skeleton.
        passive_starts, passive_rows, passive_values: (P + 1), (q), (q, 2) columns of L and Ld, as they are substituted.
        places, neutrals: (N) rows of the Feeder's nodes and of their neutrals, -1: earth.
        per_volt: (N) 1 / base voltage.
        skeleton: m.
        source_nodes: (K) row of each node of a source, counted within the skeleton.
        source_first, source_end: (K) the nodes of the same source.
        width: k, the most nodes of a source.
        source_y, source_y_low: (K k, 2) admittances between them, in float64 and in the precision of the iteration.
        amps: (K, 2) of the sources.
        counted: (K) True where power counts as delivered.
        times: 3.0 where one phase stands for three, else 1.0.
    """

    moving: Any
    passive_starts: Any
    passive_rows: Any
    passive_values: Any
    places: Any
    neutrals: Any
    per_volt: Any
    skeleton: Any
    source_nodes: Any
    source_first: Any
    source_end: Any
    width: Any
    source_y: Any
    source_y_low: Any
    amps: Any
    counted: Any
    times: Any


@compiled
def unpack(rows, first, target):
    """Rows (N, W) to the copies from ``first`` of a target (B, N)."""
    rows, target = borrowed((rows, target))
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
def spread(ends, v, nodes):
    """All voltages (A + m + P, 2, W), in the precision of ``nodes``, from those (A + m, 2, W) of active nodes."""
    ends, v, nodes = borrowed((ends, v, nodes))
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


class Exact(NamedTuple):
    """What voltages in float64 follow from: constants in it, and working memory.

    Attributes:
        active, skeleton, ends: of the network.
        states: (U, W) of what moves.
        factor, idle: (p, 2, W), (m, 2, W) of the skeleton.
        v: (A + m, 2, W).
        nodes: (Y, 2, W) the voltages.
    """

    active: Any
    skeleton: Any
    ends: Any
    states: Any
    factor: Any
    idle: Any
    v: Any
    nodes: Any


@compiled
def all_voltages(e, injected, states, first):
    """All voltages of the copies from ``first`` in e.nodes, by currents (A + m, 2, W) and in states (B, U).

    Kirchhoff's law holds between them in float64, so that they give the currents of stiff branches.
    """
    e, injected, states = borrowed((e, injected, states))
    copies = states.shape[0]
    for u in range(e.ends.moving.shape[0]):
        for lane in range(W):
            e.states[u, lane] = states[min(first + lane, copies - 1), e.ends.moving[u]]
    factor(e.skeleton, e.states, e.factor, e.idle)
    for i in range(e.v.shape[0]):
        re, im = pair(injected, i)
        put_pair(e.v, i, converted(re, e.v), converted(im, e.v))
    forward(e.active, e.factor, e.v)
    backward(e.active, e.idle, e.v)
    spread(e.ends, e.v, e.nodes)


@entry_point
def spread_groups(e, injected, states, target):
    """The voltages of all groups, see ``all_voltages``, to a target (B, 2 Y) of real and imaginary parts in turn."""
    rows = e.nodes.reshape(e.nodes.shape[0] * 2, W)
    for g in range(injected.shape[0]):
        all_voltages(e, injected[g], states, g * W)
        unpack(rows, g * W, target)

"""The fixed-point iteration of ``reference`` for W copies side by side, and the factorisation of their skeletons.

Rows of voltages and injections are the active nodes, in the order of elimination, and after them the skeleton's. Within
a group of W copies those that are solved keep their voltages, while others go on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dss_marl.engines.batched.compiled.lane_memory import borrowed, gathered, item, pair, put_pair, scalar_pair
from dss_marl.engines.batched.compiled.lanes import any_lane, compiled, larger, like, outside, root, select
from dss_marl.engines.batched.compiled.laws import Laws, draw

PLAIN = 4  # iterations before acceleration
_MARGIN = 0.7  # of the tolerance, that the change in the last sweep may be
_ERROR = 0.12  # of the tolerance, that voltages may be off
# Of convergence, at least: as measured, after two sweeps, and where accelerated sweeps differ.
_LEAST_RATE, _EARLY_RATE, _BENT_RATE, _MOST_RATE = 0.1, 0.2, 0.5, 0.9
_DIVERGED = 1e3  # change in an iteration [pu]
_DEAD = 1e-60  # pivot of an island that carries nothing, squared [S**2]


class Active(NamedTuple):
    """What the iteration needs of Factors, in its precision; A active nodes, a skeleton of m.

    Attributes:
        starts, rows, values: columns of L and Ld, (A + 1), (q), (q, 2).
        pivots: (A, 2) 1 / D.
        diagonal: (m + 1) first entry of each column of the skeleton's factor, which is the diagonal.
        skeleton_rows: (p) row of each entry, after the A others.
        per_base2: (A + m) 1 / base voltage**2.
        start: (A, 2) voltages that the iteration starts from; the skeleton starts from those without load.
        laws: of loads and units.
    """

    starts: Any
    rows: Any
    values: Any
    pivots: Any
    diagonal: Any
    skeleton_rows: Any
    per_base2: Any
    start: Any
    laws: Laws


class Skeleton(NamedTuple):
    """What the factorisation of the skeletons needs; see Factors.

    Attributes:
        entries: (p, 2) what no state changes.
        table_starts, table_entries: (U + 1), (q).
        table_at, table: (q), (t, 2) first value of each entry, and all values.
        updates, update_starts: (u, 3), (m + 1).
        diagonal, rows: (m + 1), (p) as in Factors.
        amps: (m, 2) of the sources.
    """

    entries: Any
    table_starts: Any
    table_entries: Any
    table_at: Any
    table: Any
    updates: Any
    update_starts: Any
    diagonal: Any
    rows: Any
    amps: Any


@compiled
def factor(c, states, a, idle):
    """LDL^T of skeletons in states (U, W): a (p, 2, W), inverses on the diagonal; idle (m, 2, W), voltages unloaded."""
    c, states, a, idle = borrowed((c, states, a, idle))
    m = c.amps.shape[0]
    for p in range(c.entries.shape[0]):
        re, im = scalar_pair(c.entries, p)
        put_pair(a, p, re, im)
    for u in range(c.table_starts.shape[0] - 1):
        for q in range(c.table_starts[u], c.table_starts[u + 1]):
            p = item(c.table_entries, q)
            re, im = gathered(c.table, item(c.table_at, q), states, u)
            a_re, a_im = pair(a, p)
            put_pair(a, p, a_re + re, a_im + im)
    one, zero = like(a, 1.0), like(a, 0.0)
    for k in range(m):
        d = item(c.diagonal, k)
        re, im = pair(a, d)
        size = re * re + im * im
        inverse = select(size > like(a, _DEAD), one / size, zero)
        d_re, d_im = re * inverse, (zero - im) * inverse
        put_pair(a, d, d_re, d_im)
        o, end = item(c.update_starts, k), item(c.update_starts, k + 1)
        while o < end:
            i = c.updates[o, 1]
            i_re, i_im = pair(a, i)
            re, im = i_re * d_re - i_im * d_im, i_re * d_im + i_im * d_re
            while o < end and c.updates[o, 1] == i:
                t, j = c.updates[o, 0], c.updates[o, 2]
                j_re, j_im = pair(a, j)
                t_re, t_im = pair(a, t)
                put_pair(a, t, t_re - (re * j_re - im * j_im), t_im - (re * j_im + im * j_re))
                o += 1
        for q in range(d + 1, item(c.diagonal, k + 1)):
            re, im = pair(a, q)
            put_pair(a, q, re * d_re - im * d_im, re * d_im + im * d_re)
    for k in range(m):
        re, im = scalar_pair(c.amps, k)
        put_pair(idle, k, re, im)
    through_skeleton(c.diagonal, c.rows, 0, a, idle)


@compiled
def through_skeleton(diagonal, rows, first, f, x):
    """x becomes S^-1 x, in the rows of the skeleton, which begin at ``first``."""
    diagonal, rows, f, x = borrowed((diagonal, rows, f, x))
    m = diagonal.shape[0] - 1
    for k in range(m):
        k_re, k_im = pair(x, first + k)
        for q in range(item(diagonal, k) + 1, item(diagonal, k + 1)):
            i = first + item(rows, q)
            re, im = pair(f, q)
            i_re, i_im = pair(x, i)
            put_pair(x, i, i_re - (re * k_re - im * k_im), i_im - (re * k_im + im * k_re))
    for k in range(m - 1, -1, -1):
        d = item(diagonal, k)
        x_re, x_im = pair(x, first + k)
        re, im = pair(f, d)
        k_re, k_im = x_re * re - x_im * im, x_re * im + x_im * re
        for q in range(d + 1, item(diagonal, k + 1)):
            re, im = pair(f, q)
            x_re, x_im = pair(x, first + item(rows, q))
            k_re, k_im = k_re - (re * x_re - im * x_im), k_im - (re * x_im + im * x_re)
        put_pair(x, first + k, k_re, k_im)


@compiled
def inject(c, powers, v, x, kept, keep):
    """x becomes the currents into the nodes at voltages v; see ``draw``."""
    c, powers, v, x, kept = borrowed((c, powers, v, x, kept))
    zero = like(x, 0.0)
    for i in range(c.per_base2.shape[0]):
        put_pair(x, i, zero, zero)
    draw(c.laws, powers, v, x, kept, keep)


@compiled
def forward(c, f, x):
    """Currents x become L^-1 x, and within the skeleton what they change in its voltages."""
    c, f, x = borrowed((c, f, x))
    active = c.starts.shape[0] - 1
    for k in range(active):
        k_re, k_im = pair(x, k)
        for q in range(item(c.starts, k), item(c.starts, k + 1)):
            i = item(c.rows, q)
            re, im = scalar_pair(c.values, q)
            i_re, i_im = pair(x, i)
            put_pair(x, i, i_re - (re * k_re - im * k_im), i_im - (re * k_im + im * k_re))
    through_skeleton(c.diagonal, c.skeleton_rows, active, f, x)


@compiled
def backward(c, idle, x):
    """What ``forward`` leaves becomes voltages, those of the skeleton without loads being ``idle``."""
    c, idle, x = borrowed((c, idle, x))
    active = c.starts.shape[0] - 1
    for k in range(c.diagonal.shape[0] - 1):
        re, im = pair(x, active + k)
        idle_re, idle_im = pair(idle, k)
        put_pair(x, active + k, re + idle_re, im + idle_im)
    for k in range(active - 1, -1, -1):
        x_re, x_im = pair(x, k)
        re, im = scalar_pair(c.pivots, k)
        k_re, k_im = re * x_re - im * x_im, re * x_im + im * x_re
        for q in range(item(c.starts, k), item(c.starts, k + 1)):
            re, im = scalar_pair(c.values, q)
            x_re, x_im = pair(x, item(c.rows, q))
            k_re, k_im = k_re - (re * x_re - im * x_im), k_im - (re * x_im + im * x_re)
        put_pair(x, k, k_re, k_im)


@compiled
def _distance(c, i, re, im, v):
    """Squared difference of a new voltage from that of a row of v [pu]."""
    c, v = borrowed((c, v))
    v_re, v_im = pair(v, i)
    re, im = re - v_re, im - v_im
    return (re * re + im * im) * like(v, item(c.per_base2, i))


@compiled
def sweep(c, f, idle, powers, v, x):
    """x becomes the voltages that follow from the currents drawn at voltages v.

    Returns (largest change of a node's voltage, squared, and a sum that is not finite if a voltage is not).
    """
    c, f, idle, powers, v, x = borrowed((c, f, idle, powers, v, x))
    inject(c, powers, v, x, x, False)
    forward(c, f, x)
    active = c.starts.shape[0] - 1
    change, total = like(x, 0.0), like(x, 0.0)
    for k in range(c.diagonal.shape[0] - 1):
        re, im = pair(x, active + k)
        idle_re, idle_im = pair(idle, k)
        re, im = re + idle_re, im + idle_im
        put_pair(x, active + k, re, im)
        size = _distance(c, active + k, re, im, v)
        change, total = larger(change, size), total + size
    for k in range(active - 1, -1, -1):
        x_re, x_im = pair(x, k)
        re, im = scalar_pair(c.pivots, k)
        k_re, k_im = re * x_re - im * x_im, re * x_im + im * x_re
        for q in range(item(c.starts, k), item(c.starts, k + 1)):
            re, im = scalar_pair(c.values, q)
            x_re, x_im = pair(x, item(c.rows, q))
            k_re, k_im = k_re - (re * x_re - im * x_im), k_im - (re * x_im + im * x_re)
        put_pair(x, k, k_re, k_im)
        size = _distance(c, k, k_re, k_im, v)
        change, total = larger(change, size), total + size
    return change, total


@compiled
def last_sweep(c, f, idle, v, x, change):
    """As ``sweep``, from currents x; ``change`` (m, 2, W) becomes what they change in the skeleton's voltages.

    Power of stiff sources that is taken from changes is more accurate by their size.
    """
    c, f, idle, v, x, change = borrowed((c, f, idle, v, x, change))
    forward(c, f, x)
    active = c.starts.shape[0] - 1
    for k in range(c.diagonal.shape[0] - 1):
        re, im = pair(x, active + k)
        put_pair(change, k, re, im)
    backward(c, idle, x)
    largest, total = like(x, 0.0), like(x, 0.0)
    for i in range(c.per_base2.shape[0]):
        re, im = pair(x, i)
        size = _distance(c, i, re, im, v)
        largest, total = larger(largest, size), total + size
    return largest, total


@compiled
def _accelerate(c, v, x, last, bend, use):
    """Weigh the sweep x with the one before, ``last``, whose change from v was ``bend``; both are then this one's."""
    c, v, x, last, bend = borrowed((c, v, x, last, bend))
    zero = like(x, 0.0)
    top, low, n = zero, zero, c.per_base2.shape[0]
    for i in range(n):
        scale = like(x, item(c.per_base2, i))
        x_re, x_im = pair(x, i)
        v_re, v_im = pair(v, i)
        h_re, h_im = pair(bend, i)
        d_re, d_im = x_re - v_re, x_im - v_im
        b_re, b_im = d_re - h_re, d_im - h_im
        top = top + (b_re * d_re + b_im * d_im) * scale
        low = low + (b_re * b_re + b_im * b_im) * scale
        put_pair(bend, i, d_re, d_im)
    weighed = low > zero
    weight = top / low
    for i in range(n):
        x_re, x_im = pair(x, i)
        p_re, p_im = pair(last, i)
        put_pair(last, i, x_re, x_im)
        if use:
            re, im = x_re - weight * (x_re - p_re), x_im - weight * (x_im - p_im)
            put_pair(x, i, select(weighed, re, x_re), select(weighed, im, x_im))


@compiled
def iterate(c, f, idle, powers, open_, tolerance, most, v, x, last, bend):
    """Iterate the copies where the mask ``open_`` is true to voltages v; returns how many iterations each took."""
    c, f, idle, powers, v, x, last, bend = borrowed((c, f, idle, powers, v, x, last, bend))
    zero, one = like(v, 0.0), like(v, 1.0)
    active, n = c.starts.shape[0] - 1, c.per_base2.shape[0]
    for i in range(active):
        re, im = scalar_pair(c.start, i)
        put_pair(v, i, re, im)
    for k in range(n - active):
        re, im = pair(idle, k)
        put_pair(v, active + k, re, im)
    before, ratio_before, count, turn = zero, zero, zero, 0
    slowest, finite = like(v, _MOST_RATE), like(v, _DIVERGED)
    margin, error = like(v, _MARGIN * tolerance), like(v, _ERROR * tolerance)
    while turn < most and any_lane(open_):
        turn += 1
        change, total = sweep(c, f, idle, powers, v, x)
        if turn >= PLAIN:
            _accelerate(c, v, x, last, bend, turn > PLAIN)
        for i in range(n):
            x_re, x_im = pair(x, i)
            v_re, v_im = pair(v, i)
            put_pair(v, i, select(open_, x_re, v_re), select(open_, x_im, v_im))
        count = select(open_, count + one, count)
        size = root(change)
        rate = slowest
        if turn > 1:  # what will be left after the sweep that follows, from how changes shrink
            least = like(v, _EARLY_RATE if turn == 2 else _BENT_RATE if turn > PLAIN else _LEAST_RATE)
            ratio = size / before
            rate = larger(larger(ratio, ratio_before), least)  # they alternate where eigenvalues have both signs
            rate = select(rate < slowest, rate, slowest)
            ratio_before = ratio
        before = size
        near = (size * rate < margin) & (size * rate * rate < error * (one - rate))
        open_ = open_ & outside(near) & (total < finite)
    return count

"""The compiled loops of the batched power flow: W copies side by side in each group, which share the constants.

Arrays are (groups, items, W). The innermost loops run over the W lanes, which become vector instructions; lanes never
mix, so that a copy's solution is the same bits whatever the others do. Complex numbers are two arrays, as numba vectorises
those. Nodes are numbered in the order of ``Factors``; earth is an extra node at the end. See ``reference`` for the
arithmetic, ``load_models`` for the laws of the loads.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numba as nb
import numpy as np

W = 64  # lanes of a group: 32 and 128 are slower by a tenth, 16 by half
_COMPILED = {"fastmath": True, "error_model": "numpy", "nogil": True, "cache": True}
PLAIN = 8  # iterations before acceleration
_MARGIN = 4.0  # times the tolerance, below which a change promises less than it after one sweep more
_ERROR = 0.2  # of the tolerance, that voltages may be off


class Constants(NamedTuple):
    """What all copies of a network share, in the precision of the iteration; see Factors and Phases."""

    starts: Any
    rows: Any
    l_re: Any
    l_im: Any
    d_re: Any
    d_im: Any
    injected: Any  # columns of L with anything to pass on, then the skeleton's
    needed: Any  # columns whose voltage the iteration needs
    passive: Any  # the others
    diagonal: Any
    s_rows: Any
    one: Any
    other: Any
    model: Any
    per_volt2: Any
    v_min: Any
    v_max: Any
    v_low: Any
    low: Any
    exponents: Any
    zip: Any
    per_base2: Any
    idle_re: Any  # voltages that the iteration starts from
    idle_im: Any


@cache
def pack() -> Any:
    """(kw, kvar (B, J); injection (E), scale (E); first group, last; y_re, y_im (G, E, W)): the phases' admittances."""

    @nb.njit(**_COMPILED)
    def packed(kw, kvar, injection, scale, first, last, y_re, y_im):  # type: ignore[no-untyped-def]
        copies = kw.shape[0]
        for g in range(first, last):
            for e in range(injection.shape[0]):
                j, by = injection[e], scale[e]
                for lane in range(W):
                    b = min(g * W + lane, copies - 1)
                    y_re[g, e, lane] = -kw[b, j] * by
                    y_im[g, e, lane] = kvar[b, j] * by

    return packed


@cache
def factor() -> Any:
    """The skeleton's LDL^T for groups whose states changed, in float64, stored in the precision of the outputs."""

    @nb.njit(**_COMPILED)
    def factored(  # type: ignore[no-untyped-def]
        groups, s_re, s_im, table_starts, table_entries, table_at, t_re, t_im, states, updates, update_starts,
        diagonal, s_rows, source_re, source_im, f_re, f_im, v_re, v_im,
    ):  # fmt: skip
        entries, m = s_re.shape[0], source_re.shape[0]
        a_re, a_im = np.empty((entries, W)), np.empty((entries, W))
        x_re, x_im = np.empty((m, W)), np.empty((m, W))
        for at in range(groups.shape[0]):
            g = groups[at]
            for p in range(entries):
                for lane in range(W):
                    a_re[p, lane] = s_re[p]
                    a_im[p, lane] = s_im[p]
            for u in range(table_starts.shape[0] - 1):
                for q in range(table_starts[u], table_starts[u + 1]):
                    p, base = table_entries[q], table_at[q]
                    for lane in range(W):
                        t = base + states[g, u, lane]
                        a_re[p, lane] += t_re[t]
                        a_im[p, lane] += t_im[t]
            for k in range(m):
                d = diagonal[k]
                for lane in range(W):
                    re, im = a_re[d, lane], a_im[d, lane]
                    size = re * re + im * im
                    inverse = 1.0 / size if size > 1e-60 else 0.0  # of a dead island, which carries nothing
                    a_re[d, lane] = re * inverse
                    a_im[d, lane] = -im * inverse
                for o in range(update_starts[k], update_starts[k + 1]):
                    t, i, j = updates[o, 0], updates[o, 1], updates[o, 2]
                    for lane in range(W):
                        re = a_re[i, lane] * a_re[d, lane] - a_im[i, lane] * a_im[d, lane]
                        im = a_re[i, lane] * a_im[d, lane] + a_im[i, lane] * a_re[d, lane]
                        a_re[t, lane] -= re * a_re[j, lane] - im * a_im[j, lane]
                        a_im[t, lane] -= re * a_im[j, lane] + im * a_re[j, lane]
                for q in range(diagonal[k] + 1, diagonal[k + 1]):
                    for lane in range(W):
                        re = a_re[q, lane] * a_re[d, lane] - a_im[q, lane] * a_im[d, lane]
                        im = a_re[q, lane] * a_im[d, lane] + a_im[q, lane] * a_re[d, lane]
                        a_re[q, lane] = re
                        a_im[q, lane] = im
            for p in range(entries):
                for lane in range(W):
                    f_re[g, p, lane] = a_re[p, lane]
                    f_im[g, p, lane] = a_im[p, lane]
            for k in range(m):
                for lane in range(W):
                    x_re[k, lane] = source_re[k]
                    x_im[k, lane] = source_im[k]
            for k in range(m):
                for q in range(diagonal[k] + 1, diagonal[k + 1]):
                    i = s_rows[q]
                    for lane in range(W):
                        x_re[i, lane] -= a_re[q, lane] * x_re[k, lane] - a_im[q, lane] * x_im[k, lane]
                        x_im[i, lane] -= a_re[q, lane] * x_im[k, lane] + a_im[q, lane] * x_re[k, lane]
            for k in range(m - 1, -1, -1):
                d = diagonal[k]
                for lane in range(W):
                    re, im = x_re[k, lane], x_im[k, lane]
                    x_re[k, lane] = re * a_re[d, lane] - im * a_im[d, lane]
                    x_im[k, lane] = re * a_im[d, lane] + im * a_re[d, lane]
                for q in range(diagonal[k] + 1, diagonal[k + 1]):
                    i = s_rows[q]
                    for lane in range(W):
                        x_re[k, lane] -= a_re[q, lane] * x_re[i, lane] - a_im[q, lane] * x_im[i, lane]
                        x_im[k, lane] -= a_re[q, lane] * x_im[i, lane] + a_im[q, lane] * x_re[i, lane]
                for lane in range(W):
                    v_re[g, k, lane] = x_re[k, lane]
                    v_im[g, k, lane] = x_im[k, lane]

    return factored


@cache
def currents(real: Any) -> Any:
    """Adds the currents of all phases at voltages v to the nodes' injections x; the laws of ``load_models``."""
    one, zero, half = real(1), real(0), real(0.5)
    tiny, clear = real(1e-12), real(0.05)  # above a drop-out, where its factor is 1 to the last bit

    @nb.njit(inline="always", **{**_COMPILED, "cache": False})
    def added(c, y_re, y_im, v_re, v_im, x_re, x_im, w, g_kw, g_kvar, keep, k_re, k_im):  # type: ignore[no-untyped-def]
        for e in range(c.one.shape[0]):
            a, b, model, scale = c.one[e], c.other[e], c.model[e], c.per_volt2[e]
            if model == 2:
                for lane in range(W):
                    re, im = v_re[a, lane] - v_re[b, lane], v_im[a, lane] - v_im[b, lane]
                    i_re = y_re[e, lane] * re - y_im[e, lane] * im
                    i_im = y_re[e, lane] * im + y_im[e, lane] * re
                    x_re[a, lane] -= i_re
                    x_im[a, lane] -= i_im
                    x_re[b, lane] += i_re
                    x_im[b, lane] += i_im
                    if keep:
                        k_re[e, lane] = i_re
                        k_im[e, lane] = i_im
                continue
            least, most = real(1e9), zero
            for lane in range(W):
                re, im = v_re[a, lane] - v_re[b, lane], v_im[a, lane] - v_im[b, lane]
                square = (re * re + im * im) * scale
                w[lane] = square
                least, most = min(least, square), max(most, square)
            v_min, v_max = c.v_min[e], c.v_max[e]
            dropping = model == 8 and c.zip[e, 6] > zero
            floor = max(v_min, c.zip[e, 6] + clear) if dropping else v_min
            if least > floor * floor and most <= v_max * v_max:
                if model == 1:
                    for lane in range(W):
                        g_kw[lane] = one / w[lane]
                        g_kvar[lane] = g_kw[lane]
                elif model == 3:
                    for lane in range(W):
                        g_kw[lane] = one / w[lane]
                        g_kvar[lane] = one
                elif model == 4:
                    by_kw, by_kvar = half * c.exponents[e, 0] - one, half * c.exponents[e, 1] - one
                    for lane in range(W):
                        g_kw[lane] = w[lane] ** by_kw
                        g_kvar[lane] = w[lane] ** by_kvar
                elif model == 5:
                    for lane in range(W):
                        g_kw[lane] = one / math.sqrt(w[lane])
                        g_kvar[lane] = g_kw[lane]
                else:
                    z, i, p = c.zip[e, 0], c.zip[e, 1], c.zip[e, 2]
                    z_kvar, i_kvar, p_kvar = c.zip[e, 3], c.zip[e, 4], c.zip[e, 5]
                    for lane in range(W):
                        power = one / w[lane]
                        current = math.sqrt(power)
                        g_kw[lane] = z + i * current + p * power
                        g_kvar[lane] = z_kvar + i_kvar * current + p_kvar * power
            else:
                v_low, low = c.v_low[e], c.low[e]
                reach = max(v_min - v_low, tiny)
                by_power, by_current = (one / v_min - v_low) / reach, (one - v_low) / reach
                for lane in range(W):
                    square = max(w[lane], tiny)
                    u = math.sqrt(square)
                    inside = u > v_min and u <= v_max
                    if u <= v_low:
                        kw, kvar = low, low
                    else:
                        if u <= v_min:
                            power = (v_low + by_power * (u - v_low)) / u
                            current = (v_low + by_current * (u - v_low)) / u
                        elif u > v_max:
                            power, current = one / (v_max * v_max), one / v_max
                        else:
                            power, current = one / square, one / u
                        kw, kvar = power, power
                        if model == 3:
                            kvar = one if inside else power
                        elif model == 4:
                            if inside:
                                kw = square ** (half * c.exponents[e, 0] - one)
                                kvar = square ** (half * c.exponents[e, 1] - one)
                        elif model == 5:
                            kw, kvar = current, current
                        elif model == 8:
                            kw = c.zip[e, 0] + c.zip[e, 1] * current + c.zip[e, 2] * power
                            kvar = c.zip[e, 3] + c.zip[e, 4] * current + c.zip[e, 5] * power
                            if dropping:
                                steep = math.exp(min(real(-1000.0) * (u - c.zip[e, 6]), real(80.0)))
                                kw, kvar = kw / (one + steep), kvar / (one + steep)
                    g_kw[lane], g_kvar[lane] = kw, kvar
            for lane in range(W):
                re, im = v_re[a, lane] - v_re[b, lane], v_im[a, lane] - v_im[b, lane]
                g_re, g_im = y_re[e, lane] * g_kw[lane], y_im[e, lane] * g_kvar[lane]
                i_re, i_im = g_re * re - g_im * im, g_re * im + g_im * re
                x_re[a, lane] -= i_re
                x_im[a, lane] -= i_im
                x_re[b, lane] += i_re
                x_im[b, lane] += i_im
                if keep:
                    k_re[e, lane] = i_re
                    k_im[e, lane] = i_im

    return added


@cache
def sweep(real: Any) -> Any:
    """Forward through L, the skeleton's factor both ways: x becomes L^-1 x, and within the skeleton S^-1 of the rest."""

    @nb.njit(inline="always", **{**_COMPILED, "cache": False})
    def swept(c, split, m, f_re, f_im, x_re, x_im):  # type: ignore[no-untyped-def]
        for at in range(c.injected.shape[0]):
            k = c.injected[at]
            for q in range(c.starts[k], c.starts[k + 1]):
                i, re, im = c.rows[q], c.l_re[q], c.l_im[q]
                for lane in range(W):
                    x_re[i, lane] -= re * x_re[k, lane] - im * x_im[k, lane]
                    x_im[i, lane] -= re * x_im[k, lane] + im * x_re[k, lane]
        for k in range(m):
            n = split + k
            for q in range(c.diagonal[k] + 1, c.diagonal[k + 1]):
                i = split + c.s_rows[q]
                for lane in range(W):
                    re, im = f_re[q, lane], f_im[q, lane]
                    x_re[i, lane] -= re * x_re[n, lane] - im * x_im[n, lane]
                    x_im[i, lane] -= re * x_im[n, lane] + im * x_re[n, lane]
        for k in range(m - 1, -1, -1):
            n, d = split + k, c.diagonal[k]
            for lane in range(W):
                re, im = x_re[n, lane], x_im[n, lane]
                x_re[n, lane] = re * f_re[d, lane] - im * f_im[d, lane]
                x_im[n, lane] = re * f_im[d, lane] + im * f_re[d, lane]
            for q in range(c.diagonal[k] + 1, c.diagonal[k + 1]):
                i = split + c.s_rows[q]
                for lane in range(W):
                    re, im = f_re[q, lane], f_im[q, lane]
                    x_re[n, lane] -= re * x_re[i, lane] - im * x_im[i, lane]
                    x_im[n, lane] -= re * x_im[i, lane] + im * x_re[i, lane]

    return swept


@cache
def iterate(real: Any) -> Any:
    """The fixed-point iteration of all copies of some groups, in one precision; see ``solve_groups`` in ``compiled``."""
    zero, one, least, most_rate = real(0), real(1), real(0.1), real(0.9)
    add_currents, sweep_through = currents(real), sweep(real)

    @nb.njit(**_COMPILED)
    def iterated(  # type: ignore[no-untyped-def]
        c, split, first, last, f_re, f_im, vd_re, vd_im, y_re, y_im, tolerance, most, out_re, out_im, residual, count
    ):
        n, m = c.per_base2.shape[0], vd_re.shape[1]
        v_re, v_im = np.zeros((n + 1, W), real), np.zeros((n + 1, W), real)
        x_re, x_im = np.zeros((n + 1, W), real), np.zeros((n + 1, W), real)
        p_re, p_im = np.zeros((n + 1, W), real), np.zeros((n + 1, W), real)  # the sweep before, and its change
        h_re, h_im = np.zeros((n + 1, W), real), np.zeros((n + 1, W), real)
        w, g_kw, g_kvar = np.zeros(W, real), np.zeros(W, real), np.zeros(W, real)
        change, open_, top, low = np.zeros(W, real), np.zeros(W, real), np.zeros(W, real), np.zeros(W, real)
        before = np.zeros(W, real)  # change in the sweep before
        margin, error = real(_MARGIN * tolerance), real(_ERROR * tolerance)
        for g in range(first, last):
            for i in range(n):
                for lane in range(W):
                    v_re[i, lane] = c.idle_re[i]
                    v_im[i, lane] = c.idle_im[i]
            for k in range(m):
                for lane in range(W):
                    v_re[split + k, lane] = vd_re[g, k, lane]
                    v_im[split + k, lane] = vd_im[g, k, lane]
            for lane in range(W):
                open_[lane] = one
                before[lane] = zero
                residual[g, lane] = np.inf
                count[g, lane] = most
            turn = 0
            while turn < most:
                turn += 1
                for at in range(c.injected.shape[0]):
                    k = c.injected[at]
                    for lane in range(W):
                        x_re[k, lane] = zero
                        x_im[k, lane] = zero
                for k in range(split, n):
                    for lane in range(W):
                        x_re[k, lane] = zero
                        x_im[k, lane] = zero
                add_currents(c, y_re[g], y_im[g], v_re, v_im, x_re, x_im, w, g_kw, g_kvar, False, y_re[g], y_im[g])
                sweep_through(c, split, m, f_re[g], f_im[g], x_re, x_im)
                for lane in range(W):
                    change[lane] = zero
                for k in range(m):
                    i = split + k
                    scale = c.per_base2[i]
                    for lane in range(W):
                        re, im = vd_re[g, k, lane] + x_re[i, lane], vd_im[g, k, lane] + x_im[i, lane]
                        d_re, d_im = re - v_re[i, lane], im - v_im[i, lane]
                        change[lane] = max(change[lane], (d_re * d_re + d_im * d_im) * scale)
                        x_re[i, lane] = re
                        x_im[i, lane] = im
                for at in range(c.needed.shape[0] - 1, -1, -1):
                    k = c.needed[at]
                    by_re, by_im, scale = c.d_re[k], c.d_im[k], c.per_base2[k]
                    for lane in range(W):
                        re, im = x_re[k, lane], x_im[k, lane]
                        x_re[k, lane] = by_re * re - by_im * im
                        x_im[k, lane] = by_re * im + by_im * re
                    for q in range(c.starts[k], c.starts[k + 1]):
                        i, re, im = c.rows[q], c.l_re[q], c.l_im[q]
                        for lane in range(W):
                            x_re[k, lane] -= re * x_re[i, lane] - im * x_im[i, lane]
                            x_im[k, lane] -= re * x_im[i, lane] + im * x_re[i, lane]
                    for lane in range(W):
                        d_re, d_im = x_re[k, lane] - v_re[k, lane], x_im[k, lane] - v_im[k, lane]
                        change[lane] = max(change[lane], (d_re * d_re + d_im * d_im) * scale)
                if turn >= PLAIN:  # remember this sweep, and weigh it with the one before
                    for lane in range(W):
                        top[lane] = zero
                        low[lane] = zero
                    for at in range(c.needed.shape[0]):
                        k = c.needed[at]
                        scale = c.per_base2[k]
                        for lane in range(W):
                            d_re, d_im = x_re[k, lane] - v_re[k, lane], x_im[k, lane] - v_im[k, lane]
                            b_re, b_im = d_re - h_re[k, lane], d_im - h_im[k, lane]
                            top[lane] += (b_re * d_re + b_im * d_im) * scale
                            low[lane] += (b_re * b_re + b_im * b_im) * scale
                            h_re[k, lane] = d_re
                            h_im[k, lane] = d_im
                    for lane in range(W):
                        top[lane] = top[lane] / low[lane] if turn > PLAIN and low[lane] > zero else zero
                    for at in range(c.needed.shape[0] + m):
                        k = c.needed[at] if at < c.needed.shape[0] else split + at - c.needed.shape[0]
                        for lane in range(W):
                            re, im = x_re[k, lane], x_im[k, lane]
                            if top[lane] != zero:  # not times zero: what is remembered may be infinite
                                x_re[k, lane] = re - top[lane] * (re - p_re[k, lane])
                                x_im[k, lane] = im - top[lane] * (im - p_im[k, lane])
                            p_re[k, lane] = re
                            p_im[k, lane] = im
                for at in range(c.needed.shape[0] + m):
                    k = c.needed[at] if at < c.needed.shape[0] else split + at - c.needed.shape[0]
                    for lane in range(W):
                        v_re[k, lane] = x_re[k, lane] if open_[lane] > zero else v_re[k, lane]
                        v_im[k, lane] = x_im[k, lane] if open_[lane] > zero else v_im[k, lane]
                left = 0
                for lane in range(W):
                    if open_[lane] > zero:
                        size = math.sqrt(change[lane])
                        # what will be left after the sweep that ``finish`` adds, from how changes shrink
                        rate = min(max(size / before[lane], least), most_rate) if turn > 1 else most_rate
                        before[lane] = size
                        residual[g, lane] = size
                        near = size < margin and size * rate * rate < error * (one - rate)
                        if near or not size < real(1e3):
                            open_[lane] = zero
                            count[g, lane] = turn
                        else:
                            left += 1
                if left == 0:
                    break
            for k in range(n):
                for lane in range(W):
                    out_re[g, k, lane] = v_re[k, lane]
                    out_im[g, k, lane] = v_im[k, lane]

    return iterated


@cache
def finish() -> Any:
    """One sweep more, in float64, and what a solution consists of.

    Kirchhoff's law holds to the last bit between the voltages and the currents of this sweep, so that losses and the
    currents of stiff branches are those of float64, whatever the precision of the iteration before.
    """
    zero = 0.0
    add_currents, sweep_through = currents(np.float64), sweep(np.float64)

    @nb.njit(**_COMPILED)
    def finished(  # type: ignore[no-untyped-def]
        c, split, first, last, f_re, f_im, vd_re, vd_im, y_re, y_im, in_re, in_im, out_re, out_im, residual,
        injection, places, neutrals, per_volt, v_pu, served, loss_kw,
        source_starts, source_nodes, source_y_re, source_y_im, source_amps_re, source_amps_im, counted, kva_re, kva_im,
    ):  # fmt: skip
        n, m, copies = c.per_base2.shape[0], vd_re.shape[1], v_pu.shape[0]
        v_re, v_im = np.zeros((n + 1, W)), np.zeros((n + 1, W))
        x_re, x_im = np.zeros((n + 1, W)), np.zeros((n + 1, W))
        e_re, e_im = np.zeros((c.one.shape[0], W)), np.zeros((c.one.shape[0], W))
        w, g_kw, g_kvar = np.zeros(W), np.zeros(W), np.zeros(W)
        change, balance = np.zeros(W), np.zeros(W)
        power = np.zeros((served.shape[1], W))
        i_re, i_im = np.zeros((c.one.shape[0], W)), np.zeros((c.one.shape[0], W))
        for g in range(first, last):
            for k in range(n):
                for lane in range(W):
                    v_re[k, lane] = in_re[g, k, lane]
                    v_im[k, lane] = in_im[g, k, lane]
                    x_re[k, lane] = zero
                    x_im[k, lane] = zero
            for e in range(c.one.shape[0]):
                for lane in range(W):
                    e_re[e, lane] = y_re[g, e, lane]
                    e_im[e, lane] = y_im[g, e, lane]
            add_currents(c, e_re, e_im, v_re, v_im, x_re, x_im, w, g_kw, g_kvar, True, i_re, i_im)
            sweep_through(c, split, m, f_re[g], f_im[g], x_re, x_im)
            for lane in range(W):
                change[lane] = zero
                x_re[n, lane] = zero  # earth: from now on a voltage
                x_im[n, lane] = zero
            for k in range(m):
                i, scale = split + k, c.per_base2[split + k]
                for lane in range(W):
                    x_re[i, lane] += vd_re[g, k, lane]
                    x_im[i, lane] += vd_im[g, k, lane]
                    d_re, d_im = x_re[i, lane] - v_re[i, lane], x_im[i, lane] - v_im[i, lane]
                    change[lane] = max(change[lane], (d_re * d_re + d_im * d_im) * scale)
            for k in range(split - 1, -1, -1):
                by_re, by_im = c.d_re[k], c.d_im[k]
                for lane in range(W):
                    re, im = x_re[k, lane], x_im[k, lane]
                    x_re[k, lane] = by_re * re - by_im * im
                    x_im[k, lane] = by_re * im + by_im * re
                for q in range(c.starts[k], c.starts[k + 1]):
                    i, re, im = c.rows[q], c.l_re[q], c.l_im[q]
                    for lane in range(W):
                        x_re[k, lane] -= re * x_re[i, lane] - im * x_im[i, lane]
                        x_im[k, lane] -= re * x_im[i, lane] + im * x_re[i, lane]
            for at in range(c.needed.shape[0]):
                k = c.needed[at]
                scale = c.per_base2[k]
                for lane in range(W):
                    d_re, d_im = x_re[k, lane] - v_re[k, lane], x_im[k, lane] - v_im[k, lane]
                    change[lane] = max(change[lane], (d_re * d_re + d_im * d_im) * scale)
            for lane in range(W):
                residual[g, lane] = math.sqrt(change[lane])
            for k in range(n):
                for lane in range(W):
                    out_re[g, k, lane] = x_re[k, lane]
                    out_im[g, k, lane] = x_im[k, lane]
            filled = min(W, copies - g * W)
            for i in range(places.shape[0]):
                a, b, scale = places[i], neutrals[i], per_volt[i]
                for lane in range(W):
                    re, im = x_re[a, lane] - x_re[b, lane], x_im[a, lane] - x_im[b, lane]
                    w[lane] = math.sqrt(re * re + im * im) * scale
                for lane in range(filled):
                    v_pu[g * W + lane, i] = w[lane]
            for j in range(power.shape[0]):
                for lane in range(W):
                    power[j, lane] = zero
            for lane in range(W):
                balance[lane] = zero
            for e in range(c.one.shape[0]):
                a, b, j = c.one[e], c.other[e], injection[e]
                for lane in range(W):
                    re, im = v_re[a, lane] - v_re[b, lane], v_im[a, lane] - v_im[b, lane]
                    power[j, lane] -= (re * i_re[e, lane] + im * i_im[e, lane]) / 1000
                    re, im = x_re[a, lane] - x_re[b, lane], x_im[a, lane] - x_im[b, lane]
                    balance[lane] -= (re * i_re[e, lane] + im * i_im[e, lane]) / 1000
            for j in range(power.shape[0]):
                for lane in range(filled):
                    served[g * W + lane, j] = power[j, lane]
            for s in range(source_starts.shape[0] - 1):
                begin, end = source_starts[s], source_starts[s + 1]
                for a in range(begin, end):
                    if not counted[a]:
                        continue
                    for lane in range(filled):
                        a_re, a_im = source_amps_re[a], source_amps_im[a]
                        for b in range(begin, end):
                            re, im = source_y_re[a, b - begin], source_y_im[a, b - begin]
                            node = source_nodes[b]
                            a_re -= re * x_re[node, lane] - im * x_im[node, lane]
                            a_im -= re * x_im[node, lane] + im * x_re[node, lane]
                        node = source_nodes[a]
                        kva_re[g * W + lane, a] = (x_re[node, lane] * a_re + x_im[node, lane] * a_im) / 1000
                        kva_im[g * W + lane, a] = (x_im[node, lane] * a_re - x_re[node, lane] * a_im) / 1000
                        balance[lane] += kva_re[g * W + lane, a]
            for lane in range(filled):
                loss_kw[g * W + lane] = balance[lane]

    return finished

"""The laws of ``load_models`` for W copies side by side: what loads and units draw at the nodes' voltages."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from dss_marl.engines.batched.compiled.lane_memory import address, borrowed, item, pair, put_pair
from dss_marl.engines.batched.compiled.lanes import (
    Lanes,
    any_lane,
    compiled,
    converted,
    floor,
    larger,
    like,
    power_of_two,
    reciprocal_root,
    select,
    splat,
    split,
)
from dss_marl.engines.batched.network import Phases
from dss_marl.grid.state import Array

_LN2 = math.log(2.0)
_LN2_HIGH = 0.693359375  # few bits, so that its products with whole numbers are exact
_STEEP = 1000.0  # of a drop-out, per pu
_FAR = 80.0  # exponent at which a load has dropped out altogether, in float32 as well
_CLEAR = 0.05  # above a drop-out, where its factor is 1 to the last bit [pu]
_TINY = 1e-12  # square of a voltage [pu]


# A row of constants for each phase.
_ENTRIES = (
    "scale", "per_volt2", "v_low", "v_low2", "v_min2", "v_max2", "low", "power_above", "power_slope", "current_above",
    "current_slope", "kw_exponent", "kvar_exponent", "kw_z", "kw_i", "kw_p", "kvar_z", "kvar_i", "kvar_p", "drop_out",
    "clear2",
)  # fmt: skip


class Laws(NamedTuple):
    """The phases of loads and units; see ``network.Phases``.

    Attributes:
        one, other: (E) rows of the voltages; -1 is earth.
        injection: (E) row of the powers.
        model: (E).
        laws: (E, entries) constants, in the precision of the iteration.
    """

    one: Any
    other: Any
    injection: Any
    model: Any
    laws: Any


def law_table(phases: Phases) -> Array:
    """The constants of all phases (E, entries)."""
    reach = np.maximum(phases.v_min - phases.v_low, 1e-12)
    drop_out = phases.zip[:, 6]
    columns = {
        "scale": 1000 * phases.share / phases.volts**2,
        "per_volt2": 1 / phases.volts**2,
        "v_low": phases.v_low,
        "v_low2": phases.v_low**2,
        "v_min2": phases.v_min**2,
        "v_max2": phases.v_max**2,
        "low": phases.low,
        "power_above": 1 / phases.v_max**2,
        "power_slope": (1 / phases.v_min - phases.v_low) / reach,
        "current_above": 1 / phases.v_max,
        "current_slope": (1 - phases.v_low) / reach,
        "kw_exponent": phases.exponents[:, 0] / 2 - 1,
        "kvar_exponent": phases.exponents[:, 1] / 2 - 1,
        **dict(zip(("kw_z", "kw_i", "kw_p", "kvar_z", "kvar_i", "kvar_p"), phases.zip.T, strict=False)),
        "drop_out": drop_out,
        "clear2": np.where(drop_out > 0, drop_out + _CLEAR, 0.0) ** 2,
    }
    return np.stack([columns[name] for name in _ENTRIES], axis=-1)


@intrinsic(prefer_literal=True)
def entry(typing: Any, table: Any, phase: Any, name: Any) -> Any:
    """The constant of this name of a phase, in every lane."""
    column = _ENTRIES.index(name.literal_value)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = address(context, builder, sig.args[0], args[0], args[1], sig.args[1], len(_ENTRIES))
        return splat(builder, builder.load(builder.gep(place, [ir.Constant(ir.IntType(64), column)])))

    return Lanes(table.dtype)(table, phase, name), emit


@compiled
def logarithm(x):
    """Natural logarithm of positive lanes, by the series of the area tangent."""
    one = like(x, 1.0)
    mantissa, power = split(x)
    high = mantissa > like(x, 1.4142135)
    mantissa = select(high, mantissa * like(x, 0.5), mantissa)
    power = select(high, power + one, power)
    t = (mantissa - one) / (mantissa + one)
    t2 = t * t
    series = like(x, 1.0 / 23.0)
    for n in range(21, 0, -2):
        series = series * t2 + like(x, 1.0 / n)
    return power * like(x, _LN2) + like(x, 2.0) * t * series


@compiled
def exponential(x):
    """Exponential of lanes between -80 and 80, by its series."""
    whole = floor(x * like(x, 1.0 / _LN2) + like(x, 0.5))
    rest = x - whole * like(x, _LN2_HIGH) - whole * like(x, _LN2 - _LN2_HIGH)
    series = like(x, 1.0)
    for n in range(13, 0, -1):
        series = series * rest * like(x, 1.0 / n) + like(x, 1.0)
    return series * power_of_two(whole)


@compiled
def _smaller(a, b):
    return select(a < b, a, b)


@compiled
def _factors(c, e, model, square):
    """Factors of kW and kvar of a phase at squared voltages [pu]; no branches by voltage, in which lanes differ."""
    c = borrowed(c)
    square = larger(square, like(square, _TINY))
    r = reciprocal_root(square)
    v_low = entry(c, e, "v_low")
    under, low, high = square * r - v_low, square <= entry(c, e, "v_min2"), square > entry(c, e, "v_max2")
    power = select(high, entry(c, e, "power_above"), r * r)
    power = select(low, (v_low + entry(c, e, "power_slope") * under) * r, power)
    kw, kvar = power, power
    if model == 3:
        kvar = select(low, power, select(high, power, like(square, 1.0)))
    elif model == 4:
        log = logarithm(square)
        kw = select(low, power, select(high, power, _raised(log, entry(c, e, "kw_exponent"))))
        kvar = select(low, power, select(high, power, _raised(log, entry(c, e, "kvar_exponent"))))
    elif model != 1:
        current = select(high, entry(c, e, "current_above"), r)
        current = select(low, (v_low + entry(c, e, "current_slope") * under) * r, current)
        kw, kvar = current, current
        if model == 8:
            kw = entry(c, e, "kw_z") + entry(c, e, "kw_i") * current + entry(c, e, "kw_p") * power
            kvar = entry(c, e, "kvar_z") + entry(c, e, "kvar_i") * current + entry(c, e, "kvar_p") * power
            if any_lane(square < entry(c, e, "clear2")):
                factor = _dropped(square * r, entry(c, e, "drop_out"))
                kw, kvar = kw * factor, kvar * factor
    bottom, factor = square <= entry(c, e, "v_low2"), entry(c, e, "low")
    return select(bottom, factor, kw), select(bottom, factor, kvar)


@compiled
def _raised(log, exponent):
    """A power, from the logarithm of its base."""
    far = like(log, _FAR)
    return exponential(_smaller(log * exponent, far))


@compiled
def _dropped(u, limit):
    """Factor of a load that drops out below a voltage."""
    one, far, least = like(u, 1.0), like(u, _FAR), like(u, -_FAR)
    return one / (one + exponential(larger(_smaller(like(u, -_STEEP) * (u - limit), far), least)))


@compiled
def draw(c, powers, v, x, kept, keep):
    """Subtract the currents that all phases draw at voltages v (rows, 2, W) from the nodes' injections x (rows, 2, W).

    ``powers`` are (J, 2, W) kW and kvar; the currents are written to ``kept`` (E, 2, W) if ``keep``.
    """
    c, powers, v, x, kept = borrowed((c, powers, v, x, kept))
    zero = like(v, 0.0)
    for e in range(c.one.shape[0]):
        a, b, model = item(c.one, e), item(c.other, e), item(c.model, e)
        a_re, a_im = pair(v, a)
        re, im = a_re, a_im
        if b >= 0:
            b_re, b_im = pair(v, b)
            re, im = re - b_re, im - b_im
        kw, kvar = pair(powers, item(c.injection, e))
        scale = entry(c.laws, e, "scale")
        g_re, g_im = (zero - scale) * converted(kw, zero), scale * converted(kvar, zero)
        if model != 2:
            square = (re * re + im * im) * entry(c.laws, e, "per_volt2")
            by_kw, by_kvar = _factors(c.laws, e, model, square)
            g_re, g_im = g_re * by_kw, g_im * by_kvar
        i_re, i_im = g_re * re - g_im * im, g_re * im + g_im * re
        x_re, x_im = pair(x, a)
        put_pair(x, a, x_re - i_re, x_im - i_im)
        if b >= 0:
            x_re, x_im = pair(x, b)
            put_pair(x, b, x_re + i_re, x_im + i_im)
        if keep:
            put_pair(kept, e, i_re, i_im)

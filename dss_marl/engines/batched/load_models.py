"""OpenDSS's load models as two factors of the voltage, which are all that engines need of them.

A phase whose voltage is u times its rated one draws the current (g_kw Re y + j g_kvar Im y) V, where
y = (P - jQ) / V0**2 at its rated voltage V0. A constant impedance has 1, a constant current 1 / u, a constant power
1 / u**2. Beyond the limits of its model a load is an impedance that draws its nominal power at the limit; below
``v_low`` its nominal impedance; between ``v_low`` and ``v_min`` its current is interpolated. Source: Load.pas of
dss_capi, version 0.14.

So each factor is c0 + c1 / u + c2 / u**2 + c3 u**power, with coefficients that depend on where u lies; those of model 8
are multiplied by its drop-out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dss_marl.engines.batched.network import Phases
from dss_marl.grid.state import Array, IntArray

STEEP = 500.0  # of a drop-out, per pu
LEAST_U = 1e-9  # below, a voltage counts as this [pu]
LOW, BETWEEN, INSIDE, ABOVE = range(4)  # up to v_low, v_min, v_max, and beyond


class Law(NamedTuple):
    """One factor of all phases.

    Attributes:
        flat, current, power: (4, E) coefficients of 1, 1 / u and 1 / u**2 in each region.
        raised: (4, E) coefficient of u ** ``exponent``.
        exponent: (E).
    """

    flat: Array
    current: Array
    power: Array
    raised: Array
    exponent: Array


class Laws(NamedTuple):
    """The factors of active and reactive power, and where their regions end.

    Attributes:
        kw, kvar: the factors.
        v_low, v_min, v_max: (E) ends of the first three regions [pu].
        by_exponent: which phases have a raised part.
        dropping: which phases drop out, and ``limit`` (d) the voltages where they do [pu].
    """

    kw: Law
    kvar: Law
    v_low: Array
    v_min: Array
    v_max: Array
    by_exponent: IntArray
    dropping: IntArray
    limit: Array


def laws(phases: Phases) -> Laws:
    """The factors of all phases; those of model 2 are 1 at any voltage."""
    mixed, by_cvr = phases.model == 8, phases.model == 4
    kw, kvar = (_law(phases, column) for column in (0, 1))
    dropping = np.flatnonzero(mixed & (phases.zip[:, 6] > 0))
    raised = np.flatnonzero(by_cvr | (phases.model == 3))
    return Laws(kw, kvar, phases.v_low, phases.v_min, phases.v_max, raised, dropping, phases.zip[dropping, 6])


def _law(phases: Phases, column: int) -> Law:
    """The factor of kW (0) or kvar (1)."""
    model, count = phases.model, len(phases)
    shares = np.zeros((3, count))  # of impedance, current and power
    shares[0, model == 2] = shares[1, model == 5] = shares[2, (model == 1) | (model == 3) | (model == 4)] = 1.0
    mixed = model == 8
    shares[:, mixed] = phases.zip[mixed, 3 * column : 3 * column + 3].T
    constant, current, power = shares
    raised = (model == 4) | (model == 3)  # of exponents 0 and 2 in model 3
    exponent = np.where(model == 4, phases.exponents[:, column], 2.0 * column) - 2
    flat, per_u, per_u2, by_exponent = (np.zeros((4, count)) for _ in range(4))
    flat[LOW] = np.where(model == 2, 1.0, phases.low)
    reach = np.maximum(phases.v_min - phases.v_low, 1e-12)
    slope_i, slope_p = (1 - phases.v_low) / reach, (1 / phases.v_min - phases.v_low) / reach
    flat[BETWEEN] = constant + current * slope_i + power * slope_p
    per_u[BETWEEN] = phases.v_low * (current * (1 - slope_i) + power * (1 - slope_p))
    flat[INSIDE], per_u[INSIDE] = constant, current
    per_u2[INSIDE], by_exponent[INSIDE] = np.where(raised, 0.0, power), raised
    flat[ABOVE] = constant + current / phases.v_max + power / phases.v_max**2
    return Law(flat, per_u, per_u2, by_exponent, np.where(raised, exponent, 0.0))


def factors(own: Laws, u: Array) -> tuple[Array, Array]:
    """Factors of active and reactive power (..., E) at voltages u (..., E) [pu of the phases' rated ones]."""
    u = np.maximum(u, LEAST_U)
    region = _region(own, u)
    kw, kvar = (_value(law, own.by_exponent, region, u) for law in (own.kw, own.kvar))
    if own.dropping.size:
        left = _drop_out(own, region, u)
        kw[..., own.dropping] *= left
        kvar[..., own.dropping] *= left
    return kw, kvar


def factors_and_slopes(own: Laws, u: Array) -> tuple[Array, Array, Array, Array]:
    """``factors``, and their derivatives with respect to u; at the end of a region those of the lower one."""
    low, u = u <= LEAST_U, np.maximum(u, LEAST_U)
    region = _region(own, u)
    found = []
    left = _drop_out(own, region, u) if own.dropping.size else np.ones(0)
    falls = np.where(region[..., own.dropping] == LOW, 0.0, 2 * STEEP * left * (1 - left))
    for law in (own.kw, own.kvar):
        value, slope = _value(law, own.by_exponent, region, u), _slope(law, own.by_exponent, region, u)
        if own.dropping.size:
            at = ..., own.dropping
            slope[at] = slope[at] * left + value[at] * falls
            value[at] *= left
        found += [value, np.where(low, 0.0, slope)]
    kw, kw_slope, kvar, kvar_slope = found
    return kw, kvar, kw_slope, kvar_slope


def _region(own: Laws, u: Array) -> IntArray:
    """(..., E) which coefficients hold."""
    below: IntArray = np.where(u <= own.v_low, LOW, BETWEEN)
    return np.where(u <= np.maximum(own.v_min, own.v_low), below, np.where(u > own.v_max, ABOVE, INSIDE))


def _value(law: Law, by_exponent: IntArray, region: IntArray, u: Array) -> Array:
    each = np.arange(u.shape[-1])
    value = (law.power[region, each] / u + law.current[region, each]) / u + law.flat[region, each]
    if by_exponent.size:
        at = ..., by_exponent
        value[at] += law.raised[region[at], by_exponent] * u[at] ** law.exponent[by_exponent]
    return value


def _slope(law: Law, by_exponent: IntArray, region: IntArray, u: Array) -> Array:
    each = np.arange(u.shape[-1])
    slope = (-2 * law.power[region, each] / u - law.current[region, each]) / u**2
    if by_exponent.size:
        at, power = (..., by_exponent), law.exponent[by_exponent]
        slope[at] += law.raised[region[at], by_exponent] * power * u[at] ** (power - 1)
    return slope


def _drop_out(own: Laws, region: IntArray, u: Array) -> Array:
    """(..., d) 1 above the voltage at which a load drops out, 0 below it; 1 up to ``v_low``, as in OpenDSS."""
    at = ..., own.dropping
    with np.errstate(over="ignore"):
        left = 1 / (1 + np.exp(-2 * STEEP * (u[at] - own.limit)))
    return np.where(region[at] == LOW, 1.0, left)

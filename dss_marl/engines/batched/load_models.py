"""OpenDSS's load models as two factors of the voltage, which are all that engines need of them.

A phase whose voltage is u times its rated one draws the current (g_kw Re y + j g_kvar Im y) V, where
y = (P - jQ) / V0**2 at its rated voltage V0. A constant impedance has 1, a constant current 1 / u, a constant power
1 / u**2. Beyond the limits of its model a load is an impedance that draws its nominal power at the limit; below
``v_low`` its nominal impedance; between ``v_low`` and ``v_min`` its current is interpolated. Source: Load.pas of
dss_capi, version 0.14.
"""

from __future__ import annotations

import numpy as np

from dss_marl.engines.batched.network import Phases
from dss_marl.grid.state import Array

_STEEP = 500.0  # of a drop-out, per pu


def factors(phases: Phases, u: Array) -> tuple[Array, Array]:
    """Factors of active and reactive power (..., E) at voltages u (..., E) [pu of the phases' rated ones]."""
    u = np.maximum(u, 1e-9)
    power = _limited(phases, u, 1 / u**2, 1 / phases.v_min, 1 / phases.v_max**2)
    current = _limited(phases, u, 1 / u, np.ones_like(phases.v_min), 1 / phases.v_max)
    inside = (u > phases.v_min) & (u <= phases.v_max)
    model, exponents = phases.model, phases.exponents
    kw, kvar = power.copy(), power.copy()
    impedance = model == 2
    kw[..., impedance] = kvar[..., impedance] = 1.0
    kvar[..., model == 3] = np.where(inside, 1.0, power)[..., model == 3]
    by_cvr = np.flatnonzero(model == 4)
    for factor, column in ((kw, 0), (kvar, 1)):
        raised = u[..., by_cvr] ** (exponents[by_cvr, column] - 2)
        factor[..., by_cvr] = np.where(inside[..., by_cvr], raised, power[..., by_cvr])
    steady = model == 5
    kw[..., steady] = kvar[..., steady] = current[..., steady]
    mixed = np.flatnonzero(model == 8)
    if mixed.size:
        share = phases.zip[mixed]
        drop = _drop_out(share[:, 6], u[..., mixed])
        for factor, z, i, p in ((kw, 0, 1, 2), (kvar, 3, 4, 5)):
            sum_ = share[:, z] + share[:, i] * current[..., mixed] + share[:, p] * power[..., mixed]
            factor[..., mixed] = sum_ * drop
    low = (u <= phases.v_low) & (model != 2)
    return np.where(low, phases.low, kw), np.where(low, phases.low, kvar)


def _limited(phases: Phases, u: Array, inside: Array, at_minimum: Array, above: Array) -> Array:
    """A law with the models' limits: ``at_minimum`` is its current there, over the nominal one."""
    reach = np.maximum(phases.v_min - phases.v_low, 1e-12)
    slope = (at_minimum - phases.v_low) / reach
    between = (phases.v_low + slope * (u - phases.v_low)) / u
    return np.where(u <= phases.v_min, between, np.where(u > phases.v_max, above, inside))


def _drop_out(limit: Array, u: Array) -> Array:
    """1 above the voltage at which a load drops out, 0 below; 1 without one."""
    with np.errstate(over="ignore"):
        dropped = 1 / (1 + np.exp(-2 * _STEEP * (u - limit)))
    return np.where(limit > 0, dropped, 1.0)

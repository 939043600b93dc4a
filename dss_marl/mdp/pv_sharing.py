"""Fairness among PV units: what each could feed in over the day, and what it did, as far as the day has come."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.grid.state import Array, GridState
from dss_marl.zones import Zone, zone_batched

_NOTHING = 1e-9  # [kWh] as good as dark


def remembers_pv(function: Any) -> Any:
    """Mark a term, cost or feature that reads ``GridState.pv_kwh``; a task with one of them keeps it."""
    function.remembers_pv = True
    return function


def served_shares(pv_kwh: Array) -> Array:
    """(..., U) share of its available energy that each unit fed in so far; 1 before the sun rises.

    Args:
        pv_kwh: (..., 2, U) available and fed in, see GridState.
    """
    available, served = pv_kwh[..., 0, :], pv_kwh[..., 1, :]
    lit = available > _NOTHING
    return np.asarray(np.where(lit, served / np.where(lit, available, 1.0), 1.0))


def jain_index(shares: Array) -> Array:
    """(...) Jain's index of shares (..., U): 1 if all are equal, k / U if k of U have the same and the others nothing.

    Source: Jain, Chiu and Hawe, A quantitative measure of fairness and discrimination for resource allocation in shared
    computer systems, 1984, arXiv:cs/9809099.
    """
    squares = shares.shape[-1] * (shares**2).sum(axis=-1)
    return np.asarray(np.where(squares > 0, shares.sum(axis=-1) ** 2 / np.where(squares > 0, squares, 1.0), 1.0))


@remembers_pv
@zone_batched
def fairness(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Change of Jain's index of the shares of PV energy that the units of the feeder fed in so far, split evenly [1].

    The index is 1 at the start of the day, so that the sum over an episode is the index at its end minus 1: at most 0,
    and 0 if all units had the same share of their energy curtailed. Over the day, units can take turns.

    Formula: $r_z = \frac{1}{Z} (J - J^-), \quad J = \frac{\left(\sum_u \rho_u\right)^2}{U \sum_u \rho_u^2}$
    """
    if not after.pv_kwh.shape[-1]:
        return np.zeros((*after.solution.v_pu.shape[:-1], *zone.index.shape))
    gained = jain_index(served_shares(after.pv_kwh)) - jain_index(served_shares(before.pv_kwh))
    each = np.asarray(gained / zone.count)
    return np.repeat(each[..., None], zone.count, axis=-1) if zone.index.ndim else each


def shares_of(zone: Zone, state: GridState) -> Array:
    """(..., 3) or (..., Z, 3) mean share of the zone's units, mean and lowest share of all units of the feeder."""
    if not state.pv_kwh.shape[-1]:
        return np.ones((*state.solution.v_pu.shape[:-1], *zone.index.shape, 3))
    shares, weight = served_shares(state.pv_kwh), zone.pv_unit_weight
    own = (shares[..., zone.pv_places] * weight).sum(axis=-1) / np.maximum(weight.sum(axis=-1), 1.0)
    mean, low = shares.mean(axis=-1), shares.min(axis=-1)
    if zone.index.ndim:
        mean, low = (np.repeat(x[..., None], len(zone.index), axis=-1) for x in (mean, low))
    return np.stack([own, mean, low], axis=-1)

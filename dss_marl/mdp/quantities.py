"""Quantities of zones that reward terms and costs scale: functions of (zone, before, after).

Each gives (...) for one zone and (..., Z) for all as one; a quantity of the whole feeder gives (..., 1) for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dss_marl.grid.state import Array, GridState, beyond_band
from dss_marl.zones import Zone

Quantity = Callable[[Zone, GridState, GridState], Any]


def sum_of(function: Callable[[Any], Any]) -> Callable[[Quantity], Quantity]:
    """Declare that a quantity is the sum of a function of ``v_alive`` [pu] over the scored nodes of the state after.

    Sums of several functions over many states are then computed together, compiled; see ScaledTerms.
    """

    def declare(quantity: Quantity) -> Quantity:
        quantity.sum_of = function  # type: ignore[attr-defined]
        return quantity

    return declare


# --- voltages --------------------------------------------------------------------------------------------------------


@sum_of(beyond_band)
def excursion_pu(zone: Zone, before: GridState, after: GridState) -> Array:
    """Excursions outside V_LOW to V_HIGH, summed over the scored nodes [pu]."""
    return zone.total(after.solution.excursion)


@sum_of(lambda v_pu: beyond_band(v_pu) > 0)
def nodes_outside(zone: Zone, before: GridState, after: GridState) -> Array:
    """Scored nodes outside V_LOW to V_HIGH [nodes]."""
    return zone.reduced(np.add, (zone.scored(after.solution.excursion) > 0).astype(float))


@sum_of(lambda v_pu: (v_pu - 1) ** 2)
def squared_deviation_pu2(zone: Zone, before: GridState, after: GridState) -> Array:
    """Squared distances from 1 pu, summed over the scored nodes [pu^2]."""
    return zone.total((after.solution.v_alive - 1) ** 2)


def estimate_off(zone: Zone, before: GridState, after: GridState) -> Array:
    """(..., e) estimated minus true voltage at the zone's estimated nodes [pu]; 0 where padded or de-energised."""
    if not zone.estimated.shape[-1]:
        return np.zeros((*before.solution.v_pu.shape[:-1], *zone.estimated.shape))
    alive = before.solution.energised[..., zone.estimated] * zone.estimate_weight
    return (after.device_state[..., zone.estimates] - before.solution.v_pu[..., zone.estimated]) * alive


def estimate_error_pu(zone: Zone, before: GridState, after: GridState) -> Array:
    """Absolute errors of the zone's voltage estimates, summed [pu]."""
    return np.add.reduce(np.abs(estimate_off(zone, before, after)) * zone.estimate_weight, axis=-1)


# --- moves -----------------------------------------------------------------------------------------------------------


def taps_moved(zone: Zone, before: GridState, after: GridState) -> Array:
    """Tap moves of the zone's regulators [moves]."""
    return _summed(np.abs(after.setpoints.tap - before.setpoints.tap), zone.taps, zone.tap_weight)


def banks_moved(zone: Zone, before: GridState, after: GridState) -> Array:
    """Switching operations of the zone's capacitor steps [operations]."""
    return _summed(after.setpoints.closed != before.setpoints.closed, zone.capacitors, zone.capacitor_weight)


def switches_moved(zone: Zone, before: GridState, after: GridState) -> Array:
    """Operations of the zone's switches [operations]."""
    return _summed(after.setpoints.closed != before.setpoints.closed, zone.switches, zone.switch_weight)


# --- the whole feeder ------------------------------------------------------------------------------------------------


def loss_kw(zone: Zone, before: GridState, after: GridState) -> Array:
    """The feeder's losses [kW]."""
    return _for_all(zone, after.solution.loss_kw)


def import_price(zone: Zone, before: GridState, after: GridState) -> Array:
    """Cost of the feeder's import [currency]."""
    return _for_all(zone, after.solution.source_kw * after.price[..., 0]) * after.dt_h


def price_beyond_load(zone: Zone, before: GridState, after: GridState) -> Array:
    """The same minus the cost of loads at 1 pu and full PV power [currency]."""
    beyond_kw = after.solution.source_kw + np.add.reduce(after.available, axis=-1)
    return _for_all(zone, beyond_kw * after.price[..., 0]) * after.dt_h


def import_above_limit_kwh(zone: Zone, before: GridState, after: GridState) -> Array:
    """Energy drawn above the feeder's import limit [kWh]."""
    return _for_all(zone, np.maximum(after.solution.source_kw - after.import_limit_kw, 0.0)) * after.dt_h


def highest_overload(zone: Zone, before: GridState, after: GridState) -> Array:
    """Highest loading of a branch in excess of 1 [1]."""
    return _for_all(zone, np.maximum(after.solution.highest_loading - 1.0, 0.0))


# --- energy of loads and units ---------------------------------------------------------------------------------------


def curtailed_kwh(zone: Zone, before: GridState, after: GridState) -> Array:
    """Curtailed PV energy of the zone's inverters [kWh]."""
    lost = after.available.take(zone.pv_units, axis=-1) - after.setpoints.kw.take(zone.pv_units, axis=-1)
    return np.add.reduce(lost * zone.pv_unit_weight, axis=-1) * after.dt_h


def kvar_magnitude(zone: Zone, before: GridState, after: GridState) -> Array:
    """Absolute reactive power of the zone's inverters [kvar]."""
    return _summed(np.abs(after.setpoints.kvar), zone.pv_units, zone.pv_unit_weight)


def throughput_kwh(zone: Zone, before: GridState, after: GridState) -> Array:
    """Energy throughput of the zone's units other than PV units, in both directions [kWh]."""
    return _beside_pv(zone, np.abs(after.setpoints.kw)) * after.dt_h


def generated_kwh(zone: Zone, before: GridState, after: GridState) -> Array:
    """Energy fed in by the zone's units other than PV units [kWh]."""
    return _beside_pv(zone, np.maximum(after.solution.served_kw, 0.0)) * after.dt_h


def owed_kwh(zone: Zone, before: GridState, after: GridState) -> Array:
    """Energy that the zone's devices owed and did not deliver, weighted by priority [kWh]."""
    return _summed(after.unmet_kwh, zone.devices, zone.device_weight)


def unserved_kwh(zone: Zone, before: GridState, after: GridState) -> Array:
    """``owed_kwh``, and the weighted energy of de-energised loads [kWh]."""
    if after.solution.all_energised:
        return owed_kwh(zone, before, after)
    weight = zone.load_weight * zone.load_priority
    return _summed(_unserved_kw(after), zone.loads, weight) * after.dt_h + owed_kwh(zone, before, after)


def stored_change_kwh(zone: Zone, before: GridState, after: GridState) -> Array:
    """Change of the energy stored in the zone [kWh]."""
    if not after.stored_kwh.shape[-1]:
        return _summed(after.stored_kwh, zone.devices, zone.device_weight)
    return _summed(after.stored_kwh - before.stored_kwh, zone.devices, zone.device_weight)


def _unserved_kw(after: GridState) -> Array:
    """(..., J) power that de-energised loads would draw [kW]; shedding by a device is counted by that device."""
    wanted, served = np.minimum(after.setpoints.kw, 0.0), after.solution.served_kw
    return np.where(served > 1e-3 * wanted, -wanted, 0.0)  # both are negative: the load draws practically nothing


def _beside_pv(zone: Zone, x: Array) -> Array:
    """Sum over the zone's units of (..., J), without PV units."""
    pv_units = _summed(x, zone.pv_units, zone.pv_unit_weight)
    return _summed(x, zone.units, zone.unit_weight) - pv_units


def _for_all(zone: Zone, x: Any) -> Any:
    """A value of the whole feeder, with a zone axis to broadcast along for all zones as one."""
    return np.asarray(x)[..., None] if zone.index.ndim else x


def _summed(x: Array, index: Any, weight: Array) -> Array:
    """(...) or (..., Z) weighted sum of the entries; zero if the feeder has none."""
    if not np.count_nonzero(x):  # as for most taps and switches in most steps, or without any entries
        return np.zeros((*x.shape[:-1], *index.shape[:-1]))
    return np.add.reduce(x.take(index, axis=-1) * weight, axis=-1)

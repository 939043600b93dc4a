"""Quantities of zones that reward terms and costs scale: functions of (zone, before, after).

Each gives (...) for one zone and (..., Z) for all as one; a quantity of the whole feeder gives (..., 1) for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dss_marl.grid.state import Array, GridState, beyond_band
from dss_marl.mdp.declarations import take_identity
from dss_marl.zones import Zone

Quantity = Callable[[Zone, GridState, GridState], Any]
_ROUNDED = 1e-6  # of the available power: what the sum of net power and losses may lack in single precision


def sum_of(function: Callable[[Any, Any, Any], Any]) -> Callable[[Quantity], Quantity]:
    """Declare that a quantity is the sum of a function of voltages over the scored nodes of the state after.

    The function's arguments are ``v_alive`` and the node's lowest and highest permitted voltage [pu].

    Sums of several functions over many states are then computed together, compiled; see ScaledTerms.
    """

    def declare(quantity: Quantity) -> Quantity:
        quantity.sum_of = function  # type: ignore[attr-defined]
        return quantity

    return declare


def sum_over(
    kind: str, without: str = "", hourly: bool = False
) -> Callable[[Callable[[GridState, GridState], Array]], Quantity]:
    """Turn a function (before, after) -> (..., n) into the quantity that sums its entries over a zone's rows.

    Args:
        kind: of rows, a key of ``Zone.rows``.
        without: a kind whose rows are left out.
        hourly: the entries are powers, the quantity an energy: multiplied by the length of the interval.
    """

    def declare(entries: Callable[[GridState, GridState], Array]) -> Quantity:
        def quantity(zone: Zone, before: GridState, after: GridState) -> Array:
            x, rows = entries(before, after), zone.rows[kind]
            total = _summed(x, rows.index, rows.weight)
            if without:
                total = total - _summed(x, zone.rows[without].index, zone.rows[without].weight)
            return total * after.dt_h if hourly else total

        take_identity(quantity, entries)
        quantity.sum_over = RowSum(entries, kind, without, hourly)  # type: ignore[attr-defined]
        return quantity

    return declare


class RowSum(NamedTuple):
    """The arguments of ``sum_over``, and the function of the entries."""

    entries: Callable[[GridState, GridState], Array]
    kind: str
    without: str
    hourly: bool


# --- voltages --------------------------------------------------------------------------------------------------------


@sum_of(beyond_band)
def excursion_pu(zone: Zone, before: GridState, after: GridState) -> Array:
    """Excursions outside the band, summed over the scored nodes [pu]."""
    return zone.total(after.solution.excursion(zone.band))


def _is_outside(v_pu: Any, low: Any, high: Any) -> Any:
    return beyond_band(v_pu, low, high) > 0


@sum_of(_is_outside)
def nodes_outside(zone: Zone, before: GridState, after: GridState) -> Array:
    """Scored nodes outside the band [nodes]."""
    return zone.reduced(np.add, (zone.scored(after.solution.excursion(zone.band)) > 0).astype(float))


def _squared(v_pu: Any, low: Any, high: Any) -> Any:
    return (v_pu - 1) ** 2


@sum_of(_squared)
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


@sum_over("taps")
def taps_moved(before: GridState, after: GridState) -> Array:
    """Tap moves of the zone's regulators [moves]."""
    return np.abs(after.setpoints.tap - before.setpoints.tap)


@sum_over("capacitors")
def banks_moved(before: GridState, after: GridState) -> Array:
    """Switching operations of the zone's capacitor steps [operations]."""
    return after.setpoints.closed != before.setpoints.closed


@sum_over("switches")
def switches_moved(before: GridState, after: GridState) -> Array:
    """Operations of the zone's switches [operations]."""
    return after.setpoints.closed != before.setpoints.closed


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


@sum_over("demand_meters")
def peak_increase_kw(before: GridState, after: GridState) -> Array:
    """Rise of the billed peak [kW]; the same for every zone."""
    return _limited(after.device_state) - _limited(before.device_state)


@sum_over("crew_costs")
def crew_dollars(before: GridState, after: GridState) -> Array:
    """Cost of the hours and kilometres of the zone's crews [$]."""
    return _limited(after.device_state)


def _limited(device_state: Array) -> Array:
    """(..., K) a device state with 0 for what has no limit, such as fuel: inf times the weight 0 of padding is NaN."""
    return np.where(np.isfinite(device_state), device_state, 0.0)


def highest_overload(zone: Zone, before: GridState, after: GridState) -> Array:
    """Highest loading of a branch in excess of 1 [1]."""
    return _for_all(zone, np.maximum(after.solution.highest_loading - 1.0, 0.0))


# --- energy of loads and units ---------------------------------------------------------------------------------------


def curtailed_kwh(zone: Zone, before: GridState, after: GridState) -> Array:
    """Curtailed PV energy of the zone's inverters [kWh]."""
    return np.add.reduce(curtailed_kw(after, zone.pv_units) * zone.pv_unit_weight, axis=-1) * after.dt_h


def curtailed_kw(after: GridState, units: Any) -> Array:
    """(..., n) power that PV units, by their injections (n), do not feed in and do not lose in converters [kW]."""
    free, points = after.available.take(units, axis=-1), after.setpoints
    left: Array = free - points.kw.take(units, axis=-1)
    if points.converter_kw is None:
        return left
    left = left - points.converter_kw.take(units, axis=-1)
    return np.where(left > _ROUNDED * free, left, 0.0)


@sum_over("units")
def converter_kw(before: GridState, after: GridState) -> Array:
    """Losses of the zone's converters due to reactive power [kW]; none where de-energised."""
    points = after.setpoints
    if after.solution.all_energised:
        return points.lost_kw
    return np.where((points.kw != 0) & (after.solution.served_kw == 0), 0.0, points.lost_kw)


@sum_over("pv_units")
def kvar_magnitude(before: GridState, after: GridState) -> Array:
    """Absolute reactive power of the zone's inverters [kvar]."""
    return np.abs(after.setpoints.kvar)


@sum_over("units", without="unworn_units", hourly=True)
def throughput_kwh(before: GridState, after: GridState) -> Array:
    """Energy throughput of the zone's units other than PV units and chargers, in both directions [kWh]."""
    points = after.setpoints
    return np.abs(points.kw if points.converter_kw is None else points.kw + points.converter_kw)


@sum_over("units", without="pv_units", hourly=True)
def generated_kwh(before: GridState, after: GridState) -> Array:
    """Energy fed in by the zone's units other than PV units [kWh]."""
    return np.maximum(after.solution.served_kw, 0.0)


@sum_over("devices")
def owed_kwh(before: GridState, after: GridState) -> Array:
    """Energy that the zone's devices owed and did not deliver, weighted by priority [kWh]."""
    return after.unmet_kwh


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


def fuel_l(zone: Zone, before: GridState, after: GridState) -> Array:
    """Fuel burned by the zone's generators [l]."""
    return _summed(after.fuel_l, zone.devices, zone.device_weight)


def worn_kwh(zone: Zone, before: GridState, after: GridState) -> Array:
    """What the zone's batteries exchanged, either way, with islands that they formed, and twice what EVs lent [kWh]."""
    return _summed(after.worn_kwh, zone.devices, zone.device_weight)


def _unserved_kw(after: GridState) -> Array:
    """(..., J) power that de-energised loads would draw [kW]; shedding by a device is counted by that device."""
    wanted, served = np.minimum(after.setpoints.kw, 0.0), after.solution.served_kw
    return np.where(served > 1e-3 * wanted, -wanted, 0.0)  # both are negative: the load draws practically nothing


def _for_all(zone: Zone, x: Any) -> Any:
    """A value of the whole feeder, with a zone axis to broadcast along for all zones as one."""
    return np.asarray(x)[..., None] if zone.index.ndim else x


def _summed(x: Array, index: Any, weight: Array) -> Array:
    """(...) or (..., Z) weighted sum of the entries; zero if the feeder has none."""
    if not np.count_nonzero(x):  # as for most taps and switches in most steps, or without any entries
        return np.zeros((*x.shape[:-1], *index.shape[:-1]))
    return np.add.reduce(x.take(index, axis=-1) * weight, axis=-1)

"""Reward terms and cost channels: functions of (zone, before, after).

A term is the contribution (...) of one zone: the team reward is the weighted sum over terms and zones. Penalties are
<= 0; a cost is >= 0 and never enters the reward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dss_marl._plugins import imported_function
from dss_marl.grid.state import V_HIGH, V_LOW, Array, GridState
from dss_marl.mdp.voltage_barriers import bowl, bump, courant_beltrami, l1, l2
from dss_marl.zones import Zone, zone_batched

Term = Callable[[Zone, GridState, GridState], Any]
_ARGUMENTS = ("zone", "before", "after")


@zone_batched
def voltage_violation(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Excursion outside 0.95 to 1.05 pu, negated: the zone's share of the mean over the feeder's scored nodes [pu].

    The band is ANSI C84.1 range A. A de-energised node does not count.

    Formula: $r_z = -\frac{1}{N} \sum_{n \in \mathcal{N}_z} e_n$

    Args:
        zone: whose scored nodes count.
        before, after: states around the step; v_pu is (..., N).

    Returns:
        (...), <= 0.
    """
    return -zone.total(after.solution.excursion) / zone.n_scored_nodes


@zone_batched
def voltage_deviation(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Squared distance from 1 pu, negated: the zone's share of the mean over the scored nodes [pu^2].

    Formula: $r_z = -\frac{1}{N} \sum_{n \in \mathcal{N}_z} (v_n - 1)^2$
    """
    return -zone.total((after.solution.v_alive - 1) ** 2) / zone.n_scored_nodes


@zone_batched
def violating_share(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Share of the feeder's scored nodes that are the zone's and lie outside 0.95 to 1.05 pu, negated [1].

    Formula: $r_z = -\frac{1}{N} \sum_{n \in \mathcal{N}_z} [e_n > 0]$
    """
    return -zone.total((after.solution.excursion > 0).astype(float)) / zone.n_scored_nodes


@zone_batched
def loss(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""The feeder's losses, negated and split evenly, since a current causes losses outside its zone [MW].

    Formula: $r_z = -\frac{P^\mathrm{loss}}{1000\,Z}$
    """
    return -_same_for_all(zone, after.solution.loss_kw) / (1000 * zone.count)


@zone_batched
def tap_moves(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Tap moves of the zone's regulators, negated [moves].

    Formula: $r_z = -\sum_{t \in z} \lvert k_t - k_t^- \rvert$
    """
    moves = np.abs(after.setpoints.tap - before.setpoints.tap)
    return -_taken(moves, zone.taps, zone.tap_weight)


@zone_batched
def capacitor_moves(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Switching operations of the zone's capacitor steps, negated [operations].

    Formula: $r_z = -\sum_{c \in z} [\sigma_c \ne \sigma_c^-]$
    """
    return -_taken(after.setpoints.closed != before.setpoints.closed, zone.capacitors, zone.capacitor_weight)


@zone_batched
def switch_moves(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Operations of the zone's switches, negated [operations].

    Formula: $r_z = -\sum_{s \in z} [\sigma_s \ne \sigma_s^-]$
    """
    return -_taken(after.setpoints.closed != before.setpoints.closed, zone.switches, zone.switch_weight)


@zone_batched
def curtailment(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Curtailed PV energy of the zone's inverters, negated [MWh].

    Formula: $r_z = -\frac{\Delta t}{1000} \sum_{u \in z} (p_u^\mathrm{av} - p_u)$
    """
    lost = after.forecast[..., 0, :] - after.setpoints.kw
    return -_taken(lost, zone.pv_units, zone.pv_unit_weight) * after.dt_h / 1000


@zone_batched
def reactive_power(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Absolute reactive power of the zone's inverters, negated [Mvar]; a simple proxy for losses.

    Formula: $r_z = -\frac{1}{1000} \sum_{u \in z} \lvert q_u \rvert$
    """
    return -_taken(np.abs(after.setpoints.kvar), zone.pv_units, zone.pv_unit_weight) / 1000


@zone_batched
def energy_cost(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Cost of the feeder's import, negated and split evenly over zones [currency]; export earns the same price.

    Formula: $r_z = -\frac{1}{Z}\, c\, P^\mathrm{src} \Delta t$
    """
    return -_same_for_all(zone, after.solution.source_kw * after.price[..., 0]) * after.dt_h / zone.count


@zone_batched
def excess_cost(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""``energy_cost`` minus the cost of loads at 1 pu and full PV power, which no control can change [currency].

    The remainder comes from losses, voltage dependence of loads, PV curtailment, and charging and discharging.

    Formula: $r_z = -\frac{1}{Z}\, c \left(P^\mathrm{src} + \sum_j p_j^\mathrm{av}\right) \Delta t$

    Returns:
        (...), > 0 if control saves more than the losses cost.
    """
    beyond_kw = after.solution.source_kw + after.forecast[..., 0, :].sum(-1)
    return -_same_for_all(zone, beyond_kw * after.price[..., 0]) * after.dt_h / zone.count


@zone_batched
def unserved(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Unserved energy of the zone's loads and devices, weighted by priority, negated [MWh].

    A load is unserved while it is de-energised; its priority is 1 unless the scenario has ``priorities``. A device (EV,
    flexible load) counts with the energy that it owed and did not deliver, see DeviceGroup.unmet_kwh.

    Formula: $r_z = -\frac{1}{1000} \left(\Delta t \sum_{l \in z} w_l d_l + \sum_{i \in z} m_i\right)$
    """
    if after.solution.energised.all():
        return unserved_device_energy(zone, before, after)
    unserved_kw = _unserved_kw(after)
    weight = zone.load_weight * zone.load_priority
    return -(_taken(unserved_kw, zone.loads, weight) * after.dt_h + _owed(zone, after)) / 1000


@zone_batched
def unserved_device_energy(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Energy that the zone's devices owed and did not deliver, weighted by priority, negated [MWh].

    Formula: $r_z = -\frac{1}{1000} \sum_{i \in z} m_i$
    """
    return -_owed(zone, after) / 1000


@zone_batched
def battery_use(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Energy throughput of the zone's units other than PV units, in both directions, negated: battery wear [MWh].

    Formula: $r_z = -\frac{\Delta t}{1000} \sum_{u \in z} \lvert p_u \rvert$
    """
    through = np.abs(after.setpoints.kw)
    pv_kw = _taken(through, zone.pv_units, zone.pv_unit_weight)
    return -(_taken(through, zone.units, zone.unit_weight) - pv_kw) * after.dt_h / 1000


@zone_batched
def generation(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Energy fed in by the zone's units other than PV units, negated: fuel, or import from other feeders [MWh].

    A grid-forming unit counts with the power that its island draws.

    Formula: $r_z = -\frac{\Delta t}{1000} \sum_{u \in z} \max(0, p_u)$
    """
    given = np.maximum(after.solution.served_kw, 0.0)
    pv_kw = _taken(given, zone.pv_units, zone.pv_unit_weight)
    return -(_taken(given, zone.units, zone.unit_weight) - pv_kw) * after.dt_h / 1000


@zone_batched
def estimation_error(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Absolute error of the zone's voltage estimates, negated: its share of the mean over estimated nodes [pu].

    An estimate refers to the observed state, ``before``: measurements and true voltages then belong to one instant,
    while the circuit's own controls may move taps until ``after``. A de-energised node does not count.

    Formula: $r_z = -\frac{1}{M} \sum_{m \in z} \lvert v_m^\mathrm{est} - v_m^- \rvert$
    """
    return -_weighted(np.abs(estimate_off(zone, before, after)), zone) / max(zone.all_estimated, 1)


def estimate_off(zone: Zone, before: GridState, after: GridState) -> Array:
    """(..., e) estimated minus true voltage at the zone's estimated nodes [pu]; 0 where padded or de-energised."""
    if not zone.estimated.shape[-1]:
        return np.zeros((*before.solution.v_pu.shape[:-1], *zone.estimated.shape))
    alive = before.solution.energised[..., zone.estimated] * zone.estimate_weight
    return (after.device_state[..., zone.estimates] - before.solution.v_pu[..., zone.estimated]) * alive


@zone_batched
def stored_energy(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Change of the energy stored in the zone [MWh]; deferred energy of flexible loads counts as discharged.

    Its sum over an episode is the change until the end, so that emptying the storage before midnight earns nothing.

    Formula: $r_z = \frac{1}{1000} \sum_{i \in z} (E_i - E_i^-)$
    """
    if not after.stored_kwh.shape[-1]:
        return _taken(after.stored_kwh, zone.devices, zone.device_weight)
    return _taken(after.stored_kwh - before.stored_kwh, zone.devices, zone.device_weight) / 1000


@zone_batched
def import_excess(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Energy drawn above the feeder's import limit, negated and split evenly over zones [MWh].

    Each excess is priced, rather than the highest quarter of an hour of a month, so that the reward of a step depends
    neither on the peak so far nor on earlier actions.

    Formula: $r_z = -\frac{\Delta t}{1000\,Z} \max(0, P^\mathrm{src} - P^\mathrm{max})$
    """
    beyond = np.maximum(after.solution.source_kw - after.import_limit_kw, 0.0)
    return -_same_for_all(zone, beyond) * after.dt_h / (1000 * zone.count)


@zone_batched
def overload(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Highest overload of a line or transformer of the feeder, negated and split evenly over zones [1].

    Formula: $r_z = -\frac{1}{Z} \max(0, \max_b \ell_b - 1)$
    """
    return -thermal_overload(zone, before, after) / zone.count


@zone_batched
def voltage_violation_sum(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Cost: sum of the excursions outside 0.95 to 1.05 pu at the zone's scored nodes [pu], >= 0.

    Formula: $c_z = \sum_{n \in \mathcal{N}_z} e_n$
    """
    return zone.total(after.solution.excursion)


@zone_batched
def thermal_overload(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Cost: highest loading in excess of 1 on the feeder [1], >= 0; equal for all zones.

    Formula: $c_z = \max(0, \max_b \ell_b - 1)$
    """
    return _same_for_all(zone, np.maximum(after.solution.loading.max(-1) - 1.0, 0.0))


@zone_batched
def operations(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Cost: tap moves and switching operations in the zone, >= 0.

    Formula: $c_z = \sum_{t \in z} \lvert k_t - k_t^- \rvert + \sum_{s \in z} [\sigma_s \ne \sigma_s^-]$
    """
    moves = tap_moves(zone, before, after) + capacitor_moves(zone, before, after)
    return -moves - switch_moves(zone, before, after)


@zone_batched
def unserved_kwh(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Cost: unserved energy of the zone's loads and devices, weighted by priority [kWh], >= 0.

    Formula: $c_z = \Delta t \sum_{l \in z} w_l d_l + \sum_{i \in z} m_i$
    """
    return -unserved(zone, before, after) * 1000


@zone_batched
def curtailed_kwh(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Cost: curtailed PV energy [kWh], >= 0.

    Formula: $c_z = \Delta t \sum_{u \in z} (p_u^\mathrm{av} - p_u)$
    """
    return -curtailment(zone, before, after) * 1000


@zone_batched
def estimation_worst(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Cost: largest error of the zone's voltage estimates [pu], >= 0.

    Formula: $c_z = \max_{m \in z} \lvert v_m^\mathrm{est} - v_m^- \rvert$
    """
    return np.abs(estimate_off(zone, before, after)).max(axis=-1, initial=0.0)


@zone_batched
def misclassified_nodes(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Cost: number of the zone's nodes estimated on the wrong side of 0.95 or 1.05 pu [nodes], >= 0.

    Formula: $c_z = \sum_{m \in z} [\mathrm{side}(v_m^\mathrm{est}) \ne \mathrm{side}(v_m^-)]$
    """
    off = estimate_off(zone, before, after)
    if not off.any():
        return np.zeros(off.shape[:-1])
    true = before.solution.v_pu[..., zone.estimated]
    estimate = true + off
    return _weighted(((estimate < V_LOW) != (true < V_LOW)) | ((estimate > V_HIGH) != (true > V_HIGH)), zone)


REWARDS: dict[str, Term] = {
    f.__name__: f
    for f in (
        voltage_violation,
        voltage_deviation,
        violating_share,
        loss,
        tap_moves,
        capacitor_moves,
        switch_moves,
        curtailment,
        energy_cost,
        excess_cost,
        unserved,
        unserved_device_energy,
        battery_use,
        generation,
        estimation_error,
        stored_energy,
        import_excess,
        overload,
        reactive_power,
        l1,
        l2,
        bowl,
        bump,
        courant_beltrami,
    )
}
COSTS: dict[str, Term] = {
    f.__name__: f
    for f in (
        voltage_violation_sum,
        thermal_overload,
        operations,
        unserved_kwh,
        curtailed_kwh,
        estimation_worst,
        misclassified_nodes,
    )
}


def reward_term(name: str) -> Term:
    """The reward term called ``name``, or your own as ``package.module:function``; ValueError if unknown."""
    return REWARDS.get(name) or imported_function(name, "reward", REWARDS, _ARGUMENTS)


def cost_channel(name: str) -> Term:
    """The cost called ``name``, or your own as ``package.module:function``; ValueError if unknown."""
    return COSTS.get(name) or imported_function(name, "cost", COSTS, _ARGUMENTS)


def _same_for_all(zone: Zone, x: Any) -> Any:
    """A value of the whole feeder, with a zone axis to broadcast along for all zones as one."""
    return np.asarray(x)[..., None] if zone.index.ndim else x


def _unserved_kw(after: GridState) -> Array:
    """(..., J) power that de-energised loads would draw [kW]; shedding by a device is counted by that device."""
    wanted, served = np.minimum(after.setpoints.kw, 0.0), after.solution.served_kw
    return np.where(served > 1e-3 * wanted, -wanted, 0.0)  # both are negative: the load draws practically nothing


def _owed(zone: Zone, after: GridState) -> Array:
    return _taken(after.unmet_kwh, zone.devices, zone.device_weight)


def _weighted(x: Array, zone: Zone) -> Array:
    """(...) or (..., Z) sum of (..., e) over the zone's estimated nodes."""
    return np.add.reduce(x * zone.estimate_weight, axis=-1)


def _taken(x: Array, index: Any, weight: Array) -> Array:
    """(...) or (..., Z) weighted sum of the entries; zero if the feeder has none."""
    if not x.any():  # as for most taps and switches in most steps, or without any entries
        return np.zeros((*x.shape[:-1], *index.shape[:-1]))
    return np.add.reduce(x[..., index] * weight, axis=-1)

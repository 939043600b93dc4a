"""Reward terms and cost channels: functions of (zone, before, after).

A term is one zone's contribution (...): the team's reward is the weighted sum over terms and zones. A reward term is
<= 0 where it punishes; a cost is >= 0 and never enters the reward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dss_marl.barriers import bowl, bump, courant_beltrami, l1, l2
from dss_marl.state import Array, GridState
from dss_marl.zones import Zone, all_zones, imported

Term = Callable[[Zone, GridState, GridState], Any]


@all_zones
def voltage_violation(zone: Zone, before: GridState, after: GridState) -> Array:
    """Excursion outside 0.95 to 1.05 pu, negated: the zone's share of the mean over the feeder's judged nodes [pu].

    The band is ANSI C84.1 range A. A de-energised node does not count.

    Args:
        zone: whose judged nodes count.
        before, after: states around the step; v_pu is (..., N).

    Returns:
        (...), <= 0.
    """
    return -zone.total(after.solution.excursion) / zone.all_judged


@all_zones
def voltage_deviation(zone: Zone, before: GridState, after: GridState) -> Array:
    """Squared distance from 1 pu, negated: the zone's share of the mean over the judged nodes [pu^2]."""
    return -zone.total((after.solution.v_alive - 1) ** 2) / zone.all_judged


@all_zones
def violating_share(zone: Zone, before: GridState, after: GridState) -> Array:
    """Share of the feeder's judged nodes that are the zone's and lie outside 0.95 to 1.05 pu, negated [1]."""
    return -zone.total((after.solution.excursion > 0).astype(float)) / zone.all_judged


@all_zones
def loss(zone: Zone, before: GridState, after: GridState) -> Array:
    """The feeder's losses, negated and split evenly, because a current causes losses outside its zone [MW]."""
    return -_same_for_all(zone, after.solution.loss_kw) / (1000 * zone.count)


@all_zones
def tap_moves(zone: Zone, before: GridState, after: GridState) -> Array:
    """Tap moves of the zone's regulators, negated [moves]."""
    moves = np.abs(after.setpoints.tap - before.setpoints.tap)
    return -_taken(moves, zone.taps, zone.tap_weight)


@all_zones
def capacitor_moves(zone: Zone, before: GridState, after: GridState) -> Array:
    """Switchings of the zone's capacitor steps, negated [switchings]."""
    return -_taken(after.setpoints.closed != before.setpoints.closed, zone.capacitors, zone.capacitor_weight)


@all_zones
def switch_moves(zone: Zone, before: GridState, after: GridState) -> Array:
    """Openings and closings of the zone's switches, negated [switchings]."""
    return -_taken(after.setpoints.closed != before.setpoints.closed, zone.switches, zone.switch_weight)


@all_zones
def curtailment(zone: Zone, before: GridState, after: GridState) -> Array:
    """Available sun that was not fed in by the zone's inverters, negated [MWh]."""
    lost = after.forecast[..., 0, :] - after.setpoints.kw
    return -_taken(lost, zone.panels, zone.panel_weight) * after.dt_h / 1000


@all_zones
def reactive_power(zone: Zone, before: GridState, after: GridState) -> Array:
    """Reactive power of the zone's inverters, in or out, negated [Mvar]: the cheap stand-in for losses."""
    return -_taken(np.abs(after.setpoints.kvar), zone.panels, zone.panel_weight) / 1000


@all_zones
def energy_cost(zone: Zone, before: GridState, after: GridState) -> Array:
    """What the feeder's import costs at the interval's price, negated and split evenly over zones; export earns."""
    return -_same_for_all(zone, after.solution.source_kw * after.price[..., 0]) * after.dt_h / zone.count


@all_zones
def unserved(zone: Zone, before: GridState, after: GridState) -> Array:
    """Energy that the zone's loads wanted and did not get, negated [MWh].

    A load goes without where it is de-energised; a device (car, flexible load) where it owed energy, see
    DeviceGroup.unmet_kwh, which its priority weights.
    """
    if after.solution.energised.all():
        return unmet(zone, before, after)
    dark = _unserved_kw(after)
    return -(_taken(dark, zone.loads, zone.load_weight) * after.dt_h + _owed(zone, after)) / 1000


@all_zones
def unmet(zone: Zone, before: GridState, after: GridState) -> Array:
    """Energy that the zone's devices owed and did not deliver, times their priority, negated [MWh]."""
    return -_owed(zone, after) / 1000


@all_zones
def battery_use(zone: Zone, before: GridState, after: GridState) -> Array:
    """Energy through the zone's units other than photovoltaic ones, both ways, negated: their wear [MWh]."""
    through = np.abs(after.setpoints.kw)
    sun_fed = _taken(through, zone.panels, zone.panel_weight)
    return -(_taken(through, zone.units, zone.unit_weight) - sun_fed) * after.dt_h / 1000


@all_zones
def voltage(zone: Zone, before: GridState, after: GridState) -> Array:
    """Cost: sum of the excursions outside 0.95 to 1.05 pu at the zone's judged nodes [pu], >= 0."""
    return zone.total(after.solution.excursion)


@all_zones
def thermal(zone: Zone, before: GridState, after: GridState) -> Array:
    """Cost: highest loading above 1 on the feeder [1], >= 0; the same for each zone."""
    return _same_for_all(zone, np.maximum(after.solution.loading.max(-1) - 1.0, 0.0))


@all_zones
def operations(zone: Zone, before: GridState, after: GridState) -> Array:
    """Cost: tap moves and switchings in the zone, >= 0."""
    moves = tap_moves(zone, before, after) + capacitor_moves(zone, before, after)
    return -moves - switch_moves(zone, before, after)


@all_zones
def unserved_kwh(zone: Zone, before: GridState, after: GridState) -> Array:
    """Cost: energy that the zone's loads and devices wanted and did not get [kWh], >= 0; see ``unserved``."""
    return -unserved(zone, before, after) * 1000


@all_zones
def curtailed_kwh(zone: Zone, before: GridState, after: GridState) -> Array:
    """Cost: available sun that was not fed in [kWh], >= 0."""
    return -curtailment(zone, before, after) * 1000


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
        unserved,
        unmet,
        battery_use,
        reactive_power,
        l1,
        l2,
        bowl,
        bump,
        courant_beltrami,
    )
}
COSTS: dict[str, Term] = {f.__name__: f for f in (voltage, thermal, operations, unserved_kwh, curtailed_kwh)}


def reward_term(name: str) -> Term:
    """The reward term called ``name``, or one's own as ``package.module:function``; ValueError if unknown."""
    return REWARDS.get(name) or imported(name, "reward", REWARDS)


def cost_channel(name: str) -> Term:
    """The cost called ``name``, or one's own as ``package.module:function``; ValueError if unknown."""
    return COSTS.get(name) or imported(name, "cost", COSTS)


def _same_for_all(zone: Zone, x: Any) -> Any:
    """A value of the whole feeder, with a zone axis to broadcast along if the zones are stacked."""
    return np.asarray(x)[..., None] if zone.index.ndim else x


def _unserved_kw(after: GridState) -> Array:
    """(..., J) power that loads on dead nodes would draw [kW]; a control's own cut is counted by its device."""
    wanted, served = np.minimum(after.setpoints.kw, 0.0), after.solution.served_kw
    return np.where(served > 1e-3 * wanted, -wanted, 0.0)  # both are negative: it draws nothing worth mentioning


def _owed(zone: Zone, after: GridState) -> Array:
    return _taken(after.unmet_kwh, zone.devices, zone.device_weight)


def _taken(x: Array, index: Any, weight: Array) -> Array:
    """(...) or (..., Z) weighted sum of the entries; zero where the feeder has none of them."""
    if not x.any():  # as with most taps and switches in most steps, or where there are none
        return np.zeros((*x.shape[:-1], *index.shape[:-1]))
    return np.add.reduce(x[..., index] * weight, axis=-1)

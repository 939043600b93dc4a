"""Reward terms and cost channels: functions of (zone, before, after).

A term is the contribution (...) of one zone: the team reward is the weighted sum over terms and zones. Penalties are
<= 0; a cost is >= 0 and never enters the reward.
"""

from __future__ import annotations

import numpy as np

from dss_marl._plugins import imported_function
from dss_marl.grid.state import Array, GridState
from dss_marl.mdp import quantities
from dss_marl.mdp.market.terms import caused_excess, caused_violation, private_bill
from dss_marl.mdp.published_terms import bus_violation, discharge, loss_ratio
from dss_marl.mdp.pv_sharing import fairness
from dss_marl.mdp.quantities import estimate_off
from dss_marl.mdp.scaled_terms import Scale, Term, scaled
from dss_marl.mdp.voltage_barriers import bowl, bump, courant_beltrami, l1, l2
from dss_marl.zones import Zone, zone_batched

_ARGUMENTS = ("zone", "before", "after")


@scaled(quantities.excursion_pu)
def voltage_violation(zone: Zone) -> Scale:
    r"""Excursion outside the band, negated: the zone's share of the mean over the feeder's scored nodes [pu].

    The band is the scenario's, at the node's voltage level. A de-energised node does not count.

    Formula: $r_z = -\frac{1}{N} \sum_{n \in \mathcal{N}_z} e_n$

    Args:
        zone: whose scored nodes count.
        before, after: states around the step; v_pu is (..., N).

    Returns:
        (...), <= 0.
    """
    return Scale(over=zone.n_scored_nodes, times=-1)


@scaled(quantities.squared_deviation_pu2)
def voltage_deviation(zone: Zone) -> Scale:
    r"""Squared distance from 1 pu, negated: the zone's share of the mean over the scored nodes [pu^2].

    Formula: $r_z = -\frac{1}{N} \sum_{n \in \mathcal{N}_z} (v_n - 1)^2$
    """
    return Scale(over=zone.n_scored_nodes, times=-1)


@scaled(quantities.nodes_outside)
def violating_share(zone: Zone) -> Scale:
    r"""Share of the feeder's scored nodes that are the zone's and lie outside the band, negated [1].

    Formula: $r_z = -\frac{1}{N} \sum_{n \in \mathcal{N}_z} [e_n > 0]$
    """
    return Scale(over=zone.n_scored_nodes, times=-1)


@scaled(quantities.loss_kw)
def loss(zone: Zone) -> Scale:
    r"""The feeder's losses, negated and split evenly, since a current causes losses outside its zone [MW].

    Formula: $r_z = -\frac{P^\mathrm{loss}}{1000\,Z}$
    """
    return Scale(over=1000 * zone.count, times=-1)


@scaled(quantities.taps_moved)
def tap_moves(zone: Zone) -> Scale:
    r"""Tap moves of the zone's regulators, negated [moves].

    Formula: $r_z = -\sum_{t \in z} \lvert k_t - k_t^- \rvert$
    """
    return Scale(times=-1)


@scaled(quantities.banks_moved)
def capacitor_moves(zone: Zone) -> Scale:
    r"""Switching operations of the zone's capacitor steps, negated [operations].

    Formula: $r_z = -\sum_{c \in z} [\sigma_c \ne \sigma_c^-]$
    """
    return Scale(times=-1)


@scaled(quantities.switches_moved)
def switch_moves(zone: Zone) -> Scale:
    r"""Operations of the zone's switches, negated [operations].

    Formula: $r_z = -\sum_{s \in z} [\sigma_s \ne \sigma_s^-]$
    """
    return Scale(times=-1)


@scaled(quantities.curtailed_kwh)
def curtailment(zone: Zone) -> Scale:
    r"""Curtailed PV energy of the zone's inverters, negated [MWh].

    What converters lose because of reactive power, $p_u^\mathrm{conv}$, is not curtailed.

    Formula: $r_z = -\frac{\Delta t}{1000} \sum_{u \in z} (p_u^\mathrm{av} - p_u - p_u^\mathrm{conv})$
    """
    return Scale(over=1000, times=-1)


@scaled(quantities.converter_kw)
def converter_loss(zone: Zone) -> Scale:
    r"""Losses of the zone's converters due to reactive power, negated [MW]; ``loss`` does not contain them.

    Formula: $r_z = -\frac{1}{1000} \sum_{u \in z} p_u^\mathrm{conv}$
    """
    return Scale(over=1000, times=-1)


@scaled(quantities.kvar_magnitude)
def reactive_power(zone: Zone) -> Scale:
    r"""Absolute reactive power of the zone's inverters, negated [Mvar]; a simple proxy for losses.

    Formula: $r_z = -\frac{1}{1000} \sum_{u \in z} \lvert q_u \rvert$
    """
    return Scale(over=1000, times=-1)


@scaled(quantities.import_price)
def energy_cost(zone: Zone) -> Scale:
    r"""Cost of the feeder's import, negated and split evenly over zones [currency]; export earns the same price.

    Formula: $r_z = -\frac{1}{Z}\, c\, P^\mathrm{src} \Delta t$
    """
    return Scale(over=zone.count, times=-1)


@scaled(quantities.price_beyond_load)
def excess_cost(zone: Zone) -> Scale:
    r"""``energy_cost`` minus the cost of loads at 1 pu and full PV power, which no control can change [currency].

    The remainder comes from losses, voltage dependence of loads, PV curtailment, and charging and discharging.

    Formula: $r_z = -\frac{1}{Z}\, c \left(P^\mathrm{src} + \sum_j p_j^\mathrm{av}\right) \Delta t$

    Returns:
        (...), > 0 if control saves more than the losses cost.
    """
    return Scale(over=zone.count, times=-1)


@scaled(quantities.unserved_kwh)
def unserved(zone: Zone) -> Scale:
    r"""Unserved energy of the zone's loads and devices, weighted by priority, negated [MWh].

    A load is unserved while it is de-energised; its priority is 1 unless the scenario has ``priorities``. A device (EV,
    flexible load) counts with the energy that it owed and did not deliver, see DeviceGroup.unmet_kwh.

    Formula: $r_z = -\frac{1}{1000} \left(\Delta t \sum_{l \in z} w_l d_l + \sum_{i \in z} m_i\right)$
    """
    return Scale(over=1000, times=-1)


@scaled(quantities.owed_kwh)
def unserved_device_energy(zone: Zone) -> Scale:
    r"""Energy that the zone's devices owed and did not deliver, weighted by priority, negated [MWh].

    Formula: $r_z = -\frac{1}{1000} \sum_{i \in z} m_i$
    """
    return Scale(over=1000, times=-1)


@scaled(quantities.throughput_kwh, quantities.worn_kwh)
def battery_use(zone: Zone) -> Scale:
    r"""Energy throughput of the zone's units other than PV units, in both directions, negated: battery wear [MWh].

    A grid-forming battery counts with the power that its island draws or feeds in, a grid-forming generator does not.
    An EV counts with twice the energy that it lends to the grid (``v2g_kwh`` of its charger), which it takes back
    later; what it charges for driving is no choice of the grid's.

    Formula: $r_z = -\frac{1}{1000} \left(\Delta t \sum_{u \in z} \lvert p_u \rvert + 2 \sum_{i \in z} l_i\right)$
    """
    return Scale(over=1000, times=-1)


@scaled(quantities.fuel_l)
def fuel(zone: Zone) -> Scale:
    r"""Fuel burned by the zone's generators, negated: no-load fuel of running units, their output, and starts [l].

    Formula: $r_z = -\sum_{g \in z} \bigl(\Delta t\, (a_g + b_g \max(p_g, p_g^\mathrm{min})) + s_g\, \sigma_g\bigr)$
    """
    return Scale(times=-1)


@scaled(quantities.generated_kwh)
def generation(zone: Zone) -> Scale:
    r"""Energy fed in by the zone's units other than PV units, negated: fuel, or import from other feeders [MWh].

    A grid-forming unit counts with the power that its island draws.

    Formula: $r_z = -\frac{\Delta t}{1000} \sum_{u \in z} \max(0, p_u)$
    """
    return Scale(over=1000, times=-1)


@scaled(quantities.estimate_error_pu)
def estimation_error(zone: Zone) -> Scale:
    r"""Absolute error of the zone's voltage estimates, negated: its share of the mean over estimated nodes [pu].

    An estimate refers to the observed state, ``before``: measurements and true voltages then belong to one instant,
    while the circuit's own controls may move taps until ``after``. A de-energised node does not count.

    Formula: $r_z = -\frac{1}{M} \sum_{m \in z} \lvert v_m^\mathrm{est} - v_m^- \rvert$
    """
    return Scale(over=max(zone.all_estimated, 1), times=-1)


@scaled(quantities.stored_change_kwh)
def stored_energy(zone: Zone) -> Scale:
    r"""Change of the energy stored in the zone [MWh]; deferred energy of flexible loads counts as discharged.

    Its sum over an episode is the change until the end, so that emptying the storage before midnight earns nothing.

    Formula: $r_z = \frac{1}{1000} \sum_{i \in z} (E_i - E_i^-)$
    """
    return Scale(over=1000)


@scaled(quantities.import_above_limit_kwh)
def import_excess(zone: Zone) -> Scale:
    r"""Energy drawn above the feeder's import limit, negated and split evenly over zones [MWh].

    Each excess is priced, rather than the highest quarter of an hour of a month, so that the reward of a step depends
    neither on the peak so far nor on earlier actions.

    Formula: $r_z = -\frac{\Delta t}{1000\,Z} \max(0, P^\mathrm{src} - P^\mathrm{max})$
    """
    return Scale(over=1000 * zone.count, times=-1)


@scaled(quantities.peak_increase_kw)
def peak_increase(zone: Zone) -> Scale:
    r"""Rise of the peak on which a demand charge is billed, negated and split evenly over zones [MW].

    The device ``demand_meter`` keeps the peak. The sum over an episode is the final peak above the meter's floor, so
    the price of a megawatt of peak demand is the weight; an interval below the peak so far costs nothing.

    Formula: $r_z = -\frac{1}{1000\,Z} (\hat P - \hat P^-)$
    """
    return Scale(over=1000 * zone.count, times=-1)


@scaled(quantities.crew_dollars)
def crew_cost(zone: Zone) -> Scale:
    r"""Cost of the hours that the zone's repair crews worked, and of the kilometres that they drove, negated [$].

    Formula: $r_z = -\sum_{i \in z} (c_i^\mathrm{h} h_i + c_i^\mathrm{km} s_i)$
    """
    return Scale(times=-1)


@scaled(quantities.highest_overload)
def overload(zone: Zone) -> Scale:
    r"""Highest overload of a line or transformer of the feeder, negated and split evenly over zones [1].

    Formula: $r_z = -\frac{1}{Z} \max(0, \max_b \ell_b - 1)$
    """
    return Scale(over=zone.count, times=-1)


@scaled(quantities.excursion_pu)
def voltage_violation_sum(zone: Zone) -> Scale:
    r"""Cost: sum of the excursions outside the band at the zone's scored nodes [pu], >= 0.

    Formula: $c_z = \sum_{n \in \mathcal{N}_z} e_n$
    """
    return Scale()


@scaled(quantities.highest_overload)
def thermal_overload(zone: Zone) -> Scale:
    r"""Cost: highest loading in excess of 1 on the feeder [1], >= 0; equal for all zones.

    Formula: $c_z = \max(0, \max_b \ell_b - 1)$
    """
    return Scale()


@scaled(quantities.taps_moved, quantities.banks_moved, quantities.switches_moved)
def operations(zone: Zone) -> Scale:
    r"""Cost: tap moves and switching operations in the zone, >= 0.

    Formula: $c_z = \sum_{t \in z} \lvert k_t - k_t^- \rvert + \sum_{s \in z} [\sigma_s \ne \sigma_s^-]$
    """
    return Scale()


@scaled(quantities.unserved_kwh)
def unserved_kwh(zone: Zone) -> Scale:
    r"""Cost: unserved energy of the zone's loads and devices, weighted by priority [kWh], >= 0.

    Formula: $c_z = \Delta t \sum_{l \in z} w_l d_l + \sum_{i \in z} m_i$
    """
    return Scale(over=1000, times=1000)


@scaled(quantities.curtailed_kwh)
def curtailed_kwh(zone: Zone) -> Scale:
    r"""Cost: curtailed PV energy [kWh], >= 0.

    Formula: $c_z = \Delta t \sum_{u \in z} (p_u^\mathrm{av} - p_u - p_u^\mathrm{conv})$
    """
    return Scale(over=1000, times=1000)


@zone_batched
def estimation_worst(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Cost: largest error of the zone's voltage estimates [pu], >= 0.

    Formula: $c_z = \max_{m \in z} \lvert v_m^\mathrm{est} - v_m^- \rvert$
    """
    return np.abs(estimate_off(zone, before, after)).max(axis=-1, initial=0.0)


@zone_batched
def misclassified_nodes(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Cost: number of the zone's nodes estimated on the wrong side of a limit of the band [nodes], >= 0.

    Formula: $c_z = \sum_{m \in z} [\mathrm{side}(v_m^\mathrm{est}) \ne \mathrm{side}(v_m^-)]$
    """
    off = estimate_off(zone, before, after)
    if not off.any():
        return np.zeros(off.shape[:-1])
    true = before.solution.v_pu[..., zone.estimated]
    estimate = true + off
    low, high = (band := zone.band.at(zone.estimated)).low, band.high
    return _weighted(((estimate < low) != (true < low)) | ((estimate > high) != (true > high)), zone)


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
        converter_loss,
        energy_cost,
        excess_cost,
        unserved,
        unserved_device_energy,
        battery_use,
        fuel,
        generation,
        estimation_error,
        stored_energy,
        import_excess,
        peak_increase,
        crew_cost,
        overload,
        reactive_power,
        fairness,
        private_bill,
        caused_excess,
        caused_violation,
        l1,
        l2,
        bowl,
        bump,
        courant_beltrami,
        bus_violation,
        loss_ratio,
        discharge,
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


def _weighted(x: Array, zone: Zone) -> Array:
    """(...) or (..., Z) sum of (..., e) over the zone's estimated nodes."""
    return np.add.reduce(x * zone.estimate_weight, axis=-1)

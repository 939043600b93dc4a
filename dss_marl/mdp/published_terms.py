"""Terms of a published volt-var gym: violation of the worst phase of each bus, loss ratio, and discharge over rating.

Its reward is their sum, with weights per feeder, and that of ``tap_moves``, ``capacitor_moves`` and, in variants, of
``unserved_device_energy``; docs/comparability.md has the weights.

Source: Fan, Lee, Wang, PowerGym: A Reinforcement Learning Environment for Volt-Var Control in Power Distribution
Systems, arXiv:2109.03970, and its published code.
"""

from __future__ import annotations

import numpy as np

from dss_marl.grid.state import V_HIGH, V_LOW, Array, GridState
from dss_marl.mdp.scaled_terms import Scale, scaled
from dss_marl.zones import Zone


def bus_excursion_pu(zone: Zone, before: GridState, after: GridState) -> Array:
    """Highest excursion above V_HIGH plus highest excursion below V_LOW of each bus, summed over the buses [pu]."""
    v_pu = after.solution.v_alive
    above, below = np.maximum(v_pu - V_HIGH, 0.0), np.maximum(V_LOW - v_pu, 0.0)
    return zone.total_over_buses(above, np.maximum) + zone.total_over_buses(below, np.maximum)


def loss_share(zone: Zone, before: GridState, after: GridState) -> Array:
    """The feeder's losses over what its sources deliver, cut to 0 to 1; 0 while they take power [1]."""
    source_kw = np.asarray(after.solution.source_kw)
    share = np.divide(after.solution.loss_kw, source_kw, out=np.zeros(source_kw.shape), where=source_kw > 0)
    share = np.clip(share, 0.0, 1.0)
    return share[..., None] if zone.index.ndim else share


def discharged_share(zone: Zone, before: GridState, after: GridState) -> Array:
    """Power set to be fed in over rating, summed over the zone's units other than PV units [1]."""
    kw = np.maximum(after.setpoints.kw, 0.0)
    total = (kw.take(zone.units, axis=-1) * (zone.unit_weight / zone.unit_kw)).sum(axis=-1)
    return np.asarray(total - (kw.take(zone.pv_units, axis=-1) * (zone.pv_unit_weight / zone.pv_unit_kw)).sum(axis=-1))


@scaled(bus_excursion_pu)
def bus_violation(zone: Zone) -> Scale:
    r"""Excursion outside 0.95 to 1.05 pu of the worst phase of each bus, negated and summed over the buses [pu].

    The highest voltage of a bus counts above the band and its lowest below, so that a bus may count twice. A
    de-energised node does not count. The sum grows with the feeder; ``voltage_violation`` is a mean.

    Formula: $r_z = -\sum_{b \in z} \left(\max_{n \in b}\,[v_n - 1.05]^+ + \max_{n \in b}\,[0.95 - v_n]^+\right)$
    """
    return Scale(times=-1)


@scaled(loss_share)
def loss_ratio(zone: Zone) -> Scale:
    r"""The feeder's losses over the power of its sources, at most 1, negated and split evenly over zones [1].

    While the feeder exports, the ratio is 0.

    Formula: $r_z = -\frac{1}{Z} \min\left(1, \frac{P^\mathrm{loss}}{P^\mathrm{src}}\right)$
    """
    return Scale(over=zone.count, times=-1)


@scaled(discharged_share)
def discharge(zone: Zone) -> Scale:
    r"""Power set to be fed in by the zone's units other than PV units, over their ratings, negated [1].

    Unlike ``battery_use`` it counts no charging, and every unit alike whatever its size.

    Formula: $r_z = -\sum_{u \in z} \max(0, p_u) / P_u$
    """
    return Scale(times=-1)

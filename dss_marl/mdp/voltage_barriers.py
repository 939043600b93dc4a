"""Voltage barrier functions: five penalties on the deviation of voltages from 1 pu.

They are those of a published multi-agent benchmark. Its reward is a barrier with weight 1 plus ``reactive_power`` with
weight 0.1 over the number of inverters. Each is a function of voltages (..., N) [pu], symmetric about 1 pu; as a reward
term it is the zone's share of the mean over the feeder's scored nodes, negated. A de-energised node counts as 1 pu.

Source: Wang et al., Multi-agent reinforcement learning for active voltage control on power distribution networks,
NeurIPS 2021, arXiv:2110.14300, and the constants of its published code.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.grid.state import Array, GridState, beyond_band
from dss_marl.zones import Zone, zone_batched

_BELL = 0.1  # standard deviation of the bowl's bottom [pu]
_BOWL = (1.05 - 0.95) / 2  # half the width of its bottom [pu]: its constants hold for no other


def l1_of(v_pu: Array) -> Array:
    """|v - 1|: constant slope, in band too."""
    return np.abs(v_pu - 1)


def l2_of(v_pu: Array) -> Array:
    """2 (v - 1)^2: nearly flat in band."""
    return 2 * (v_pu - 1) ** 2


def bowl_of(v_pu: Array) -> Array:
    """2 |v - 1| - 0.095 outside 0.95 to 1.05 pu, else 0.04 - 0.01 N(v; 1, 0.1), with the normal density N."""
    off = np.abs(v_pu - 1)
    density = np.exp(-((off / _BELL) ** 2) / 2) / (_BELL * np.sqrt(2 * np.pi))
    return np.where(off > _BOWL, 2 * off - 0.095, 0.04 - 0.01 * density)


def bump_of(v_pu: Array) -> Array:
    """exp(-1 / (1 - v^4)) below 1 pu, the same of 2 - v above: infinitely smooth, 0 at 1 pu and from 2 pu on."""
    u = np.minimum(np.abs(v_pu), np.abs(v_pu - 2))
    room = 1 - np.minimum(u, 1.0) ** 4
    return np.exp(-1 / np.where(room > 0, room, 1.0)) * (room > 0)


def courant_beltrami_of(v_pu: Array, low: Any, high: Any) -> Array:
    """max(0, v - high)^2 + max(0, low - v)^2: zero in band, and small near it."""
    return np.asarray(beyond_band(v_pu, low, high) ** 2)


@zone_batched
def l1(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Barrier: mean |v - 1| over the scored nodes, negated [pu].

    Formula: $r_z = -\frac{1}{N} \sum_{n \in \mathcal{N}_z} \lvert v_n - 1 \rvert$
    """
    return _negated_mean(zone, l1_of(after.solution.v_alive))


@zone_batched
def l2(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Barrier: mean 2 (v - 1)^2 over the scored nodes, negated [pu^2].

    Formula: $r_z = -\frac{1}{N} \sum_{n \in \mathcal{N}_z} 2 (v_n - 1)^2$
    """
    return _negated_mean(zone, l2_of(after.solution.v_alive))


@zone_batched
def bowl(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Barrier: flat from 0.95 to 1.05 pu, whatever the band; mean over the scored nodes, negated [1].

    B(v) is 2 abs(v - 1) - 0.095 beyond, and 0.04 - 0.01 times the normal density of mean 1, deviation 0.1 between.

    Formula: $r_z = -\frac{1}{N} \sum_{n \in \mathcal{N}_z} B(v_n)$
    """
    return _negated_mean(zone, bowl_of(after.solution.v_alive))


@zone_batched
def bump(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Barrier: infinitely smooth; mean over the scored nodes, negated [1].

    Formula: $r_z = -\frac{1}{N} \sum_{n \in \mathcal{N}_z} \exp\frac{-1}{1 - u_n^4}, \quad u_n = \min(v_n, 2 - v_n)$
    """
    return _negated_mean(zone, bump_of(after.solution.v_alive))


@zone_batched
def courant_beltrami(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Barrier: mean squared excursion outside the band over the scored nodes, negated [pu^2].

    Formula: $r_z = -\frac{1}{N} \sum_{n \in \mathcal{N}_z} e_n^2$
    """
    band = zone.band
    return _negated_mean(zone, courant_beltrami_of(after.solution.v_alive, band.low, band.high))


def _negated_mean(zone: Zone, barrier: Array) -> Array:
    return -zone.total(barrier) / zone.n_scored_nodes

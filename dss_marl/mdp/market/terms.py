"""Reward terms and observations of a community market."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.grid.state import Array, GridState
from dss_marl.mdp.market.market import Market
from dss_marl.zones import Zone, zone_batched


def needs_market(term: Any) -> Any:
    """Mark a term that only a scenario with a ``market`` can have."""
    term.needs_market = True
    return term


@needs_market
@zone_batched
def private_bill(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Bill of the zone's members of the community market, negated [currency].

    What each pays for the energy that it draws, less what it earns for what it feeds in, from members and the grid; see
    the scenario's ``market``. Payments between members sum to zero.

    Formula: $r_z = -\sum_{i \in z} b_i$
    """
    return -_of_members(zone, market_of(zone).settled(after).paid)


@needs_market
@zone_batched
def caused_excess(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Energy drawn above the feeder's import limit, negated, at those members who draw [MWh].

    The sum over all zones is that of ``import_excess``. Members share it in proportion to the power that they draw.

    Formula: $r_z = -\sum_{i \in z} s_i \frac{\Delta t}{1000} \max(0, P^\mathrm{src} - P^\mathrm{max})$
    """
    market = market_of(zone)
    beyond = np.maximum(after.solution.source_kw - after.import_limit_kw, 0.0) * after.dt_h / 1000
    return -_of_members(zone, market.excess_shares(market.net_kw(after)) * np.asarray(beyond)[..., None])


@needs_market
@zone_batched
def caused_violation(zone: Zone, before: GridState, after: GridState) -> Array:
    r"""Excursions outside the band, negated, at those members who cause them: a share of the mean [pu].

    The sum over all zones is that of ``voltage_violation``. Feeding in causes voltages above the band, drawing those
    below it, each in proportion to the power and to the resistance of the common way to the source; see ``Market``.

    Formula: $r_z = -\sum_{i \in z} s_i \frac{1}{N} \sum_n e_n$
    """
    market = market_of(zone)
    out = after.solution.excursion(zone.band)[..., market.scored].sum(axis=-1) / max(zone.n_scored_nodes, 1)
    shares = market.violation_shares(market.net_kw(after), after.solution.v_alive, zone.band)
    return -_of_members(zone, shares * np.asarray(out)[..., None])


def market_of(zone: Zone) -> Market:
    """The market of a zone.

    Raises:
        ValueError: the scenario has none.
    """
    if zone.market is None:
        raise ValueError(f"{zone.name} has no market; give the scenario the key 'market'")
    market: Market = zone.market
    return market


def _of_members(zone: Zone, values: Array) -> Array:
    """(...) or (..., Z) sum of (..., P) over the zone's members."""
    return np.add.reduce(values[..., zone.members] * zone.member_weight, axis=-1)


def member_load_kw(zone: Zone, injections_kw: Array) -> Array:
    """(...) or (..., Z) uncontrolled load of the zone's members, from (..., J) injections."""
    market = market_of(zone)
    return _of_members(zone, -(injections_kw[..., market.loads] * market.load_weight).sum(axis=-1))


def mean_of_members(zone: Zone, values: Array) -> Array:
    """As the sum over the zone's members, but their mean; 0 without any."""
    return _of_members(zone, values) / np.maximum(zone.member_weight.sum(axis=-1), 1.0)

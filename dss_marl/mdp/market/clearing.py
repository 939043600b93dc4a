"""Clearing of a community market: what its members pay and earn for the energy of an interval.

Members who draw buy from those who feed in; what remains is bought from the grid at the retail price, or sold to it at
the feed-in tariff. Payments within the community sum to zero, so that clearing decides who gains from trade, not how
much: all members together pay for what they exchange with the grid, and charges for the use of the local network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dss_marl.grid.state import Array


class Prices(NamedTuple):
    """Prices of an interval [currency/kWh].

    Attributes:
        retail: (...) of energy from the grid, with all fees.
        feed_in: (...) for energy to the grid, at most the retail price.
        local_fee: charge per kWh traded within the community.
        way_fee: (P, P) further charge on trade between two members; ``mid_market`` does without.
    """

    retail: Array
    feed_in: Array
    local_fee: float = 0.0
    way_fee: Array | None = None


class Clearing(NamedTuple):
    """Result of clearing an interval.

    Attributes:
        paid: (..., P) bill of each member, negative if it earns [currency].
        buying, selling: (..., P) mean price that it would pay per kWh drawn, and earn per kWh fed in [currency/kWh].
        traded_kwh: (...) energy traded within the community.
        charges: (...) charges for it [currency].
    """

    paid: Array
    buying: Array
    selling: Array
    traded_kwh: Array
    charges: Array


def mid_market(net_kwh: Array, prices: Prices) -> Clearing:
    """Trade at the middle between feed-in tariff and retail price less the local fee, shared in proportion.

    If more is fed in than drawn, every seller sells the same share of its energy within the community, and the rest to
    the grid; if more is drawn, every buyer buys the same share of its energy there.

    Args:
        net_kwh: (..., P) energy that each member drew, negative if it fed in.
        prices: of the interval.

    Source: Long et al., Peer-to-peer energy trading in a community microgrid, IEEE PES General Meeting 2017,
    doi:10.1109/PESGM.2017.8274546.
    """
    retail, feed_in = np.asarray(prices.retail), np.asarray(prices.feed_in)
    drawn, fed = np.maximum(net_kwh, 0.0), np.maximum(-net_kwh, 0.0)
    demand, supply = drawn.sum(axis=-1), fed.sum(axis=-1)
    worth = retail - prices.local_fee > feed_in
    traded = np.where(worth, np.minimum(demand, supply), 0.0)
    middle = (retail - prices.local_fee + feed_in) / 2
    within = _share(traded, demand, supply > 0)  # of a kWh drawn; of the first one, if nobody draws
    without = _share(traded, supply, demand > 0)
    within, without = np.where(worth, within, 0.0), np.where(worth, without, 0.0)
    buying = within * (middle + prices.local_fee) + (1 - within) * retail
    selling = without * middle + (1 - without) * feed_in
    paid = drawn * buying[..., None] - fed * selling[..., None]
    each = np.ones(net_kwh.shape[-1])
    return Clearing(paid, buying[..., None] * each, selling[..., None] * each, traded, traded * prices.local_fee)


def _share(traded: Array, own: Array, others: Array) -> Array:
    return np.where(own > 0, traded / np.where(own > 0, own, 1.0), np.asarray(others, float))


def peer_to_peer(net_kwh: Array, prices: Prices) -> Clearing:
    """Trades between pairs that save the community most, at the prices of the dual of this linear program.

    A kWh from i to j saves the difference of retail price and feed-in tariff, less the charges on the way from i to j.
    The dual variable of a member's energy is what one more kWh of it would save. It is paid on top of the feed-in
    tariff, or off the retail price, so that no pair would rather trade otherwise (a competitive equilibrium). In an
    exact balance of supply and demand these prices are not unique. HiGHS solves the program, by ``scipy``.

    Args:
        net_kwh, prices: as of ``mid_market``.
    """
    shape, members = net_kwh.shape[:-1], net_kwh.shape[-1]
    rows = net_kwh.reshape(-1, members)
    retail, feed_in = (np.broadcast_to(price, shape).ravel() for price in (prices.retail, prices.feed_in))
    fees = prices.local_fee + (np.zeros((members, members)) if prices.way_fee is None else prices.way_fee)
    cleared = [_matched(own, p, q, fees) for own, p, q in zip(rows, retail, feed_in, strict=True)]
    paid, buying, selling, traded, charges = (np.array(column) for column in zip(*cleared, strict=True))
    wide = (*shape, members)
    return Clearing(
        paid.reshape(wide), buying.reshape(wide), selling.reshape(wide), traded.reshape(shape), charges.reshape(shape)
    )


def _matched(net_kwh: Array, retail: float, feed_in: float, fees: Array) -> tuple[Array, Array, Array, float, float]:
    """Paid, buying and selling price (P), traded energy and charges of one interval."""
    sellers, buyers = np.flatnonzero(net_kwh < 0), np.flatnonzero(net_kwh > 0)
    buying, selling = np.full(len(net_kwh), retail), np.full(len(net_kwh), feed_in)
    traded = charges = 0.0
    if len(sellers) and len(buyers):
        saving = retail - feed_in - fees[np.ix_(sellers, buyers)]
        each = np.arange(saving.size)
        uses = np.zeros((len(sellers) + len(buyers), saving.size))
        uses[each // len(buyers), each] = 1.0
        uses[len(sellers) + each % len(buyers), each] = 1.0
        limits = np.concatenate([-net_kwh[sellers], net_kwh[buyers]])
        from scipy.optimize import linprog  # heavy, and only this clearing needs it

        found = linprog(-saving.ravel(), A_ub=uses, b_ub=limits, method="highs")
        worth = -np.asarray(found.ineqlin.marginals)
        selling[sellers] += worth[: len(sellers)]
        buying[buyers] -= worth[len(sellers) :]
        traded, charges = float(found.x.sum()), float(found.x @ fees[np.ix_(sellers, buyers)].ravel())
    paid = np.where(net_kwh > 0, net_kwh * buying, net_kwh * selling)
    return paid, buying, selling, traded, charges


CLEARINGS: dict[str, Callable[[Array, Prices], Clearing]] = {"mid_market": mid_market, "peer_to_peer": peer_to_peer}

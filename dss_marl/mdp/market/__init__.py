"""A community market: members trade with each other before they trade with the grid, and pay their own bills."""

from __future__ import annotations

from dss_marl.mdp.market.clearing import CLEARINGS, Clearing, Prices, mid_market, peer_to_peer
from dss_marl.mdp.market.market import Market, MarketSpec, with_market

__all__ = [
    "CLEARINGS",
    "Clearing",
    "Market",
    "MarketSpec",
    "Prices",
    "mid_market",
    "peer_to_peer",
    "with_market",
]

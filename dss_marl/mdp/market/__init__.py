"""A community market: members trade energy with each other before they trade with the grid, and pay bills of their own."""

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

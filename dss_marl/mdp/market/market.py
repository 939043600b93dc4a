"""Market: the members of a community, their tariff, and the shares of common costs that each of them causes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import networkx as nx
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, GridState, IntArray
from dss_marl.grid.voltage_band import VoltageBand
from dss_marl.mdp.market.clearing import CLEARINGS, Clearing, Prices
from dss_marl.zones import Zone, ZoneRows


class MarketSpec(BaseModel):
    """A community whose members trade energy with each other; the bill of each is the reward term ``private_bill``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)

    members: tuple[str, ...] = Field(default=(), description="buses of the members; empty: every bus with a device")
    grid_fee: float = Field(
        default=0.15, ge=0, description="network charges and taxes on energy from the grid, above its price [1/kWh]"
    )
    feed_in: float = Field(
        default=0.05, ge=0, description="tariff of energy fed into the grid, at most the retail price [1/kWh]"
    )
    local_fee: float = Field(default=0.05, ge=0, description="network charge on energy traded within [1/kWh]")
    way_fee: float = Field(
        default=0.0, ge=0, description="of peer_to_peer: further charge per km of line between two members [1/kWh/km]"
    )
    clearing: Literal["mid_market", "peer_to_peer"] = Field(
        default="mid_market", description="price of energy traded within: in the middle, or of a linear program's dual"
    )

    @model_validator(mode="after")
    def _on_pairs(self) -> MarketSpec:
        if self.way_fee and self.clearing != "peer_to_peer":
            raise ValueError("way_fee depends on who trades with whom: set clearing to peer_to_peer, or way_fee to 0")
        return self


@dataclass(frozen=True)
class Market:
    """The market of a community of P members.

    A member is a bus: all loads and units there are behind one meter. Costs that the members share go to those that
    cause them: the excess over the feeder's import limit in proportion to what each draws, and voltages outside the
    band in proportion to what each feeds in (draws), times the resistance that its way to the source and that of a node
    above (below) the band have in common, on the same phase. What nobody causes is shared evenly.

    Attributes:
        spec: its tariff.
        buses: (P) of the members.
        injections, weight: (P, k) indices in the feeder's injections of all that is behind each meter; weight 0 where
            padded.
        loads, load_weight: (P, l) likewise of the loads.
        reach: (P, N) resistance of the lines that a member and a node have in common on the way to the source [ohm].
        between_km: (P, P) length of the lines between two members [km].
        scored: (n) the nodes whose voltage counts.
    """

    spec: MarketSpec
    buses: tuple[str, ...]
    injections: IntArray
    weight: Array
    loads: IntArray
    load_weight: Array
    reach: Array
    between_km: Array
    scored: IntArray

    @classmethod
    def build(cls, spec: MarketSpec, feeder: Feeder, device_buses: Sequence[str], scored: IntArray) -> Market:
        """The market on a feeder.

        Args:
            spec: the scenario's.
            feeder: the circuit with the scenario's units.
            device_buses: buses with a device.
            scored: nodes whose voltage counts.

        Raises:
            ValueError: a member does not exist, is named twice, or has neither load nor unit; or there is only one.
        """
        named = [feeder.bus(bus).name for bus in spec.members] or list(dict.fromkeys(device_buses))
        if len(set(named)) < max(len(named), 2):
            raise ValueError(f"market: two or more members, all different, are needed; got {', '.join(named)}")
        own = [[j for j, row in enumerate(feeder.injections) if row.bus == bus] for bus in named]
        empty = [bus for bus, rows in zip(named, own, strict=True) if not rows]
        if empty:
            raise ValueError(f"market: bus {empty[0]!r} has neither a load nor a unit, so it cannot be a member")
        loads = [[j for j in rows if feeder.injections[j].kind == "load"] for rows in own]
        reach, between = _ways(feeder, named, [rows[0] for rows in own])
        return cls(spec, tuple(named), *_padded(own), *_padded(loads), reach, between, scored)

    @cached_property
    def _way_fee(self) -> Array | None:
        return self.spec.way_fee * self.between_km if self.spec.way_fee else None

    def prices(self, price: Array) -> Prices:
        """The tariff at an energy price (...) [currency/kWh]."""
        retail = np.asarray(price) + self.spec.grid_fee
        return Prices(retail, np.minimum(self.spec.feed_in, retail), self.spec.local_fee, self._way_fee)

    def net_kw(self, state: GridState) -> Array:
        """(..., P) power that each member draws, negative if it feeds in."""
        return -(state.solution.served_kw[..., self.injections] * self.weight).sum(axis=-1)

    def cleared(self, net_kwh: Array, price: Array) -> Clearing:
        """Clearing of energies (..., P) at an energy price (...)."""
        return CLEARINGS[self.spec.clearing](net_kwh, self.prices(price))

    def settled(self, state: GridState) -> Clearing:
        """Clearing of an interval."""
        return self.cleared(self.net_kw(state) * state.dt_h, state.price[..., 0])

    def excess_shares(self, net_kw: Array) -> Array:
        """(..., P) shares of the excess over the import limit, by what each member draws [1]."""
        return _shares(np.maximum(net_kw, 0.0))

    @cached_property
    def _scored_reach(self) -> Array:
        return np.ascontiguousarray(self.reach[:, self.scored].T)

    def violation_shares(self, net_kw: Array, v_pu: Array, band: VoltageBand) -> Array:
        """(..., P) shares of the voltages outside the band [1].

        Args:
            net_kw: (..., P) power that each member draws.
            v_pu: (..., N) voltages, 1 where de-energised.
            band: of the feeder's nodes.
        """
        limits = band.at(self.scored)
        v, reach = v_pu[..., self.scored], self._scored_reach
        above, below = np.maximum(v - limits.high, 0.0) @ reach, np.maximum(limits.low - v, 0.0) @ reach
        return self.shares_of(net_kw, above, below)

    @staticmethod
    def shares_of(net_kw: Array, above: Array, below: Array) -> Array:
        """(..., P) shares of members by what they draw (..., P), and how far each reaches nodes above and below."""
        return _shares(np.maximum(-net_kw, 0.0) * above + np.maximum(net_kw, 0.0) * below)


def with_market(zones: Sequence[Zone], market: Market) -> tuple[Zone, ...]:
    """The zones with the market, and each with the members at its buses."""
    found = []
    for zone in zones:
        own = set(zone.buses)
        index = np.array([i for i, bus in enumerate(market.buses) if bus in own], dtype=np.int64)
        found.append(replace(zone.with_rows(members=ZoneRows.of(index)), market=market))
    return tuple(found)


def _shares(parts: Array) -> Array:
    total = parts.sum(axis=-1, keepdims=True)
    even = np.full(parts.shape[-1], 1 / parts.shape[-1])
    return np.where(total > 0, parts / np.where(total > 0, total, 1.0), even)


def _padded(rows: Sequence[Sequence[int]]) -> tuple[IntArray, Array]:
    width = max(1, *map(len, rows))
    index, weight = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width))
    for i, own in enumerate(rows):
        index[i, : len(own)], weight[i, : len(own)] = own, 1.0
    return index, weight


def _ways(feeder: Feeder, buses: Sequence[str], rows: Sequence[int]) -> tuple[Array, Array]:
    """``Market.reach`` and ``between_km``, over the lines of the feeder's tree of fewest branches from the source."""
    graph = feeder.graph()
    before = dict(nx.bfs_predecessors(graph, feeder.source_bus))
    order = [feeder.source_bus, *before]
    r_ohm, far_km = dict.fromkeys(order, 0.0), dict.fromkeys(order, 0.0)
    for bus in order[1:]:
        edge = graph.edges[before[bus], bus]
        line = edge["kind"] == "line"  # ohms of a transformer refer to another voltage
        r_ohm[bus] = r_ohm[before[bus]] + (edge["r_ohm"] if line else 0.0)
        far_km[bus] = far_km[before[bus]] + (edge["length_km"] if line else 0.0)
    reach, between = np.zeros((len(buses), len(feeder.nodes))), np.zeros((len(buses), len(buses)))
    bus_of_node = [feeder.buses[bus].name for bus in feeder.node_bus]
    phase_of = np.array([int(name.rsplit(".", 1)[1]) for name in feeder.nodes])
    for i, (bus, row) in enumerate(zip(buses, rows, strict=True)):
        joint = _joint(order, before, bus)
        same = np.isin(phase_of, feeder.injections[row].phases)
        reach[i] = same * np.array([r_ohm[joint[other]] if other in joint else 0.0 for other in bus_of_node])
        between[i] = [far_km[bus] + far_km[other] - 2 * far_km[joint[other]] for other in buses]
    return reach, between


def _joint(order: Sequence[str], before: dict[str, str], bus: str) -> dict[str, str]:
    """For every bus, the last one that its way from the source has in common with that of ``bus``."""
    way = [bus]
    while way[-1] in before:
        way.append(before[way[-1]])
    joint = {one: one for one in way}
    for other in order:
        joint.setdefault(other, joint[before.get(other, other)])
    return joint

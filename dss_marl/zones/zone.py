"""A zone: a set of buses with the indices of its elements; a single zone, or all zones as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dss_marl.grid.state import DEAD_V_PU, V_SCALE, Array, IntArray, Solution
from dss_marl.grid.voltage_band import VoltageBand
from dss_marl.zones.rows import ZoneRows, stack_rows

Limits = tuple[NDArray[Any], NDArray[Any]]


def _index(kind: str) -> cached_property[IntArray]:
    return cached_property(lambda zone: zone.rows[kind].index)


def _weight(kind: str) -> cached_property[Array]:
    return cached_property(lambda zone: zone.rows[kind].weight)


def _column(kind: str, column: str) -> cached_property[Any]:
    return cached_property(lambda zone: zone.rows[kind].columns[column])


@dataclass(frozen=True)
class Zone:
    """One zone, or all zones as one.

    For one zone every index array is 1-D. Stacked (``name`` is ``"all"``), the rows of each kind gain a leading axis Z
    and are padded with index 0 and weight 0; ``lowest``, ``mean``, ``highest`` and ``total`` of node values then give
    (..., Z) instead of (...). So one function serves one zone and all.

    The contents of the zone are in ``rows``, by kind: ``zone.rows["units"].index``. The same under a short name:

    - loads, load_weight, load_priority: (l) indices of the zone's loads in the injections; weight 1, or 0 where
      padded; weight of its unserved energy, 1 unless the scenario sets priorities.
    - units, unit_weight, unit_kw: (u) indices of the zone's other injections, and their ratings [kW].
    - unit_nodes, unit_node_weight: (u, 3) the nodes of each unit; the weights of a unit sum to 1.
    - pv_units, pv_unit_weight, pv_unit_kw, pv_places: (p) those of the units that are PV units, their peak power [kW],
      and their positions among all PV units of the feeder.
    - unworn_units, unworn_unit_weight: (v) those of the units whose throughput wears no battery: PV units and chargers.
    - own_units, own_unit_weight, own_unit_kw: (o) likewise those of the agent's own devices.
    - bus_rows, bus_row_weight: (b) indices of its buses.
    - node_rows, node_row_weight: (n) indices of its nodes.
    - bus_nodes, bus_node_weight: (b, 3) the nodes of each bus; the weights of a bus sum to 1.
    - bus_loads, bus_load_weight: (b, l) indices of the loads at each bus in the injections.
    - taps, tap_weight, tap_nodes: (r) indices of the tapped windings that regulate a bus of the zone, and the node
      that each regulates.
    - capacitors, capacitor_weight: (c) indices in the Feeder's switches of the capacitor steps at its buses.
    - switches, switch_weight: (s) likewise of the switchable lines, each in the zone of its first bus.
    - borders, border_weight: (b) indices of the branches to other zones.
    - devices, device_weight: (d) indices of its devices, kind after kind.
    - actions, action_weight: (w) indices of its devices' entries in the joint action; weight 0 for unused entries.
    - telemetry, telemetry_weight: (m) likewise in the devices' telemetry.
    - demand_meters, demand_meter_weight: (q) places of the billed peaks in the device state, in every zone the same.
    - crew_costs, crew_cost_weight: (y) places of the costs of its crews in the device state.
    - requests, request_weight, request_missed, request_loss_share, request_kvar_weight: (q) places of the flexibility
      request in the telemetry, and of what it misses in the device state, and its settings; in every zone the same.
    - meters, meter_weight: (v) indices of its nodes with a voltage meter.
    - estimated, estimate_weight, estimates: (e) indices of the nodes whose voltage its devices estimate, and where in
      the devices' state these estimates are.
    - members, member_weight: (c) indices of the members of the community market at its buses.

    Attributes:
        name: the agent's name.
        buses: bus names.
        nodes: (n) node indices; stacked, zone after zone.
        scored_nodes: (n) the nodes that count in rewards and metrics, likewise.
        rows: its contents by kind; see ROW_KINDS.
        index: position among the zones; (Z) when stacked.
        count: number of zones Z.
        n_scored_nodes: number of scored nodes on the whole feeder.
        all_estimated: number of estimated nodes on the whole feeder.
        kinds: (k) 1 for each of the scenario's kinds of device that it has.
        entries: labels of the rows of ``actions``, ``telemetry``, ``kinds`` and ``names``.
        starts: stacked, (Z) where each zone's nodes begin in ``scored_nodes``; None for one zone.
        band: voltage limits of the feeder's nodes.
        market: the community market of the scenario (``mdp.market.Market``), of all zones; None without one.
        scored_by_bus: (n) ``scored_nodes`` bus by bus, and ``scored_bus_starts``: where those of each bus begin in it.
    """

    name: str
    buses: tuple[str, ...]
    nodes: IntArray
    scored_nodes: IntArray
    rows: Mapping[str, ZoneRows]
    index: IntArray
    count: int
    n_scored_nodes: int
    all_estimated: int = 0
    kinds: Array = field(default_factory=lambda: np.zeros(0))
    entries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    starts: IntArray | None = None
    band: VoltageBand = field(default_factory=VoltageBand)
    market: Any = None
    scored_by_bus: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    scored_bus_starts: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))

    # Cached, because terms and features read them in every step.
    loads, load_weight, load_priority = _index("loads"), _weight("loads"), _column("loads", "priority")
    units, unit_weight, unit_kw = _index("units"), _weight("units"), _column("units", "kw")
    unit_nodes, unit_node_weight = _column("units", "nodes"), _column("units", "node_weight")
    pv_units, pv_unit_weight, pv_unit_kw = _index("pv_units"), _weight("pv_units"), _column("pv_units", "kw")
    pv_places = _column("pv_units", "places")
    unworn_units, unworn_unit_weight = _index("unworn_units"), _weight("unworn_units")
    own_units, own_unit_weight, own_unit_kw = _index("own_units"), _weight("own_units"), _column("own_units", "kw")
    bus_rows, bus_row_weight = _index("bus_rows"), _weight("bus_rows")
    node_rows, node_row_weight = _index("node_rows"), _weight("node_rows")
    bus_nodes, bus_node_weight = _column("bus_rows", "nodes"), _column("bus_rows", "node_weight")
    bus_loads, bus_load_weight = _column("bus_rows", "loads"), _column("bus_rows", "load_weight")
    taps, tap_weight, tap_nodes = _index("taps"), _weight("taps"), _column("taps", "nodes")
    capacitors, capacitor_weight = _index("capacitors"), _weight("capacitors")
    switches, switch_weight = _index("switches"), _weight("switches")
    borders, border_weight = _index("borders"), _weight("borders")
    devices, device_weight = _index("devices"), _weight("devices")
    actions, action_weight = _index("actions"), _weight("actions")
    telemetry, telemetry_weight = _index("telemetry"), _weight("telemetry")
    demand_meters, demand_meter_weight = _index("demand_meters"), _weight("demand_meters")
    crew_costs, crew_cost_weight = _index("crew_costs"), _weight("crew_costs")
    requests, request_weight = _index("requests"), _weight("requests")
    request_missed, request_loss_share = _column("requests", "missed"), _column("requests", "loss_share")
    request_kvar_weight = _column("requests", "kvar_weight")
    meters, meter_weight = _index("meters"), _weight("meters")
    estimated, estimate_weight = _index("estimated"), _weight("estimated")
    estimates = _column("estimated", "places")
    members, member_weight = _index("members"), _weight("members")

    def with_rows(self, **rows: ZoneRows) -> Zone:
        """A copy with other rows of these kinds."""
        return replace(self, rows={**self.rows, **rows})

    @cached_property
    def scored_band(self) -> VoltageBand:
        """The band of ``scored_nodes``."""
        return self.band.at(self.scored_nodes)

    def with_priorities(self, weight: Array) -> Zone:
        """A copy with these weights (J) of unserved energy."""
        loads = self.rows["loads"]
        return self.with_rows(loads=loads.with_columns(priority=weight[loads.index]))

    def lowest(self, x: Array) -> Array:
        """Lowest of (..., N) node values over the scored nodes."""
        return self.reduced(np.minimum, self.scored(x))

    def highest(self, x: Array) -> Array:
        """Highest of (..., N) node values over the scored nodes."""
        return self.reduced(np.maximum, self.scored(x))

    def total(self, x: Array) -> Array:
        """Sum of (..., N) node values over the scored nodes."""
        return self.reduced(np.add, self.scored(x))

    def mean(self, x: Array) -> Array:
        """Mean of (..., N) node values over the scored nodes."""
        return self.total(x) / self.sizes

    @cached_property
    def sizes(self) -> Any:
        """Number of scored nodes; (Z) for all zones."""
        return len(self.scored_nodes) if self.starts is None else np.diff(self.starts, append=len(self.scored_nodes))

    def total_over_buses(self, x: Array, worst: np.ufunc) -> Array:
        """Sum over the zone's buses of the highest or lowest (``worst``) of (..., N) values at the scored nodes."""
        by_bus = worst.reduceat(x.take(self.scored_by_bus, axis=-1), self.scored_bus_starts, axis=-1)
        if self.starts is None:
            return np.asarray(np.add.reduce(by_bus, axis=-1))
        return np.asarray(np.add.reduceat(by_bus, np.searchsorted(self.scored_bus_starts, self.starts), axis=-1))

    def voltage_spread(self, solution: Solution) -> NDArray[Any]:
        """(..., 3) lowest, mean and highest ``v_scaled`` of the scored nodes; for all zones (..., Z, 3)."""
        v = self.scored(solution.v_scaled)
        low = self.reduced(np.minimum, v)
        columns = np.empty((*low.shape, 3), v.dtype)
        columns[..., 0], columns[..., 2] = low, self.reduced(np.maximum, v)
        columns[..., 1] = self.reduced(np.add, v) / self.sizes
        return columns

    def write_voltage_spread(self, kernels: Any, solution: Solution, limits: Limits, out: NDArray[Any]) -> None:
        """For all zones, write the same into (B, Z, 3) out, within (3) lowest and (3) highest values, compiled."""
        kernels.spread(solution.v_pu, DEAD_V_PU, *self.unsigned, kernels.LANES, (1.0, V_SCALE), limits, out)

    @cached_property
    def unsigned(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """For all zones ``scored_nodes``, and (Z + 1) where those of each begin, with the end; as compiled sums ask."""
        starts = np.append([] if self.starts is None else self.starts, len(self.scored_nodes))
        return self.scored_nodes.astype(np.uint64), starts.astype(np.uint64)

    def scored(self, x: Array) -> Array:
        """(..., n) the values (..., N) at the scored nodes."""
        return x.take(self.scored_nodes, axis=-1)

    def reduced(self, ufunc: np.ufunc, scored: Array) -> Array:
        """A reduction of values (..., n) at the scored nodes, such as their sum; see ``scored``."""
        if self.starts is None:
            return np.asarray(ufunc.reduce(scored, axis=-1))
        return np.asarray(ufunc.reduceat(scored, self.starts, axis=-1))


_Function = TypeVar("_Function", bound=Callable[..., Any])


def zone_batched(function: _Function) -> _Function:
    """Mark a function of (zone, ...) that also accepts all zones as one, so that one call serves every zone.

    Such a function must apply the weights: padded entries have weight 0. A value that is equal for all zones may omit
    the zone axis.
    """
    function.zone_batched = True  # type: ignore[attr-defined]
    return function


def over_zones(function: Callable[..., Any], zones: Sequence[Zone], stacked: Zone, *states: Any) -> Array:
    """(..., Z) values of a term for all zones, in one call if it is zone-batched; a number if equal for all."""
    if getattr(function, "zone_batched", False):
        return function(stacked, *states)
    return np.stack([np.asarray(function(zone, *states), float) for zone in zones], axis=-1)


def stack(zones: Sequence[Zone]) -> Zone:
    """All zones as one Zone with a leading axis; see Zone."""
    first = zones[0]
    starts = np.cumsum([0, *(len(zone.scored_nodes) for zone in zones[:-1])])
    return Zone(
        name="all",
        buses=tuple(bus for zone in zones for bus in zone.buses),
        nodes=np.concatenate([zone.nodes for zone in zones]),
        scored_nodes=np.concatenate([zone.scored_nodes for zone in zones]),
        rows={kind: stack_rows(kind, [zone.rows[kind] for zone in zones]) for kind in first.rows},
        index=np.arange(len(zones)),
        count=len(zones),
        n_scored_nodes=first.n_scored_nodes,
        all_estimated=first.all_estimated,
        kinds=np.stack([zone.kinds for zone in zones]),
        band=first.band,
        market=first.market,
        starts=starts,
        scored_by_bus=np.concatenate([zone.scored_by_bus for zone in zones]),
        scored_bus_starts=np.concatenate(
            [zone.scored_bus_starts + at for zone, at in zip(zones, starts.tolist(), strict=True)]
        ),
    )

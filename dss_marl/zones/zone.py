"""A zone: a set of buses with the indices of its elements; a single zone, or all zones as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from dss_marl.grid.state import Array, IntArray


def _no_rows() -> IntArray:
    return np.zeros(0, np.int64)


def _no_weights() -> Array:
    return np.zeros(0)


@dataclass(frozen=True)
class Zone:
    """One zone, or all zones as one.

    For one zone every index array is 1-D. For all zones (``name`` is ``"all"``) the rows of units, loads, taps and
    switches gain a leading axis Z and are padded with index 0 and weight 0; ``lowest``, ``mean``, ``highest`` and
    ``total`` of node values then give (..., Z) instead of (...). So one function serves one zone and all of them.

    Attributes:
        name: the agent's name.
        buses: bus names.
        nodes: (n) node indices; for all zones, zone after zone.
        scored_nodes: (n) the nodes that count in rewards and metrics, likewise.
        loads, load_weight: (l) indices of the zone's loads; weight 1, or 0 where padded.
        load_priority: (l) weight of unserved energy; 1 unless the scenario sets priorities.
        units, unit_weight: (u) indices of the zone's other injections.
        unit_nodes, unit_node_weight: (u, 3) the nodes of each unit; the weights of a unit sum to 1.
        unit_kw: (u) rating of each unit [kW].
        pv_units, pv_unit_weight, pv_unit_kw: (p) those of the units that are PV units, and their peak power [kW].
        taps, tap_weight: (r) indices of the tapped windings that regulate a bus of the zone.
        tap_nodes: (r) the regulated node of each of these windings.
        capacitors, capacitor_weight: (c) indices in Feeder.switches of the capacitor steps at its buses.
        switches, switch_weight: (s) likewise of the switchable lines, each in the zone of its first bus.
        borders, border_weight: (b) indices of the branches to other zones.
        index: position among the zones; (Z) for all zones.
        count: number of zones Z.
        n_scored_nodes: number of scored nodes on the whole feeder.
        devices, device_weight: (d) indices of its devices, kind after kind.
        actions, action_weight: (w) indices of its devices' entries in the joint action; weight 0 for unused entries.
        telemetry, telemetry_weight: (m) likewise in the devices' telemetry.
        meters, meter_weight: (v) indices of its nodes with voltage meters.
        estimated, estimate_weight: (e) indices of the nodes whose voltage its devices estimate.
        estimates: (e) positions of these estimates in the device state.
        all_estimated: number of estimated nodes on the whole feeder.
        kinds: (k) 1 for each of the scenario's kinds of device that it has.
        entries: labels of the rows of ``actions``, ``telemetry``, ``kinds`` and ``names``.
        starts: (Z) offset of each zone's nodes in ``scored_nodes`` for all zones; None for one zone.
    """

    name: str
    buses: tuple[str, ...]
    nodes: IntArray
    scored_nodes: IntArray
    loads: IntArray
    load_weight: Array
    units: IntArray
    unit_weight: Array
    unit_nodes: IntArray
    unit_node_weight: Array
    unit_kw: Array
    pv_units: IntArray
    pv_unit_weight: Array
    pv_unit_kw: Array
    taps: IntArray
    tap_weight: Array
    tap_nodes: IntArray
    capacitors: IntArray
    capacitor_weight: Array
    switches: IntArray
    switch_weight: Array
    borders: IntArray
    border_weight: Array
    index: IntArray
    count: int
    n_scored_nodes: int
    load_priority: Array = field(default_factory=_no_weights)
    devices: IntArray = field(default_factory=_no_rows)
    device_weight: Array = field(default_factory=_no_weights)
    actions: IntArray = field(default_factory=_no_rows)
    action_weight: Array = field(default_factory=_no_weights)
    telemetry: IntArray = field(default_factory=_no_rows)
    telemetry_weight: Array = field(default_factory=_no_weights)
    meters: IntArray = field(default_factory=_no_rows)
    meter_weight: Array = field(default_factory=_no_weights)
    estimated: IntArray = field(default_factory=_no_rows)
    estimates: IntArray = field(default_factory=_no_rows)
    estimate_weight: Array = field(default_factory=_no_weights)
    all_estimated: int = 0
    kinds: Array = field(default_factory=_no_weights)
    entries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    starts: IntArray | None = None

    def lowest(self, x: Array) -> Array:
        """Lowest of (..., N) node values over the scored nodes."""
        return self._reduced(np.minimum, x)

    def highest(self, x: Array) -> Array:
        """Highest of (..., N) node values over the scored nodes."""
        return self._reduced(np.maximum, x)

    def total(self, x: Array) -> Array:
        """Sum of (..., N) node values over the scored nodes."""
        return self._reduced(np.add, x)

    def mean(self, x: Array) -> Array:
        """Mean of (..., N) node values over the scored nodes."""
        return self._reduced(np.add, x) / self.sizes

    @cached_property
    def sizes(self) -> Any:
        """Number of scored nodes; (Z) for all zones."""
        return len(self.scored_nodes) if self.starts is None else np.diff(self.starts, append=len(self.scored_nodes))

    def _reduced(self, ufunc: np.ufunc, x: Array) -> Array:
        if self.starts is None:
            return np.asarray(ufunc.reduce(x[..., self.scored_nodes], axis=-1))
        return np.asarray(ufunc.reduceat(x[..., self.scored_nodes], self.starts, axis=-1))


# rows of a zone, and their weights, which are 0 where padded
PADDED = {
    "loads": "load_weight",
    "units": "unit_weight",
    "pv_units": "pv_unit_weight",
    "taps": "tap_weight",
    "capacitors": "capacitor_weight",
    "switches": "switch_weight",
    "borders": "border_weight",
}
_SLOTTED = {
    "actions": "action_weight",
    "telemetry": "telemetry_weight",
    "devices": "device_weight",
    "meters": "meter_weight",
    "estimated": "estimate_weight",
    "estimates": "estimate_weight",
}


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
    fields: dict[str, Any] = {}
    for name, weight in (PADDED | _SLOTTED).items():
        width = max(len(getattr(zone, name)) for zone in zones)
        index, mask = np.zeros((len(zones), width), np.int64), np.zeros((len(zones), width))
        for z, zone in enumerate(zones):
            own = getattr(zone, name)
            index[z, : len(own)] = own
            mask[z, : len(own)] = getattr(zone, weight)
        fields[name], fields[weight] = index, mask
    fields["kinds"] = np.stack([zone.kinds for zone in zones])
    shape = fields["units"].shape
    fields["unit_nodes"], fields["unit_node_weight"] = np.zeros((*shape, 3), np.int64), np.zeros((*shape, 3))
    fields["unit_kw"] = np.ones(shape)
    fields["pv_unit_kw"] = np.ones(fields["pv_units"].shape)
    fields["load_priority"] = np.ones(fields["loads"].shape)
    fields["tap_nodes"] = np.zeros(fields["taps"].shape, np.int64)
    for z, zone in enumerate(zones):
        own_units = len(zone.units)
        for name in ("unit_nodes", "unit_node_weight", "unit_kw"):
            fields[name][z, :own_units] = getattr(zone, name)
        fields["pv_unit_kw"][z, : len(zone.pv_units)] = zone.pv_unit_kw
        fields["load_priority"][z, : len(zone.loads)] = zone.load_priority
        fields["tap_nodes"][z, : len(zone.taps)] = zone.tap_nodes
    return Zone(
        name="all",
        buses=tuple(bus for zone in zones for bus in zone.buses),
        nodes=np.concatenate([zone.nodes for zone in zones]),
        scored_nodes=np.concatenate([zone.scored_nodes for zone in zones]),
        starts=np.cumsum([0, *(len(zone.scored_nodes) for zone in zones[:-1])]),
        index=np.arange(len(zones)),
        count=len(zones),
        n_scored_nodes=zones[0].n_scored_nodes,
        all_estimated=zones[0].all_estimated,
        **fields,
    )

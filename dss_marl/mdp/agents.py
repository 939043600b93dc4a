"""Agents: assignment of devices to agents, and each agent's view of the feeder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from dss_marl.devices import Crews, DemandMeters, DeviceGroup, Estimators, FlexibilityRequests
from dss_marl.grid.state import IntArray
from dss_marl.mdp.actions.action_layout import ActionLayout, layout_entries
from dss_marl.zones import ROW_KINDS, Zone, ZoneRows, stack

How = Literal["zone", "kind", "device"]


@dataclass(frozen=True)
class Agents:
    """One agent for each zone, for each kind of device in a zone, or for each device.

    Attributes:
        how: zone, kind or device.
        names: (A) ``zone_1``, or the kind and a number: ``regulator_1``.
        kinds: (A) the kind of device of each, or "zone".
        zone: (A) index of the zone that each observes.
        views: per agent its zone, with its own units, taps, capacitors and switches first, and only its own devices in
            ``devices``, ``actions`` and ``telemetry``.
        all_views: all views as one.
        action_layout: mapping of agents' actions to the joint action.
    """

    how: How
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    zone: IntArray
    views: tuple[Zone, ...]
    all_views: Zone
    action_layout: ActionLayout

    @classmethod
    def build(cls, how: How, zones: Sequence[Zone], groups: Sequence[DeviceGroup], kinds: Sequence[str]) -> Agents:
        """Assign the devices to agents.

        Args:
            how: zone, kind or device.
            zones: of the feeder.
            groups: the devices.
            kinds: name of each group in the scenario.

        Raises:
            ValueError: a device is at a bus outside all zones, or a zone agent would have no device.
        """
        home = _homes(zones, groups)
        if how == "zone":
            _refuse_idle(zones, home)
            action_layout = ActionLayout.build([zone.name for zone in zones], home, groups)
            every = np.arange(len(zones))
            return cls(
                how, action_layout.agents, ("zone",) * len(zones), every, tuple(zones), stack(zones), action_layout
            )
        names, agent_kinds, agent_zone, device_agent = _divided(how, groups, kinds, home)
        action_layout = ActionLayout.build(names, device_agent, groups, by_kind=False)
        views = []
        for a, name in enumerate(names):
            own = [d for d, agent in enumerate(device_agent) if agent == a]
            view = _own_first(zones[agent_zone[a]], groups, own)
            views.append(replace(view, name=name, index=np.array(a), count=len(names)))
        views = _with_rows(views, device_agent, groups, kinds, by_kind=False)
        zone = np.array(agent_zone, dtype=np.int64)
        return cls(how, tuple(names), tuple(agent_kinds), zone, tuple(views), stack(views), action_layout)


def with_devices(zones: Sequence[Zone], groups: Sequence[DeviceGroup], kinds: Sequence[str]) -> tuple[Zone, ...]:
    """The zones with rows for their devices, in the same layout for every zone, without switches that no device moves.

    Raises:
        ValueError: a device is at a bus outside all zones.
    """
    moved = {int(s) for group in groups for s in np.ravel(getattr(group, "switches", ()))}
    operated = []
    for zone in zones:
        own = [k for k, s in enumerate(zone.switches.tolist()) if s in moved]
        operated.append(zone.with_rows(switches=zone.rows["switches"].take(own)))
    return tuple(_with_rows(operated, _homes(zones, groups), groups, kinds, by_kind=True))


def _with_rows(
    views: Sequence[Zone], home: Sequence[int], groups: Sequence[DeviceGroup], kinds: Sequence[str], by_kind: bool
) -> list[Zone]:
    """The views with rows for their devices' action entries, telemetry and kinds."""
    count = len(views)
    actions, action_names = layout_entries(count, home, groups, [tuple(g.action_labels) for g in groups], by_kind)
    labels = [tuple(g.telemetry_labels) for g in groups]
    telemetry, telemetry_names = layout_entries(count, home, groups, labels, by_kind)
    metered, nodes, places = _estimation(groups)
    peaks, requests = _peaks(groups), _requests(groups)
    crews, costs = _crew_costs(groups)
    result = []
    for a, view in enumerate(views):
        own = [d for d, agent in enumerate(home) if agent == a]
        estimators = [d for d in own if nodes[d] >= 0]
        meters = view.nodes[np.isin(view.nodes, metered)]
        units = view.rows["units"]
        mine = units.take(np.flatnonzero(np.isin(units.index, _injections_of(own, groups))))
        result.append(
            replace(
                view,
                rows={
                    **view.rows,
                    "devices": ZoneRows.of(np.array(own, dtype=np.int64)),
                    "own_units": ZoneRows(mine.index, mine.weight, {"kw": mine.columns["kw"]}),
                    "actions": _padded_rows(actions[a]),
                    "telemetry": _padded_rows(telemetry[a]),
                    "demand_meters": ZoneRows.of(peaks),
                    "crew_costs": ZoneRows.of(costs[np.isin(crews, own)]),
                    "requests": requests,
                    "meters": ZoneRows.of(meters),
                    "estimated": ZoneRows.of(nodes[estimators], places=places[estimators]),
                },
                all_estimated=int((nodes >= 0).sum()),
                kinds=_kinds_of(own, groups),
                entries={
                    "actions": action_names[a],
                    "telemetry": telemetry_names[a],
                    "kinds": tuple(map(short_kind, kinds)),
                    "names": tuple(one.name for one in views),
                },
            )
        )
    return result


def _injections_of(devices: Sequence[int], groups: Sequence[DeviceGroup]) -> IntArray:
    """(n) injections of these devices, of kinds that have any."""
    found, first = [np.zeros(0, np.int64)], 0
    for group in groups:
        own = [d - first for d in devices if first <= d < first + group.size]
        injections = getattr(group, "injections", None)
        if own and injections is not None:
            found.append(np.ravel(injections[own]))
        first += group.size
    return np.concatenate(found)


def _estimation(groups: Sequence[DeviceGroup]) -> tuple[IntArray, IntArray, IntArray]:
    """(M) metered nodes; per device (D) the node that it estimates, or -1, and its offset in the device state."""
    metered, nodes, places, first = [np.zeros(0, np.int64)], [], [], 0
    for group in groups:
        if isinstance(group, Estimators):
            metered.append(group.metered)
            nodes.append(group.nodes)
        else:
            nodes.append(np.full(group.size, -1))
        places.append(first + group.state_size * np.arange(group.size))
        first += group.size * group.state_size
    return np.concatenate(metered), np.concatenate(nodes), np.concatenate(places)


def _peaks(groups: Sequence[DeviceGroup]) -> IntArray:
    """Places of the billed peaks in the device state."""
    ends = np.cumsum([0, *(group.size * group.state_size for group in groups)])
    own = [end + np.arange(g.size) for end, g in zip(ends, groups, strict=False) if isinstance(g, DemandMeters)]
    return np.concatenate([np.zeros(0, np.int64), *own])


def _crew_costs(groups: Sequence[DeviceGroup]) -> tuple[IntArray, IntArray]:
    """The crews among all devices, and the places of their costs in the device state."""
    crews, costs, device, place = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0, 0
    for group in groups:
        if isinstance(group, Crews):
            crews.append(device + np.arange(group.size))
            costs.append(place + group.cost_column + group.state_size * np.arange(group.size))
        device, place = device + group.size, place + group.size * group.state_size
    return np.concatenate(crews), np.concatenate(costs)


def _requests(groups: Sequence[DeviceGroup]) -> ZoneRows:
    """The feeder's flexibility request, at its first entry in the telemetry; see ROW_KINDS."""
    told = np.cumsum([0, *(group.size * len(group.telemetry_labels) for group in groups)])
    kept = np.cumsum([0, *(group.size * group.state_size for group in groups)])
    for k, group in enumerate(groups):
        if isinstance(group, FlexibilityRequests):
            columns = {"loss_share": group.loss_share, "kvar_weight": group.kvar_weight}
            return ZoneRows.of(told[k : k + 1], missed=kept[k : k + 1] + group.missed_column, **columns)
    nothing = np.zeros(0)
    return ZoneRows.of(
        nothing.astype(np.int64), missed=nothing.astype(np.int64), loss_share=nothing, kvar_weight=nothing
    )


def short_kind(kind: str) -> str:
    """Kind name as used in agent names: letters and underscores, without the module of a user-defined kind."""
    return re.sub(r"[^a-z_]", "", kind.rsplit(":", maxsplit=1)[-1].lower()) or "device"


def _homes(zones: Sequence[Zone], groups: Sequence[DeviceGroup]) -> list[int]:
    """Zone of every device, kind after kind."""
    zone_of = {bus: z for z, zone in enumerate(zones) for bus in zone.buses}
    home = []
    for group in groups:
        unknown = [bus for bus in group.buses if bus not in zone_of]
        if unknown:
            raise ValueError(f"{type(group).__name__}: bus {unknown[0]!r} is in no zone")
        home += [zone_of[bus] for bus in group.buses]
    return home


def _refuse_idle(zones: Sequence[Zone], home: Sequence[int]) -> None:
    idle = sorted(set(range(len(zones))) - set(home))
    if idle:
        zone = zones[idle[0]]
        raise ValueError(
            f"{zone.name} (buses {', '.join(zone.buses[:8])}) has no device, so its agent would have no action; "
            "add a device there, choose other zones, or set agents to 'kind' or 'device'"
        )


def _divided(
    how: How, groups: Sequence[DeviceGroup], kinds: Sequence[str], home: Sequence[int]
) -> tuple[list[str], list[str], list[int], list[int]]:
    """Names, kinds and zones of single-kind agents, and the agent of every device."""
    for group, kind in zip(groups, kinds, strict=True):
        if not group.action_labels:
            raise ValueError(
                f"devices of kind {kind!r} have no action, so they cannot have an agent; set agents to 'zone'"
            )
    names: list[str] = []
    agent_kinds: list[str] = []
    agent_zone: list[int] = []
    device_agent: list[int] = []
    first = 0
    for group, kind in zip(groups, kinds, strict=True):
        zones = home[first : first + group.size]
        places = sorted(set(zones)) if how == "kind" else list(zones)
        before = len(names)
        names += [f"{short_kind(kind)}_{k + 1}" for k in range(len(places))]
        agent_kinds += [short_kind(kind)] * len(places)
        agent_zone += places
        device_agent += [before + (places.index(z) if how == "kind" else d) for d, z in enumerate(zones)]
        first += group.size
    if len(set(names)) < len(names):
        raise ValueError(f"two kinds of device would have the same name; rename one: {', '.join(kinds)}")
    return names, agent_kinds, agent_zone, device_agent


def _padded_rows(place: IntArray) -> ZoneRows:
    """Rows at these positions, with weight 0 where they are padded (-1)."""
    return ZoneRows(np.maximum(place, 0), (place >= 0).astype(float))


def _kinds_of(devices: Sequence[int], groups: Sequence[DeviceGroup]) -> Any:
    """(k) 1 for each group that one of the devices belongs to."""
    group_of = np.repeat(np.arange(len(groups)), [group.size for group in groups])
    has = np.zeros(len(groups))
    has[group_of[list(devices)]] = 1.0
    return has


def _own_first(zone: Zone, groups: Sequence[DeviceGroup], devices: Sequence[int]) -> Zone:
    """The zone reordered so that the rows of these devices come first."""
    mine: dict[str, set[int]] = {"injections": set(), "taps": set(), "switches": set()}
    first = 0
    for group in groups:
        own = [d - first for d in devices if first <= d < first + group.size]
        for name, found in mine.items():
            if own and hasattr(group, name):
                found.update(np.ravel(getattr(group, name)[own]).tolist())
        first += group.size
    changes = {}
    for kind, rows in zone.rows.items():
        if ROW_KINDS[kind].of in mine:
            others = [i not in mine[ROW_KINDS[kind].of] for i in rows.index.tolist()]
            changes[kind] = rows.take(np.argsort(others, kind="stable"))
    return zone.with_rows(**changes)

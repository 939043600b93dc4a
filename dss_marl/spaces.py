"""Action slots: how the agents' vectors, all of one width for a shared policy, reach the devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dss_marl.devices import DeviceGroup
from dss_marl.state import Array, BoolArray, IntArray
from dss_marl.zones import Zone


@dataclass(frozen=True)
class Slots:
    """The same slots for every agent, kind after kind; a slot that a zone has no device for is ignored.

    Attributes:
        agents: names of the zones.
        place: (Z, W) position of each slot in the flat action vector (all devices of all kinds), -1 where ignored.
        labels: per zone, (W) what each slot moves; "-" where ignored.
        parts: per kind, where its (D, A) entries lie in the flat vector.
        shapes: per kind, (D, A).
        device_zone: zone of every device, kind after kind.
    """

    agents: tuple[str, ...]
    place: IntArray
    labels: tuple[tuple[str, ...], ...]
    parts: tuple[slice, ...]
    shapes: tuple[tuple[int, int], ...]
    device_zone: IntArray

    @classmethod
    def build(cls, zones: Sequence[Zone], groups: Sequence[DeviceGroup]) -> Slots:
        """Slots for these zones and devices.

        Raises:
            ValueError: a zone has no device, so its agent could do nothing, or a device is at an unknown bus.
        """
        zone_of = {bus: z for z, zone in enumerate(zones) for bus in zone.buses}
        place: list[list[int]] = [[] for _ in zones]
        labels: list[list[str]] = [[] for _ in zones]
        parts, shapes, device_zone, start = [], [], [], 0
        for group in groups:
            entries = len(group.action_labels)
            unknown = [bus for bus in group.buses if bus not in zone_of]
            if unknown:
                raise ValueError(f"{type(group).__name__}: bus {unknown[0]!r} is in no zone")
            home = [zone_of[bus] for bus in group.buses]
            most = max(home.count(z) for z in range(len(zones)))
            for z in range(len(zones)):
                own = [d for d in range(group.size) if home[d] == z]
                pad = (most - len(own)) * entries
                place[z] += [start + d * entries + a for d in own for a in range(entries)] + [-1] * pad
                labels[z] += [f"{group.names[d]}: {label}" for d in own for label in group.action_labels] + ["-"] * pad
            device_zone += home
            parts.append(slice(start, start + group.size * entries))
            shapes.append((group.size, entries))
            start += group.size * entries
        idle = [zone.name for z, zone in enumerate(zones) if all(p < 0 for p in place[z])]
        if idle:
            z = [zone.name for zone in zones].index(idle[0])
            raise ValueError(
                f"{idle[0]} (buses {', '.join(zones[z].buses[:8])}) has no device, so its agent could do nothing; "
                "add a device there or choose other zones"
            )
        return cls(
            agents=tuple(zone.name for zone in zones),
            place=np.array(place),
            labels=tuple(map(tuple, labels)),
            parts=tuple(parts),
            shapes=tuple(shapes),
            device_zone=np.array(device_zone, dtype=np.int64),
        )

    @property
    def width(self) -> int:
        """Entries of one agent's action W."""
        return self.place.shape[1]

    def read(self, actions: Mapping[str, Any]) -> tuple[Array, IntArray]:
        """The agents' actions as one flat vector, clipped to [-1, 1].

        Returns:
            the flat action, and (Z) the number of used entries of each agent that were out of range.

        Raises:
            ValueError: an agent is missing or unknown, a shape is wrong, or a value is NaN; names the agent.
        """
        try:
            rows = np.array([actions[agent] for agent in self.agents], dtype=float)
        except (KeyError, ValueError, TypeError):
            rows = np.empty(0)
        if rows.shape != self.place.shape or len(actions) != len(self.agents):
            raise ValueError(self._what_is_wrong(actions))
        used = self.used
        flat = np.empty(self.parts[-1].stop)
        if np.abs(rows).max() <= 1.0:  # false for NaN too
            flat[self.place[used]] = rows[used]
            return flat, np.zeros(len(self.agents), dtype=np.int64)
        if np.isnan(rows).any():
            agent = self.agents[int(np.flatnonzero(np.isnan(rows).any(-1))[0])]
            raise ValueError(f"action of {agent!r} contains NaN: {actions[agent]!r}; look at the policy that made it")
        clipped = np.clip(rows, -1.0, 1.0)
        flat[self.place[used]] = clipped[used]
        return flat, ((clipped != rows) & used).sum(-1)

    @cached_property
    def used(self) -> BoolArray:
        """(Z, W) False where a slot is ignored."""
        return self.place >= 0

    def _what_is_wrong(self, actions: Mapping[str, Any]) -> str:
        missing = [agent for agent in self.agents if agent not in actions]
        if missing:
            return f"no action for {missing[0]!r}; needed for each of {', '.join(self.agents)}"
        unknown = [agent for agent in actions if agent not in self.agents]
        if unknown:
            return f"action for unknown agent {unknown[0]!r}; agents are {', '.join(self.agents)}"
        for agent in self.agents:
            try:
                shape = np.asarray(actions[agent], dtype=float).shape
            except (ValueError, TypeError):
                return f"action of {agent!r} is not a vector of numbers: {actions[agent]!r}"
            if shape != (self.width,):
                return f"action of {agent!r} has shape {shape}; it must be ({self.width},)"
        return "actions cannot be read as one row of numbers for each agent"

    def write(self, flat: Array) -> dict[str, Any]:
        """The inverse of ``read``: agents' actions (W,) float32 from a flat vector; ignored slots are 0."""
        rows = np.where(self.place >= 0, flat[self.place], 0.0).astype(np.float32)
        return dict(zip(self.agents, rows, strict=True))

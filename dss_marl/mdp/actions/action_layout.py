"""ActionLayout: how the agents' vectors, all of one width for a shared policy, reach the devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dss_marl.devices import DeviceGroup
from dss_marl.devices.fleet import split_groups
from dss_marl.grid.state import Array, BoolArray, IntArray


@dataclass(frozen=True)
class ActionLayout:
    """The same slots for every agent; one that an agent has no device for is ignored.

    Attributes:
        agents: names.
        place: (A, W) position of each slot in the flat action vector (all entries of all devices, kind after kind), -1
            where ignored.
        labels: per agent, (W) what each slot moves; "-" where ignored.
        parts: per kind, where its (D, A) entries lie in the flat vector.
        shapes: per kind, (D, A).
        device_agent: agent of every device, kind after kind.
    """

    agents: tuple[str, ...]
    place: IntArray
    labels: tuple[tuple[str, ...], ...]
    parts: tuple[slice, ...]
    shapes: tuple[tuple[int, int], ...]
    device_agent: IntArray

    @classmethod
    def build(
        cls, agents: Sequence[str], device_agent: Sequence[int], groups: Sequence[DeviceGroup], by_kind: bool = True
    ) -> ActionLayout:
        """ActionLayout for these agents and devices.

        Args:
            agents: names.
            device_agent: the agent of every device, kind after kind.
            groups: the devices.
            by_kind: a slot means the same kind of device for every agent; otherwise each agent's entries come first,
                whatever they are, and padding last.
        """
        labels = [tuple(group.action_labels) for group in groups]
        place, text = layout_entries(len(agents), device_agent, groups, labels, by_kind)
        sizes = [group.size * len(own) for group, own in zip(groups, labels, strict=True)]
        ends = np.cumsum(sizes)
        return cls(
            agents=tuple(agents),
            place=place,
            labels=text,
            parts=tuple(slice(int(end) - size, int(end)) for end, size in zip(ends, sizes, strict=True)),
            shapes=tuple((group.size, len(own)) for group, own in zip(groups, labels, strict=True)),
            device_agent=np.array(device_agent, dtype=np.int64),
        )

    @property
    def width(self) -> int:
        """Entries of one agent's action W."""
        return self.place.shape[1]

    @property
    def size(self) -> int:
        """Entries of the flat vector F."""
        return self.parts[-1].stop

    @cached_property
    def used(self) -> BoolArray:
        """(A, W) False where a slot is ignored."""
        return self.place >= 0

    @cached_property
    def entry_agent(self) -> IntArray:
        """(F) the agent of each entry of the flat vector."""
        agent = np.zeros(self.size, np.int64)
        agent[self.place[self.used]] = np.nonzero(self.used)[0]
        return agent

    @cached_property
    def entry_device(self) -> IntArray:
        """(F) the device of each entry, counted over all kinds."""
        widths = np.concatenate([np.full(count, width) for count, width in self.shapes])
        return np.repeat(np.arange(len(widths)), widths)

    def by_group(self, joint_action: Array) -> list[Array]:
        """Per kind, its (..., D, A) entries of a flat (..., F) vector; views."""
        return split_groups(joint_action, self.parts, self.shapes)

    def rows(self, joint_action: Array, fill: float = 0.0) -> Array:
        """(..., A, W) the agents' slots of a flat (..., F) vector, ``fill`` where ignored."""
        return np.where(self.used, joint_action[..., self.place], fill)


def layout_entries(
    count: int,
    device_agent: Sequence[int],
    groups: Sequence[DeviceGroup],
    labels: Sequence[tuple[str, ...]],
    by_kind: bool,
) -> tuple[IntArray, tuple[tuple[str, ...], ...]]:
    """Entries of devices as slots of agents: (A, W) places in the flat vector of entries, -1 where padded; and names.

    Args:
        count: number of agents A.
        device_agent: the agent of every device, kind after kind.
        groups: the devices.
        labels: per group, the entries of one device.
        by_kind: each kind has slots of its own, as many as the agent with most of them needs.
    """
    place: list[list[int]] = [[] for _ in range(count)]
    text: list[list[str]] = [[] for _ in range(count)]
    first = start = 0
    for group, own in zip(groups, labels, strict=True):
        home = device_agent[first : first + group.size]
        for d, agent in enumerate(home):
            place[agent] += [start + d * len(own) + k for k in range(len(own))]
            text[agent] += [f"{group.names[d]}: {label}" for label in own]
        if by_kind:
            _pad(place, text)
        first += group.size
        start += group.size * len(own)
    _pad(place, text)
    return np.array(place, dtype=np.int64).reshape(count, -1), tuple(map(tuple, text))


def _pad(place: list[list[int]], text: list[list[str]]) -> None:
    width = max(map(len, place))
    for own, names in zip(place, text, strict=True):
        names += ["-"] * (width - len(own))
        own += [-1] * (width - len(own))

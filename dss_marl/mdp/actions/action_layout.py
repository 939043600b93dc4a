"""Action layout: mapping of agents' action vectors, of equal width for a shared policy, to the joint action."""

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
    """The same action entries for every agent; entries without a device are ignored.

    Attributes:
        agents: names.
        place: (A, W) position of each entry in the joint action (all entries of all devices, kind after kind), -1 where
            ignored.
        labels: per agent, (W) label of each entry; "-" where ignored.
        parts: per kind, the slice of its (D, A) entries in the joint action.
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
        """The layout for these agents and devices.

        Args:
            agents: names.
            device_agent: the agent of every device, kind after kind.
            groups: the devices.
            by_kind: an entry means the same kind of device for every agent; otherwise each agent's entries come
                first and padding last.
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
        """Number of entries W of one agent's action."""
        return self.place.shape[1]

    @property
    def size(self) -> int:
        """Number of entries F of the joint action."""
        return self.parts[-1].stop

    @cached_property
    def used(self) -> BoolArray:
        """(A, W) False where an entry is ignored."""
        return self.place >= 0

    @cached_property
    def source(self) -> IntArray:
        """(F) position of each entry of the joint action in the agents' actions (A, W) as one row."""
        source = np.empty(self.size, np.int64)
        source[self.place[self.used]] = np.flatnonzero(self.used)
        return source

    @cached_property
    def entry_agent(self) -> IntArray:
        """(F) agent of each entry of the joint action."""
        agent = np.zeros(self.size, np.int64)
        agent[self.place[self.used]] = np.nonzero(self.used)[0]
        return agent

    @cached_property
    def entry_device(self) -> IntArray:
        """(F) device of each entry, counted over all kinds."""
        widths = np.concatenate([np.full(count, width) for count, width in self.shapes])
        return np.repeat(np.arange(len(widths)), widths)

    def by_group(self, joint_action: Array) -> list[Array]:
        """Per kind, its (..., D, A) entries of a joint action (..., F); views."""
        return split_groups(joint_action, self.parts, self.shapes)

    def joint_action(self, rows: np.ndarray) -> np.ndarray:
        """(..., F) entries of all devices, from the agents' actions (..., A, W)."""
        if rows.ndim == 2:
            return rows.take(self.source)
        return rows.reshape(*rows.shape[:-2], -1).take(self.source, axis=-1)

    def rows(self, joint_action: Array, fill: float = 0.0) -> Array:
        """(..., A, W) the agents' actions of a joint action (..., F), ``fill`` where ignored."""
        return np.where(self.used, joint_action[..., self.place], fill)


def layout_entries(
    count: int,
    device_agent: Sequence[int],
    groups: Sequence[DeviceGroup],
    labels: Sequence[tuple[str, ...]],
    by_kind: bool,
) -> tuple[IntArray, tuple[tuple[str, ...], ...]]:
    """Arrange device entries by agent: (A, W) positions in the joint vector, -1 where padded; and their labels.

    Args:
        count: number of agents A.
        device_agent: the agent of every device, kind after kind.
        groups: the devices.
        labels: per group, labels of the entries of one device.
        by_kind: each kind has columns of its own, as many as the agent with most of its entries needs.
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

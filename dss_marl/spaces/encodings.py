"""Encodings: an agent's action as a vector of numbers, as choices among levels, or as each device has it by nature."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from dss_marl.devices import DeviceGroup
from dss_marl.spaces.slots import Slots
from dss_marl.state import Array, BoolArray, IntArray


@dataclass(frozen=True)
class Decoded:
    """What agents asked for.

    Attributes:
        flat: (F) in [-1, 1], all entries of all devices.
        level: (F) the level chosen, -1 where the entry is a number.
        clipped: (A) how many of an agent's numbers were out of range.
    """

    flat: Array
    level: IntArray
    clipped: IntArray


class Encoding(ABC):
    """How agents say what their devices shall do.

    Attributes:
        slots: which entry is whose.
        counts: (F) levels of each entry, 0 where it is a number.
    """

    name: ClassVar[str]

    def __init__(self, slots: Slots, groups: Sequence[DeviceGroup], levels: int) -> None:
        self.slots = slots
        self.groups = tuple(groups)
        by_nature = np.concatenate([np.asarray(group.levels(), np.int64).ravel() for group in groups])
        self.counts = self._counts(by_nature, levels)

    @abstractmethod
    def _counts(self, by_nature: IntArray, levels: int) -> IntArray:
        """(F) levels of each entry, of those that it has by nature (0: none) and the number for the others."""

    @abstractmethod
    def space(self, agent: int) -> spaces.Space[Any]:
        """Action space of an agent."""

    @abstractmethod
    def mask_space(self, agent: int) -> spaces.Space[Any] | None:
        """Space of an agent's mask; None where there is nothing to mask."""

    @abstractmethod
    def mask(self, agent: int, allowed: BoolArray) -> Any:
        """An agent's mask, int8, of (F, L) allowed levels."""

    @abstractmethod
    def decode(self, actions: Mapping[str, Any]) -> Decoded:
        """Agents' actions as entries of devices.

        Raises:
            ValueError: an agent is missing or unknown, a shape or a type is wrong, NaN, or no such level; names it.
        """

    @abstractmethod
    def encode(self, flat: Array) -> dict[str, Any]:
        """The inverse of ``decode``; a number between two levels goes to the nearer."""

    @cached_property
    def discrete(self) -> bool:
        """Whether any entry is a choice."""
        return bool((self.counts > 0).any())

    @cached_property
    def values(self) -> Array:
        """(F, L) the number that each level stands for, NaN where there is no such level."""
        table = np.full((len(self.counts), int(self.counts.max(initial=0))), np.nan)
        for row, count in zip(table, self.counts, strict=True):
            row[:count] = np.linspace(-1, 1, count) if count > 1 else 0.0
        return table

    def nearest(self, flat: Array) -> IntArray:
        """(F) the level next to each number; the lower of two equally near, -1 where there are none."""
        if not self.discrete:
            return np.full(len(self.counts), -1)
        level = np.nanargmin(np.abs(np.where(self.counts[:, None] > 0, self.values, 0.0) - flat[:, None]), axis=-1)
        return np.where(self.counts > 0, level, -1)

    def _refuse_strangers(self, actions: Mapping[str, Any]) -> None:
        names = self.slots.agents
        missing = [agent for agent in names if agent not in actions]
        if missing:
            raise ValueError(f"no action for {missing[0]!r}; needed for each of {', '.join(names)}")
        unknown = [agent for agent in actions if agent not in names]
        if unknown:
            raise ValueError(f"action for unknown agent {unknown[0]!r}; agents are {', '.join(names)}")


class Boxes(Encoding):
    """Every entry a number in [-1, 1]; all agents have the same width."""

    name = "box"

    def _counts(self, by_nature: IntArray, levels: int) -> IntArray:
        return np.zeros_like(by_nature)

    def space(self, agent: int) -> spaces.Box:
        """Box of the width of all agents."""
        return spaces.Box(-1.0, 1.0, (self.slots.width,))

    def mask_space(self, agent: int) -> None:
        """Numbers have no mask."""

    def mask(self, agent: int, allowed: BoolArray) -> None:
        """None."""

    def decode(self, actions: Mapping[str, Any]) -> Decoded:
        """See Encoding.decode; entries outside [-1, 1] are clipped and counted."""
        slots = self.slots
        try:
            rows = np.array([actions[agent] for agent in slots.agents], dtype=float)
        except (KeyError, ValueError, TypeError):
            rows = np.empty(0)
        if rows.shape != slots.place.shape or len(actions) != len(slots.agents):
            raise ValueError(self._what_is_wrong(actions))
        used = slots.used
        flat = np.empty(slots.size)
        clipped = np.zeros(len(slots.agents), dtype=np.int64)
        if not np.abs(rows).max() <= 1.0:  # false for NaN too
            if np.isnan(rows).any():
                agent = slots.agents[int(np.flatnonzero(np.isnan(rows).any(-1))[0])]
                raise ValueError(
                    f"action of {agent!r} contains NaN: {actions[agent]!r}; look at the policy that made it"
                )
            inside = np.clip(rows, -1.0, 1.0)
            clipped = ((inside != rows) & used).sum(-1)
            rows = inside
        flat[slots.place[used]] = rows[used]
        return Decoded(flat, self._no_levels, clipped)

    @cached_property
    def _no_levels(self) -> IntArray:
        return np.full(self.slots.size, -1)

    def _what_is_wrong(self, actions: Mapping[str, Any]) -> str:
        self._refuse_strangers(actions)
        for agent in self.slots.agents:
            try:
                shape = np.asarray(actions[agent], dtype=float).shape
            except (ValueError, TypeError):
                return f"action of {agent!r} is not a vector of numbers: {actions[agent]!r}"
            if shape != (self.slots.width,):
                return f"action of {agent!r} has shape {shape}; it must be ({self.slots.width},)"
        return "actions cannot be read as one row of numbers for each agent"

    def encode(self, flat: Array) -> dict[str, Any]:
        """(W,) float32 for each agent; ignored slots are 0."""
        return dict(zip(self.slots.agents, self.slots.rows(flat).astype(np.float32), strict=True))


class MultiDiscretes(Encoding):
    """Every entry a choice: the positions that a device has by nature, else ``levels`` evenly over [-1, 1].

    All agents have the same choices; where an agent has no device, or its device fewer positions, the mask says so.
    Agents with one choice each have a Discrete space, which more algorithms take.
    """

    name = "multidiscrete"

    def _counts(self, by_nature: IntArray, levels: int) -> IntArray:
        return np.where(by_nature > 0, by_nature, levels)

    @cached_property
    def choices(self) -> IntArray:
        """(W) number of choices in each slot."""
        return np.where(self.slots.used, self.counts[self.slots.place], 1).max(0)

    @property
    def _single(self) -> bool:
        return len(self.choices) == 1

    def space(self, agent: int) -> spaces.Space[Any]:
        """MultiDiscrete or Discrete, the same for all agents."""
        return spaces.Discrete(int(self.choices[0])) if self._single else spaces.MultiDiscrete(self.choices)

    def mask_space(self, agent: int) -> spaces.Space[Any]:
        """A MultiBinary for each slot."""
        parts = [spaces.MultiBinary(int(n)) for n in self.choices]
        return parts[0] if self._single else spaces.Tuple(parts)

    def mask(self, agent: int, allowed: BoolArray) -> Any:
        """Per slot (n,) int8; where the agent has no device only the middle one is allowed."""
        masks = []
        for place, n in zip(self.slots.place[agent], self.choices, strict=True):
            mask = np.zeros(n, np.int8)
            if place >= 0:
                own = allowed[place, :n]
                mask[: len(own)] = own
            else:
                mask[n // 2] = 1
            masks.append(mask)
        return masks[0] if self._single else tuple(masks)

    def decode(self, actions: Mapping[str, Any]) -> Decoded:
        """See Encoding.decode."""
        slots = self.slots
        try:
            rows = np.array([actions[agent] for agent in slots.agents])
            rows = rows[:, None] if self._single and rows.ndim == 1 else rows
        except (KeyError, ValueError, TypeError):
            rows = np.empty(0)
        if rows.shape != slots.place.shape or len(actions) != len(slots.agents) or rows.dtype.kind not in "iu":
            raise ValueError(self._what_is_wrong(actions))
        if (rows < 0).any() or (rows >= self.choices).any():
            a, w = np.argwhere((rows < 0) | (rows >= self.choices))[0]
            raise ValueError(
                f"action of {slots.agents[a]!r}: entry {w} is {rows[a, w]}; it must be from 0 to {self.choices[w] - 1}"
            )
        level = np.empty(slots.size, np.int64)
        level[slots.place[slots.used]] = rows[slots.used]
        # A level that this device lacks reads as NaN here; it is never allowed, so the device holds.
        flat = self.values[np.arange(slots.size), level]
        return Decoded(flat, level, np.zeros(len(slots.agents), np.int64))

    def _what_is_wrong(self, actions: Mapping[str, Any]) -> str:
        self._refuse_strangers(actions)
        for agent in self.slots.agents:
            given = np.asarray(actions[agent])
            if given.shape not in ((self.slots.width,), () if self._single else None) or given.dtype.kind not in "iu":
                return (
                    f"action of {agent!r} must be {self.slots.width} whole numbers, one for each choice; "
                    f"got {actions[agent]!r}"
                )
        return "actions cannot be read as one row of choices for each agent"

    def encode(self, flat: Array) -> dict[str, Any]:
        """(W,) int64 for each agent; ignored slots are in the middle."""
        rows = np.where(self.slots.used, self.nearest(flat)[self.slots.place], self.choices // 2)
        return dict(zip(self.slots.agents, rows[:, 0] if self._single else rows, strict=True))


class Natives(Encoding):
    """Each device as it is: a Dict by device, Discrete where it has positions, Box where it is continuous.

    An agent that is one device has that device's space itself.
    """

    name = "native"

    def __init__(self, slots: Slots, groups: Sequence[DeviceGroup], levels: int) -> None:
        super().__init__(slots, groups, levels)
        names = [name for group in groups for name in group.names]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two devices are called {twice[0]!r}; actions 'native' needs unique names")
        entries = [np.flatnonzero(slots.entry_device == d) for d in range(len(names))]
        self._own: list[dict[str, IntArray]] = [
            {names[d]: entries[d] for d in np.flatnonzero(slots.device_agent == a)} for a in range(len(slots.agents))
        ]
        sizes = np.bincount(slots.device_agent, minlength=len(slots.agents))
        self._alone = bool((sizes == 1).all())

    def _counts(self, by_nature: IntArray, levels: int) -> IntArray:
        return by_nature

    def space(self, agent: int) -> spaces.Space[Any]:
        """Dict by device, or the device's own where every agent is one device."""
        own = {name: self._device_space(entries) for name, entries in self._own[agent].items()}
        return next(iter(own.values())) if self._alone else spaces.Dict(own)

    def _device_space(self, entries: IntArray) -> spaces.Space[Any]:
        counts = self.counts[entries]
        if not counts.any():
            return spaces.Box(-1.0, 1.0, (len(entries),))
        if counts.all():
            return spaces.Discrete(int(counts[0])) if len(entries) == 1 else spaces.MultiDiscrete(counts)
        parts = [spaces.Discrete(int(n)) if n else spaces.Box(-1.0, 1.0, (1,)) for n in counts]
        return spaces.Tuple(parts)

    def mask_space(self, agent: int) -> spaces.Space[Any] | None:
        """Dict of the devices that have positions, or the device's own; None where there are none."""
        own = {name: self._mask_of(entries) for name, entries in self._own[agent].items() if self.counts[entries].any()}
        if not own:
            return None
        return next(iter(own.values())) if self._alone else spaces.Dict(own)

    def _mask_of(self, entries: IntArray) -> spaces.Space[Any]:
        parts = [spaces.MultiBinary(int(n)) for n in self.counts[entries] if n]
        return parts[0] if len(entries) == 1 else spaces.Tuple(parts)

    def mask(self, agent: int, allowed: BoolArray) -> Any:
        """As ``mask_space``, int8."""
        own = {}
        for name, entries in self._own[agent].items():
            parts = [allowed[k, : self.counts[k]].astype(np.int8) for k in entries if self.counts[k]]
            if parts:
                own[name] = parts[0] if len(entries) == 1 else tuple(parts)
        if not own:
            return None
        return next(iter(own.values())) if self._alone else own

    def decode(self, actions: Mapping[str, Any]) -> Decoded:
        """See Encoding.decode; numbers outside [-1, 1] are clipped and counted."""
        if len(actions) != len(self.slots.agents) or any(agent not in actions for agent in self.slots.agents):
            self._refuse_strangers(actions)
        flat, level = np.zeros(self.slots.size), np.full(self.slots.size, -1)
        clipped = np.zeros(len(self.slots.agents), np.int64)
        for a, agent in enumerate(self.slots.agents):
            given = actions[agent]
            if not self._alone and (not isinstance(given, Mapping) or set(given) != set(self._own[a])):
                raise ValueError(f"action of {agent!r} must have the keys {', '.join(self._own[a])}; got {given!r}")
            for name, entries in self._own[a].items():
                clipped[a] += self._read(
                    f"{agent!r}, {name}", given if self._alone else given[name], entries, flat, level
                )
        return Decoded(flat, level, clipped)

    def _read(self, who: str, given: Any, entries: IntArray, flat: Array, level: IntArray) -> int:
        """Write one device's entries; how many were clipped."""
        clipped = 0
        try:
            numbers = [
                float(np.asarray(part).item())
                for part in (given if np.ndim(given) or isinstance(given, tuple) else [given])
            ]
        except (ValueError, TypeError):
            numbers = []
        if len(numbers) != len(entries) or not np.isfinite(numbers).all():
            raise ValueError(f"action of {who}: {given!r} is not {len(entries)} finite number(s)")
        for k, number in zip(entries, numbers, strict=True):
            count = int(self.counts[k])
            if not count:
                flat[k] = min(max(number, -1.0), 1.0)
                clipped += flat[k] != number
                continue
            if number != int(number) or not 0 <= number < count:
                raise ValueError(f"action of {who}: {number:g} is none of the {count} choices from 0")
            level[k] = int(number)
            flat[k] = self.values[k, level[k]]
        return clipped

    def encode(self, flat: Array) -> dict[str, Any]:
        """As ``space``."""
        level = self.nearest(flat)
        result: dict[str, Any] = {}
        for a, agent in enumerate(self.slots.agents):
            own = {name: self._written(flat, level, entries) for name, entries in self._own[a].items()}
            result[agent] = next(iter(own.values())) if self._alone else own
        return result

    def _written(self, flat: Array, level: IntArray, entries: IntArray) -> Any:
        counts = self.counts[entries]
        if not counts.any():
            return flat[entries].astype(np.float32)
        if counts.all():
            return np.int64(level[entries[0]]) if len(entries) == 1 else level[entries]
        return tuple(np.int64(level[k]) if self.counts[k] else flat[[k]].astype(np.float32) for k in entries)


ENCODINGS: dict[str, type[Encoding]] = {kind.name: kind for kind in (Boxes, MultiDiscretes, Natives)}


def encoding(name: str, slots: Slots, groups: Sequence[DeviceGroup], levels: int) -> Encoding:
    """The encoding called ``name``: box, multidiscrete or native.

    Raises:
        ValueError: the devices cannot be addressed that way.
    """
    return ENCODINGS[name](slots, groups, levels)

"""Native encoding: each device with its own action space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from dss_marl.devices import DeviceGroup
from dss_marl.grid.batch_axes import check_one_state
from dss_marl.grid.state import Array, BoolArray, IntArray
from dss_marl.mdp.actions.action_layout import ActionLayout
from dss_marl.mdp.actions.encoding import DecodedActions, Encoding


class NativeEncoding(Encoding):
    """A Dict by device: Discrete for devices with positions, Box for continuous ones.

    If every agent is one device, an agent's space is that of its device.
    """

    name = "native"

    def __init__(self, action_layout: ActionLayout, groups: Sequence[DeviceGroup], levels: int) -> None:
        super().__init__(action_layout, groups, levels)
        names = [name for group in groups for name in group.names]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two devices are named {twice[0]!r}; actions 'native' needs unique names")
        entries = [np.flatnonzero(action_layout.entry_device == d) for d in range(len(names))]
        self._own: list[dict[str, IntArray]] = [
            {names[d]: entries[d] for d in np.flatnonzero(action_layout.device_agent == a)}
            for a in range(len(action_layout.agents))
        ]
        sizes = np.bincount(action_layout.device_agent, minlength=len(action_layout.agents))
        self._alone = bool((sizes == 1).all())

    def entry_levels(self, by_nature: IntArray, levels: int) -> IntArray:
        """See Encoding.entry_levels."""
        return by_nature

    def space(self, agent: int) -> spaces.Space[Any]:
        """Dict by device, or the device's space if every agent is one device."""
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
        """Dict of the devices with positions, or the device's space; None without such devices."""
        own = {name: self._mask_of(entries) for name, entries in self._own[agent].items() if self.counts[entries].any()}
        if not own:
            return None
        return next(iter(own.values())) if self._alone else spaces.Dict(own)

    def _mask_of(self, entries: IntArray) -> spaces.Space[Any]:
        parts = [spaces.MultiBinary(int(n)) for n in self.counts[entries] if n]
        return parts[0] if len(entries) == 1 else spaces.Tuple(parts)

    def mask(self, agent: int, allowed: BoolArray) -> Any:
        """As ``mask_space``, int8."""
        check_one_state(allowed, self.values.shape, "mask: the allowed levels")
        own = {}
        for name, entries in self._own[agent].items():
            parts = [allowed[k, : self.counts[k]].astype(np.int8) for k in entries if self.counts[k]]
            if parts:
                own[name] = parts[0] if len(entries) == 1 else tuple(parts)
        if not own:
            return None
        return next(iter(own.values())) if self._alone else own

    def decode(self, actions: Mapping[str, Any]) -> DecodedActions:
        """See Encoding.decode; numbers outside [-1, 1] are clipped and counted."""
        if len(actions) != len(self.action_layout.agents) or any(
            agent not in actions for agent in self.action_layout.agents
        ):
            self._refuse_strangers(actions)
        joint_action, level = np.zeros(self.action_layout.size), np.full(self.action_layout.size, -1)
        clipped = np.zeros(len(self.action_layout.agents), np.int64)
        for a, agent in enumerate(self.action_layout.agents):
            given = actions[agent]
            if not self._alone and (not isinstance(given, Mapping) or set(given) != set(self._own[a])):
                raise ValueError(f"action of {agent!r} must have the keys {', '.join(self._own[a])}; got {given!r}")
            for name, entries in self._own[a].items():
                clipped[a] += self._read(
                    f"{agent!r}, {name}", given if self._alone else given[name], entries, joint_action, level
                )
        return DecodedActions(joint_action, level, clipped)

    def _read(self, who: str, given: Any, entries: IntArray, joint_action: Array, level: IntArray) -> int:
        """Write one device's entries; returns the number of clipped values."""
        clipped = 0
        try:
            several = isinstance(given, tuple | list) or np.ndim(given)  # numpy takes no tuple of choices and vectors
            numbers = [float(np.asarray(part).item()) for part in (given if several else [given])]
        except (ValueError, TypeError):
            numbers = []
        if len(numbers) != len(entries) or not np.isfinite(numbers).all():
            raise ValueError(f"action of {who}: {given!r} must be {len(entries)} finite number(s)")
        for k, number in zip(entries, numbers, strict=True):
            count = int(self.counts[k])
            if not count:
                joint_action[k] = min(max(number, -1.0), 1.0)
                clipped += joint_action[k] != number
                continue
            if number != int(number) or not 0 <= number < count:
                raise ValueError(f"action of {who}: {number:g} is not one of the {count} choices from 0")
            level[k] = int(number)
            joint_action[k] = self.values[k, level[k]]
        return clipped

    def encode(self, joint_action: Array) -> dict[str, Any]:
        """As ``space``."""
        check_one_state(joint_action, self.counts.shape, "encode: the joint action")
        level = self.nearest(joint_action)
        result: dict[str, Any] = {}
        for a, agent in enumerate(self.action_layout.agents):
            own = {name: self._written(joint_action, level, entries) for name, entries in self._own[a].items()}
            result[agent] = next(iter(own.values())) if self._alone else own
        return result

    def _written(self, joint_action: Array, level: IntArray, entries: IntArray) -> Any:
        counts = self.counts[entries]
        if not counts.any():
            return joint_action[entries].astype(np.float32)
        if counts.all():
            return np.int64(level[entries[0]]) if len(entries) == 1 else level[entries]
        return tuple(np.int64(level[k]) if self.counts[k] else joint_action[[k]].astype(np.float32) for k in entries)

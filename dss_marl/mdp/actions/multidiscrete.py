"""Multi-discrete encoding: an agent's action as one level per entry."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces

from dss_marl.grid.batch_axes import check_one_state
from dss_marl.grid.state import Array, BoolArray, IntArray
from dss_marl.mdp.actions.encoding import DecodedActions, Encoding


class MultiDiscreteEncoding(Encoding):
    """Every entry is discrete: the inherent positions of a device, otherwise ``levels`` evenly spaced over [-1, 1].

    All agents have the same space; the mask excludes entries without a device and positions that a device lacks. Agents
    with a single entry have a Discrete space, which more algorithms support.
    """

    name = "multidiscrete"

    def entry_levels(self, by_nature: IntArray, levels: int) -> IntArray:
        """See Encoding.entry_levels."""
        return np.where(by_nature > 0, by_nature, levels)

    @cached_property
    def choices(self) -> IntArray:
        """(W) number of choices of each entry."""
        return np.where(self.action_layout.used, self.counts[self.action_layout.place], 1).max(0)

    @property
    def _single(self) -> bool:
        return len(self.choices) == 1

    def space(self, agent: int) -> spaces.Space[Any]:
        """MultiDiscrete or Discrete, the same for all agents."""
        return spaces.Discrete(int(self.choices[0])) if self._single else spaces.MultiDiscrete(self.choices)

    def mask_space(self, agent: int) -> spaces.Space[Any]:
        """A MultiBinary for each entry."""
        parts = [spaces.MultiBinary(int(n)) for n in self.choices]
        return parts[0] if self._single else spaces.Tuple(parts)

    def mask(self, agent: int, allowed: BoolArray) -> Any:
        """Per entry (n,) int8; without a device only the middle choice is allowed."""
        check_one_state(allowed, self.values.shape, "mask: the allowed levels")
        masks = []
        for place, n in zip(self.action_layout.place[agent], self.choices, strict=True):
            mask = np.zeros(n, np.int8)
            if place >= 0:
                own = allowed[place, :n]
                mask[: len(own)] = own
            else:
                mask[n // 2] = 1
            masks.append(mask)
        return masks[0] if self._single else tuple(masks)

    def decode(self, actions: Mapping[str, Any]) -> DecodedActions:
        """See Encoding.decode."""
        action_layout = self.action_layout
        try:
            rows = np.array([actions[agent] for agent in action_layout.agents])
            rows = rows[:, None] if self._single and rows.ndim == 1 else rows
        except (KeyError, ValueError, TypeError):
            rows = np.empty(0)
        if (
            rows.shape != action_layout.place.shape
            or len(actions) != len(action_layout.agents)
            or rows.dtype.kind not in "iu"
        ):
            raise ValueError(self._what_is_wrong(actions))
        return self._decoded(rows)

    def decode_rows(self, rows: np.ndarray) -> DecodedActions:
        """See Encoding.decode_rows."""
        self._check_rows(rows, "iu")
        return self._decoded(rows)

    def _decoded(self, rows: np.ndarray) -> DecodedActions:
        """Of rows (..., A, W)."""
        action_layout = self.action_layout
        if (rows < 0).any() or (rows >= self.choices).any():
            *copy, a, w = np.argwhere((rows < 0) | (rows >= self.choices))[0].tolist()
            where = f" of copy {copy[0]}" if copy else ""
            raise ValueError(
                f"action of {action_layout.agents[a]!r}{where}: entry {w} is {rows[(*copy, a, w)]}; "
                f"it must be from 0 to {self.choices[w] - 1}"
            )
        level = action_layout.joint_action(rows).astype(np.int64)
        # A level that this device lacks becomes NaN; it is never allowed, so the device holds.
        joint_action = self.values[np.arange(action_layout.size), level]
        return DecodedActions(joint_action, level, np.zeros(rows.shape[:-1], np.int64))

    def _what_is_wrong(self, actions: Mapping[str, Any]) -> str:
        self._refuse_strangers(actions)
        for agent in self.action_layout.agents:
            given = np.asarray(actions[agent])
            if (
                given.shape not in ((self.action_layout.width,), () if self._single else None)
                or given.dtype.kind not in "iu"
            ):
                return (
                    f"action of {agent!r} must be {self.action_layout.width} integers, one for each entry; "
                    f"got {actions[agent]!r}"
                )
        return "actions cannot be converted to one row of choices per agent"

    def encode(self, joint_action: Array) -> dict[str, Any]:
        """(W,) int64 for each agent; ignored entries take the middle choice."""
        check_one_state(joint_action, self.counts.shape, "encode: the joint action")
        rows = np.where(
            self.action_layout.used, self.nearest(joint_action)[self.action_layout.place], self.choices // 2
        )
        return dict(zip(self.action_layout.agents, rows[:, 0] if self._single else rows, strict=True))

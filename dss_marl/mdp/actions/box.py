"""Box encoding: an agent's action as a continuous vector."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces

from dss_marl.grid.batch_axes import check_one_state
from dss_marl.grid.state import Array, BoolArray, IntArray
from dss_marl.mdp.actions.encoding import DecodedActions, Encoding


class BoxEncoding(Encoding):
    """Every entry is continuous in [-1, 1]; all agents have the same width."""

    name = "box"

    def entry_levels(self, by_nature: IntArray, levels: int) -> IntArray:
        """See Encoding.entry_levels."""
        return np.zeros_like(by_nature)

    def space(self, agent: int) -> spaces.Box:
        """Box of the common width."""
        return spaces.Box(-1.0, 1.0, (self.action_layout.width,))

    def mask_space(self, agent: int) -> None:
        """None: continuous entries have no mask."""

    def mask(self, agent: int, allowed: BoolArray) -> None:
        """None."""

    def decode(self, actions: Mapping[str, Any]) -> DecodedActions:
        """See Encoding.decode; entries outside [-1, 1] are clipped and counted."""
        action_layout = self.action_layout
        try:
            rows = np.array([actions[agent] for agent in action_layout.agents], dtype=float)
        except (KeyError, ValueError, TypeError):
            rows = np.empty(0)
        if rows.shape != action_layout.place.shape or len(actions) != len(action_layout.agents):
            raise ValueError(self._what_is_wrong(actions))
        return self._decoded(rows)

    def decode_rows(self, rows: np.ndarray) -> DecodedActions:
        """See Encoding.decode_rows; entries outside [-1, 1] are clipped and counted."""
        self._check_rows(rows, "iuf")
        return self._decoded(rows if rows.dtype.kind == "f" else rows.astype(float))

    def _decoded(self, rows: Array) -> DecodedActions:
        """Of rows (..., A, W)."""
        action_layout = self.action_layout
        clipped = self._no_clips if rows.ndim == 2 else np.zeros(rows.shape[:-1], np.int64)
        if not np.maximum.reduce(np.abs(rows), axis=None) <= 1.0:  # false for NaN too
            if np.isnan(rows).any():
                *copy, a = np.argwhere(np.isnan(rows).any(-1))[0].tolist()
                where = f" of copy {copy[0]}" if copy else ""
                raise ValueError(
                    f"action of {action_layout.agents[a]!r}{where} contains NaN: {rows[(*copy, a)]!r}; check the policy"
                )
            inside = np.clip(rows, -1.0, 1.0)
            clipped = ((inside != rows) & action_layout.used).sum(-1)
            rows = inside
        joint_action, none = action_layout.joint_action(rows).astype(float, copy=False), self._no_levels
        levels = none if rows.ndim == 2 else np.broadcast_to(none, joint_action.shape)
        return DecodedActions(joint_action, levels, clipped)

    @cached_property
    def _no_clips(self) -> IntArray:
        none = np.zeros(len(self.action_layout.agents), np.int64)
        none.flags.writeable = False  # shared by the steps
        return none

    @cached_property
    def _no_levels(self) -> IntArray:
        return np.full(self.action_layout.size, -1)

    def _what_is_wrong(self, actions: Mapping[str, Any]) -> str:
        self._refuse_strangers(actions)
        for agent in self.action_layout.agents:
            try:
                shape = np.asarray(actions[agent], dtype=float).shape
            except (ValueError, TypeError):
                return f"action of {agent!r} is not a numeric vector: {actions[agent]!r}"
            if shape != (self.action_layout.width,):
                return f"action of {agent!r} has shape {shape}; it must be ({self.action_layout.width},)"
        return "actions cannot be converted to one numeric row per agent"

    def encode(self, joint_action: Array) -> dict[str, Any]:
        """(W,) float32 for each agent; ignored entries are 0."""
        check_one_state(joint_action, self.counts.shape, "encode: the joint action")
        return dict(
            zip(self.action_layout.agents, self.action_layout.rows(joint_action).astype(np.float32), strict=True)
        )

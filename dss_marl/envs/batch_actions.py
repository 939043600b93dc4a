"""ActionRows: the actions of all agents and copies as one array, and back to joint actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dss_marl.envs.flattening import action_in, width
from dss_marl.mdp.actions import DecodedActions, Encoding


class ActionRows:
    """Decodes (B, A, W) actions: each agent's in the first entries of its row, flattened as ``action_in`` expects.

    Encodings whose agents share a space are decoded for all copies at once, others copy by copy.

    Args:
        encoding: of one copy's agents.
        copies: their number B.

    Attributes:
        shape: (B, A, W).
    """

    def __init__(self, encoding: Encoding, copies: int) -> None:
        self._encoding = encoding
        self._agents = encoding.action_layout.agents
        self._spaces = [encoding.space(a) for a in range(len(self._agents))]
        self._widths = [width(space) for space in self._spaces]
        self.shape = (copies, len(self._agents), max(self._widths))

    def decode(self, actions: np.ndarray | Sequence[Mapping[str, Any]]) -> DecodedActions:
        """Joint actions (B, F) with levels (B, F) and clipped values (B, A).

        Raises:
            ValueError: a wrong shape or type, NaN, or no such choice.
        """
        if isinstance(actions, np.ndarray):
            rows = actions[..., None] if actions.shape == self.shape[:2] and self.shape[2] == 1 else actions
            if rows.shape != self.shape:
                raise ValueError(
                    f"actions must have shape {self.shape}: copies, agents and entries; got {actions.shape}"
                )
            if self._encoding.by_rows:
                return self._encoding.decode_rows(rows)
            return self._one_by_one([self._by_agent(row) for row in rows])
        if len(actions) != self.shape[0]:
            raise ValueError(f"{len(actions)} dicts of actions for {self.shape[0]} copies")
        return self._one_by_one(actions)

    def _by_agent(self, rows: np.ndarray) -> dict[str, Any]:
        parts = zip(self._agents, self._spaces, rows, self._widths, strict=True)
        return {agent: action_in(space, row[:n]) for agent, space, row, n in parts}

    def _one_by_one(self, actions: Sequence[Mapping[str, Any]]) -> DecodedActions:
        rows = [self._encoding.decode(own) for own in actions]
        return DecodedActions(
            *(np.stack([getattr(row, name) for row in rows]) for name in ("joint_action", "level", "clipped"))
        )

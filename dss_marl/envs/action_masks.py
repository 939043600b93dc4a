"""ActionMasks: exact masks of the levels that devices can execute now, and the treatment of masked choices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from dss_marl.envs.simulator import Simulator
from dss_marl.grid.batch_axes import counted
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray
from dss_marl.mdp.actions import DecodedActions


class Levels(NamedTuple):
    """The levels of all entries in an interval.

    They differ where a device can execute none of its levels, for instance while it waits: the level nearest to its
    present set point is then allowed and means hold.

    Attributes:
        possible: (..., F, L) True where the device would execute the level.
        allowed: (..., F, L) True where the mask allows the level.
    """

    possible: BoolArray
    allowed: BoolArray


class ActionMasks:
    """The masks of a task's agents.

    Args:
        simulator: its devices decide what is feasible.

    Attributes:
        key: of the mask in an observation.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._agents, self._encoding = simulator.task.agents, simulator.task.encoding
        self._spaces = [self._encoding.mask_space(a) for a in range(len(self._agents.names))]
        # Where only some devices have choices, no mask fits PettingZoo's rule that it covers the whole action.
        whole = all(space is not None for space in self._spaces) and not (self._encoding.counts == 0).any()
        self.key = "action_mask" if whole else "choice_mask"

    def observation_space(self, agent: int, box: spaces.Box) -> spaces.Space[Any]:
        """Space of an agent's observation, including a mask if the agent has choices."""
        mask = self._spaces[agent]
        return box if mask is None else spaces.Dict({"observation": box, self.key: mask})

    def observations(self, rows: Array, levels: Levels | None) -> dict[str, Any]:
        """Observation of each agent: its row of (A, n), and its mask if it has choices."""
        seen: dict[str, Any] = dict(zip(self._agents.names, rows, strict=True))
        if levels is None:
            return seen
        for a, (agent, row) in enumerate(seen.items()):
            mask = self._encoding.mask(a, levels.allowed)
            if mask is not None:
                seen[agent] = {"observation": row, self.key: mask}
        return seen

    def levels(self, now: GridState) -> Levels | None:
        """Levels that the devices can execute in the coming interval; None if no entry is a choice."""
        encoding, simulator = self._encoding, self._simulator
        if not encoding.discrete:
            return None
        possible = simulator.feasible(now, encoding.values) & ~np.isnan(encoding.values)
        possible &= simulator.fleet.can_act(now.step)[..., None]
        allowed = possible.copy()
        held = encoding.nearest(simulator.hold_action(now))
        stuck = np.nonzero(~allowed.any(-1) & (held >= 0))
        allowed[(*stuck, held[stuck])] = True
        return Levels(possible, allowed)

    def enforce(self, decoded: DecodedActions, levels: Levels | None, now: GridState) -> tuple[Array, IntArray]:
        """(..., F) the joint action with masked choices replaced by holding; (..., A) the number of illegal choices."""
        count, chosen = len(self._agents.names), decoded.level
        none = np.zeros((*chosen.shape[:-1], count), np.int64)
        if levels is None:
            return decoded.joint_action, none
        place = (*np.indices(chosen.shape, sparse=True), chosen)
        impossible = (chosen >= 0) & ~levels.possible[place]
        if not impossible.any():
            return decoded.joint_action, none
        illegal = impossible & ~levels.allowed[place]
        joint_action = np.where(impossible, self._simulator.hold_action(now), decoded.joint_action)
        return joint_action, counted(self._agents.action_layout.entry_agent, illegal, count).astype(np.int64)

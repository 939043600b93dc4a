"""MaskRows: the action masks of all agents and copies as one array, picked from the levels that are allowed."""

from __future__ import annotations

import numpy as np

from dss_marl.envs.flattening import flat_mask, flatten_space, n_choices
from dss_marl.grid.state import BoolArray, IntArray
from dss_marl.mdp.actions import Encoding


class MaskRows:
    """Flat masks (..., A, M) of an encoding, as sb3_contrib expects them; shorter ones are padded with False.

    Every entry of a mask is a level of the joint action, or always the same. Which one is found out once, by asking the
    encoding for the masks of levels that are numbered in binary.

    Args:
        encoding: says what the masks are.

    Attributes:
        width: length M of the longest mask; 0 if no action is a choice.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        agents = range(len(encoding.action_layout.agents))
        self._spaces = [encoding.space(a) for a in agents]
        choices = [n_choices(flatten_space(space)) for space in self._spaces]
        masked = [encoding.mask_space(a) is not None and choices[a] > 0 for a in agents]
        self.width = max((n for n, own in zip(choices, masked, strict=True) if own), default=0)
        self._free = [a for a in agents if not masked[a]]
        self._choices = choices
        if self.width:
            self._source, self._fixed = self._traced()

    def of(self, allowed: BoolArray) -> BoolArray:
        """(..., A, M) masks of the levels (..., F, L) that are allowed."""
        flat = allowed.reshape(*allowed.shape[:-2], -1)
        return flat.take(self._source, axis=-1) & self._fixed[0] | self._fixed[1]

    def _traced(self) -> tuple[IntArray, BoolArray]:
        """(A, M) the level behind each entry, and (2, A, M) whether it shows, and whether it is always allowed."""
        shape = self._encoding.values.shape
        number = np.arange(shape[0] * shape[1])
        always = self._asked(np.zeros(shape, bool))
        shown = self._asked(np.ones(shape, bool)) & ~always
        source = np.zeros(always.shape, np.int64)
        for bit in range(int(number[-1]).bit_length()):
            source |= (self._asked((number >> bit & 1 > 0).reshape(shape)) & shown).astype(np.int64) << bit
        return source, np.stack([shown, always])

    def _asked(self, allowed: BoolArray) -> BoolArray:
        """(A, M) the masks of the encoding for one state's levels (F, L)."""
        rows = np.zeros((len(self._spaces), self.width), bool)
        for a, space in enumerate(self._spaces):
            if a in self._free:
                rows[a, : self._choices[a]] = True
            else:
                own = flat_mask(space, self._encoding.mask(a, allowed))
                rows[a, : len(own)] = own
        return rows

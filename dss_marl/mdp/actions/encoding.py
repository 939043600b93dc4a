"""Action encodings: continuous, discrete levels, or each device's native space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from dss_marl.devices import DeviceGroup
from dss_marl.grid.state import Array, BoolArray, IntArray
from dss_marl.mdp.actions.action_layout import ActionLayout


@dataclass(frozen=True)
class DecodedActions:
    """Decoded requests of all agents.

    Attributes:
        joint_action: (..., F) in [-1, 1], all entries of all devices.
        level: (..., F) the level chosen, -1 where the entry is a number.
        clipped: (..., A) how many of an agent's numbers were out of range.
    """

    joint_action: Array
    level: IntArray
    clipped: IntArray


class Encoding(ABC):
    """Mapping between agents' actions and the joint action.

    Your own encoding is a subclass that defines the abstract methods, or a subclass of a shipped one; a scenario names
    it as ``actions: package.module:Class``. Most learning libraries require equal spaces for all agents.

    Args:
        action_layout: assignment of entries to agents.
        groups: the devices, kind by kind.
        levels: number of choices of a continuous entry, if the encoding has only choices.

    Attributes:
        action_layout: assignment of entries to agents.
        counts: (F) number of levels of each entry, 0 if continuous.
    """

    name: ClassVar[str]

    def __init__(self, action_layout: ActionLayout, groups: Sequence[DeviceGroup], levels: int) -> None:
        self.action_layout = action_layout
        self.groups = tuple(groups)
        by_nature = np.concatenate([np.asarray(group.n_levels(), np.int64).ravel() for group in groups])
        self.counts = self.entry_levels(by_nature, levels)

    @abstractmethod
    def entry_levels(self, by_nature: IntArray, levels: int) -> IntArray:
        """(F) number of levels of each entry, from the device's inherent ones (0: none) and a number for the others."""

    @abstractmethod
    def space(self, agent: int) -> spaces.Space[Any]:
        """Action space of an agent."""

    @abstractmethod
    def mask_space(self, agent: int) -> spaces.Space[Any] | None:
        """Space of an agent's mask; None if nothing can be masked."""

    @abstractmethod
    def mask(self, agent: int, allowed: BoolArray) -> Any:
        """An agent's mask, int8, from (F, L) allowed levels."""

    @abstractmethod
    def decode(self, actions: Mapping[str, Any]) -> DecodedActions:
        """Convert agents' actions to the joint action.

        Raises:
            ValueError: a missing or unknown agent, a wrong shape or type, NaN, or an invalid level; names the agent.
        """

    @cached_property
    def by_rows(self) -> bool:
        """Whether ``decode_rows`` can be used: one class defines it together with ``decode``."""
        first, second = (
            next(cls for cls in type(self).__mro__ if name in vars(cls)) for name in ("decode", "decode_rows")
        )
        return first is second

    def decode_rows(self, rows: np.ndarray) -> DecodedActions:
        """Convert actions of all agents as rows, (..., A, W) in the order of the layout, to joint actions (..., F).

        Raises:
            ValueError: a wrong shape or type, NaN, or an invalid level; names the agent and the copy.
            TypeError: the encoding has no rows, as its agents' spaces differ.
        """
        raise TypeError(f"actions {type(self).__name__} have no common rows; give a dict of actions for each copy")

    def _check_rows(self, rows: np.ndarray, kinds: str) -> None:
        shape = self.action_layout.place.shape
        if rows.shape[-2:] != shape or rows.dtype.kind not in kinds:
            numbers = "numbers" if "f" in kinds else "integers"
            raise ValueError(
                f"actions must be {numbers} of shape (..., {shape[0]}, {shape[1]}), agents and entries; got "
                f"{rows.dtype} of shape {rows.shape}"
            )

    @abstractmethod
    def encode(self, joint_action: Array) -> dict[str, Any]:
        """The inverse of ``decode``, of one joint action (F); a number between two levels goes to the nearer.

        Raises:
            ValueError: several joint actions.
        """

    @cached_property
    def discrete(self) -> bool:
        """Whether any entry has levels."""
        return bool((self.counts > 0).any())

    @cached_property
    def values(self) -> Array:
        """(F, L) value of each level, NaN where there is no such level."""
        table = np.full((len(self.counts), int(self.counts.max(initial=0))), np.nan)
        for row, count in zip(table, self.counts, strict=True):
            row[:count] = np.linspace(-1, 1, count) if count > 1 else 0.0
        return table

    def nearest(self, joint_action: Array) -> IntArray:
        """(..., F) the level next to each number; the lower of two equally near, -1 where there are none."""
        if not self.discrete:
            return np.full(joint_action.shape, -1)
        level = np.nanargmin(
            np.abs(np.where(self.counts[:, None] > 0, self.values, 0.0) - joint_action[..., None]), axis=-1
        )
        return np.where(self.counts > 0, level, -1)

    def _refuse_strangers(self, actions: Mapping[str, Any]) -> None:
        names = self.action_layout.agents
        missing = [agent for agent in names if agent not in actions]
        if missing:
            raise ValueError(f"no action for {missing[0]!r}; needed for each of {', '.join(names)}")
        unknown = [agent for agent in actions if agent not in names]
        if unknown:
            raise ValueError(f"action for unknown agent {unknown[0]!r}; agents are {', '.join(names)}")

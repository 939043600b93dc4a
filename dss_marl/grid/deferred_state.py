"""DeferredState: a grid state whose forecast and price are looked up when something asks for them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Protocol

import numpy as np

from dss_marl.grid.state import Array, BoolArray, GridState, IntArray


class Outlook(Protocol):
    """What is known of the intervals ahead of some copies; B copies, or none of these axes for a single one."""

    def taken(self, rows: int | IntArray | BoolArray) -> Outlook:
        """That of some copies, by number or mask."""

    def merged(self, other: Outlook, rows: BoolArray) -> Outlook:
        """With some copies, (B) True, taken from another."""

    def forecast(self) -> Array:
        """(..., H, J); see GridState.forecast."""

    def available(self) -> Array:
        """(..., J); see GridState.available."""

    def price(self) -> Array:
        """(..., H); see GridState.price."""

    def kept(self, name: str) -> np.ndarray:
        """(..., ...) further values that follow from the day and the step, computed in advance; a new array."""


@dataclass(frozen=True)
class DeferredState(GridState):
    """As GridState; forecasts of many copies take more memory than all else in their states, and few tasks read them.

    Make it with ``assembled``, leaving out ``forecast`` and ``price``.

    Attributes:
        outlook: where they are looked up, once each.
    """

    outlook: Outlook = field(kw_only=True)

    @cached_property  # type: ignore[misc]  # a field there
    def forecast(self) -> Array:
        """See GridState."""
        return self.outlook.forecast()

    @cached_property  # type: ignore[misc]  # a field there
    def price(self) -> Array:
        """See GridState."""
        return self.outlook.price()

    @cached_property
    def available(self) -> Array:
        """See GridState."""
        return self.forecast[..., 0, :] if "forecast" in self.__dict__ else self.outlook.available()

    def complete(self) -> GridState:
        """The same as a GridState that depends on nothing else."""
        return GridState(**{f.name: getattr(self, f.name) for f in fields(GridState)})

"""What every engine does, and how a power flow fails."""

from __future__ import annotations

from typing import Protocol

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Setpoints, Solution


class PowerFlowError(RuntimeError):
    """No usable solution: no convergence, values that are not finite, or a voltage below the floor."""


class Engine(Protocol):
    """Solves set points of one feeder, history free.

    The same set points give the same solution, within the engine's stated tolerance, whatever was solved before.
    """

    feeder: Feeder

    def solve(self, setpoints: Setpoints, controls: bool = False) -> Solution:
        """Steady state of the feeder.

        Args:
            setpoints: in the Feeder's order, of one state; an engine that also solves batches says so.
            controls: let the circuit's own regulator and capacitor controls act, starting from the set points' taps
                and states; what they did is in the solution's ``tap`` and ``closed``.

        Raises:
            PowerFlowError: no usable solution. The engine can go on with other set points.
            ValueError: the set points are not of one state of this feeder.
        """

    def restart(self) -> None:
        """Forget all history: the solves that follow are bitwise those of a new engine."""

    def close(self) -> None:
        """Give back what the engine holds; it opens again by itself when it is used."""

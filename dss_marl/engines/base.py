"""The interface of a power-flow engine, and the error of a failed power flow."""

from __future__ import annotations

from typing import Protocol

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Setpoints, Solution


class PowerFlowError(RuntimeError):
    """No usable solution: no convergence, non-finite values, or a voltage below the floor."""


class Engine(Protocol):
    """Solves the power flow of one feeder, independent of earlier solves.

    Your own engine is a class or a function that is called with the feeder; ``open_engine`` and ``ZoneEnv(engine=...)``
    accept it as ``package.module:name``. Its attribute ``feeder`` is that feeder.

    The same set points give the same solution, within the engine's stated tolerance, whatever was solved before.
    """

    feeder: Feeder

    def solve(self, setpoints: Setpoints, controls: bool = False) -> Solution:
        """Steady state of the feeder.

        Args:
            setpoints: in the Feeder's order, of one state; an engine that also solves batches says so.
            controls: let the circuit's own regulator and capacitor controls act, starting from the taps and states of
                the set points; the result is in the solution's ``tap`` and ``closed``.

        Raises:
            PowerFlowError: no usable solution. The engine stays usable for other set points.
            ValueError: the set points are not of one state of this feeder.
        """

    def restart(self) -> None:
        """Discard all history: subsequent solves are bitwise those of a new engine."""

    def close(self) -> None:
        """Release the engine's resources; it reopens by itself on the next use."""

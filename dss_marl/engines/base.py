"""The interfaces of power-flow engines, for one state and for many, and the error of a failed power flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import BoolArray, Setpoints, Solution


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


class BatchEngine(Protocol):
    """Solves the power flows of several copies of one feeder at once.

    The set points of all copies arrive as arrays with a leading axis B, and the solution leaves as such; nothing is
    asked for copy by copy. Your own is a class or a function that is called with the feeder and ``copies``;
    ``open_batch_engine`` and ``make_batch(engine=...)`` accept it as ``package.module:name``.

    Each copy is independent of the others. As for ``Engine``, equal set points give equal solutions within the stated
    tolerance; a copy that has been restarted repeats its solutions bitwise.

    An engine that works in single precision says so by an attribute ``precision``, ``numpy.float32``. Powers of its set
    points are then of this type, and so are voltages, losses, powers and loadings of its solutions; features and
    reward terms stay in it, and are compiled where Numba is installed.

    Attributes:
        feeder: of every copy.
        copies: their number B.
    """

    feeder: Feeder
    copies: int

    @property
    def reasons(self) -> Mapping[int, str]:
        """What was wrong with the copies that failed in the last solve, by number; may be empty."""

    def solve(
        self, setpoints: Setpoints, controls: bool = False, wanted: BoolArray | None = None
    ) -> tuple[Solution, BoolArray]:
        """Steady states of the copies.

        Args:
            setpoints: (B, ...), in the Feeder's order.
            controls: see Engine.solve.
            wanted: (B) True for the copies to solve; None: all.

        Returns:
            the solution, (B, ...), and (B) True where a copy that was wanted has no usable one. Rows of copies that
            failed or were not wanted hold finite numbers without meaning.

        Raises:
            ValueError: the set points are not of these copies.
        """

    def restart(self, which: BoolArray | None = None) -> None:
        """Discard the history of some copies, (B) True, or of all."""

    def close(self) -> None:
        """Release the engine's resources; it reopens by itself on the next use."""

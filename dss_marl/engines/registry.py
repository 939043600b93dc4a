"""Power-flow engines by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from dss_marl._plugins import imported
from dss_marl.engines.base import BatchEngine, Engine
from dss_marl.engines.engine_loop import EngineLoop
from dss_marl.engines.opendss.batch import OpenDSSBatch
from dss_marl.engines.opendss.engine import OpenDSSEngine
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.solution_slopes import SolutionSlopes
from dss_marl.grid.state import Array, BoolArray, Setpoints

ENGINES: dict[str, Callable[..., Engine]] = {"opendss": OpenDSSEngine}


def _batched(
    feeder: Feeder, copies: int, moving: tuple[BoolArray, BoolArray] | None = None, **options: Any
) -> BatchEngine:
    """See BatchedEngine, whose imports take as long as those of all the rest."""
    from dss_marl.engines.batched.engine import BatchedEngine

    return BatchedEngine(feeder, copies, moving=moving, **options)


BATCH_ENGINES: dict[str, Callable[..., BatchEngine]] = {"opendss": OpenDSSBatch, "batched": _batched}


def open_engine(feeder: Feeder, name: str = "opendss", **options: Any) -> Engine:
    """A solver for a feeder.

    Args:
        feeder: the circuit to solve.
        name: a known engine, or your own as ``package.module:name``, called with the feeder and the options.
        options: of the engine; ``tolerance`` is the largest change of a voltage in the last iteration [pu].

    Raises:
        ValueError: unknown engine, or options that it does not take.
    """
    if name in BATCH_ENGINES and name not in ENGINES:
        raise ValueError(
            f"engine {name!r} solves many copies at once: use it with make_batch, make_vec or to_sb3; one environment "
            f"has {', '.join(ENGINES)}"
        )
    engine = ENGINES.get(name) or imported(name, "engine", ENGINES)
    try:
        return engine(feeder, **options)
    except TypeError as error:
        raise ValueError(f"engine {name!r} cannot be called with a feeder and {options}: {error}") from error


def open_batch_engine(
    feeder: Feeder,
    copies: int,
    name: str = "opendss",
    moving: tuple[BoolArray, BoolArray] | None = None,
    **options: Any,
) -> BatchEngine:
    """A solver for several copies of a feeder.

    Args:
        feeder: the circuit to solve.
        copies: their number.
        name: a known engine, or your own as ``package.module:name``. One that has a parameter ``copies`` solves
            batches; of any other, each copy gets one.
        moving: (R) and (S) True for the taps and switches that may move, for engines with such a parameter; None: all.
        options: of the engine.

    Raises:
        ValueError: unknown engine, no copies, or options that it does not take.
    """
    if copies < 1:
        raise ValueError(f"copies must be at least 1; got {copies}")
    engine: Any = BATCH_ENGINES.get(name) or ENGINES.get(name) or imported(name, "engine", _known())
    if "copies" not in inspect.signature(engine).parameters:
        return EngineLoop([open_engine(feeder, name, **options) for _ in range(copies)])
    if moving is not None and "moving" in inspect.signature(engine).parameters:
        options["moving"] = moving
    try:
        return engine(feeder, copies=copies, **options)
    except TypeError as error:
        raise ValueError(f"engine {name!r} cannot be called with a feeder, copies and {options}: {error}") from error


def batch_of(engines: Sequence[Engine]) -> BatchEngine:
    """A batch engine over engines that exist, one for each copy, all of the same feeder."""
    if all(type(engine) is OpenDSSEngine for engine in engines):
        return OpenDSSBatch.of(engines)  # type: ignore[arg-type]
    return EngineLoop(engines)


def _known() -> dict[str, Any]:
    return {**ENGINES, **BATCH_ENGINES}


def setpoint_gradients(feeder: Feeder) -> Callable[[Setpoints, SolutionSlopes], tuple[Array, Array]]:
    """What makes slopes with respect to set points of slopes with respect to solutions; see SetpointGradients."""
    from dss_marl.engines.batched.gradients.setpoint_gradients import SetpointGradients

    return SetpointGradients(feeder)

"""Power-flow engines by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dss_marl._plugins import imported
from dss_marl.engines.base import Engine
from dss_marl.engines.opendss.engine import OpenDSSEngine
from dss_marl.grid.feeder import Feeder

ENGINES: dict[str, Callable[..., Engine]] = {"opendss": OpenDSSEngine}


def open_engine(feeder: Feeder, name: str = "opendss", **options: Any) -> Engine:
    """A solver for a feeder.

    Args:
        feeder: the circuit to solve.
        name: a known engine, or your own as ``package.module:name``, called with the feeder and the options.
        options: of the engine; ``tolerance`` is the largest change of a voltage in the last iteration [pu].

    Raises:
        ValueError: unknown engine, or options that it does not take.
    """
    engine = ENGINES.get(name) or imported(name, "engine", ENGINES)
    try:
        return engine(feeder, **options)
    except TypeError as error:
        raise ValueError(f"engine {name!r} cannot be called with a feeder and {options}: {error}") from error

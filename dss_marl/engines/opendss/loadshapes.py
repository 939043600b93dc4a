"""Reads the LoadShapes of a circuit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.engines.opendss.context import acquire, compile_circuit, release
from dss_marl.engines.opendss.terminals import activate
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array


@dataclass(frozen=True)
class LoadShape:
    """A series of multipliers of a load's power.

    Attributes:
        name: of the shape.
        minutes: length of an interval; 0 if the shape has explicit times.
        factors: (rows) multipliers of the nominal kW, or kW where ``actual``.
        actual: whether the shape holds powers instead [kW].
    """

    name: str
    minutes: float
    factors: Array
    actual: bool


def read_load_shapes(feeder: Feeder, which: str = "daily") -> dict[str, LoadShape]:
    """Name of each load to its shape (``daily`` or ``yearly``), for loads that have one."""
    context = acquire()
    try:
        compile_circuit(context, feeder.path, feeder.commands)
        names: dict[str, str] = {}
        for row in feeder.injections:
            if row.kind == "load":
                activate(context, row.name)
                shape = context.Properties.Value(which).strip().lower()
                if shape and shape != "none":
                    names[row.name] = shape
        shapes = {name: _shape(context, name) for name in set(names.values())}
        return {load: shapes[name] for load, name in names.items()}
    finally:
        release(context)


def _shape(context: object, name: str) -> LoadShape:
    shapes = context.LoadShape  # type: ignore[attr-defined]
    shapes.Name(name)
    return LoadShape(
        name=name,
        minutes=float(shapes.MinInterval()),
        factors=np.array(shapes.PMult(), dtype=float),
        actual=bool(shapes.UseActual()),
    )

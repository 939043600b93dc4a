"""Reads the LoadShapes of a circuit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dss_marl.engines.opendss.context import acquire, compile_circuit, release
from dss_marl.engines.opendss.terminals import elements
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array

_FIXED = 1  # status of a load that follows no shape; "exempt" follows its shape but not the circuit's LoadMult


@dataclass(frozen=True)
class LoadShape:
    """A series of multipliers of an element's power.

    Attributes:
        name: of the shape.
        minutes: length of an interval; 0 if the shape has explicit times.
        factors: (rows) multipliers of the nominal kW, or kW where ``actual``.
        actual: whether the shape holds powers instead [kW, kvar].
        reactive: (rows) multipliers of the nominal kvar, or kvar where ``actual``; empty where the shape has none: kvar
            then follow ``factors``, and are 0 where ``actual``.
    """

    name: str
    minutes: float
    factors: Array
    actual: bool
    reactive: Array = field(default_factory=lambda: np.zeros(0))

    def kw(self, nominal: float) -> Array:
        """(rows) power of an element of this nominal power [kW]."""
        return self.factors if self.actual else nominal * self.factors

    def kvar(self, nominal: float) -> Array:
        """(rows) reactive power of an element of this nominal reactive power [kvar]."""
        if len(self.reactive):
            return self.reactive if self.actual else nominal * self.reactive
        return np.zeros(len(self.factors)) if self.actual else nominal * self.factors


def read_load_shapes(feeder: Feeder, which: str = "daily") -> dict[str, LoadShape]:
    """Name of each load to its shape (``daily``, ``yearly`` or ``duty``), for loads that follow one.

    As in OpenDSS, a load without a yearly or duty shape follows its daily one, and a load of status fixed none.
    """
    context = acquire()
    try:
        compile_circuit(context, feeder.path, feeder.commands)
        names: dict[str, str] = {}
        for own in elements(context.Loads):
            shape = shape_of(context.Properties.Value, which)
            if shape and int(context.Loads.Status()) != _FIXED:
                names[f"load.{own}"] = shape
        shapes = {name: read_shape(context, name) for name in sorted(set(names.values()))}
        return {load: shapes[name] for load, name in names.items()}
    finally:
        release(context)


def shape_of(value: Any, which: str = "daily") -> str:
    """Name of the shape that an element follows, "" for none; ``value`` reads its properties."""
    for kind in (which, "daily"):
        shape = str(value(kind)).strip().lower()
        if shape and shape != "none":
            return shape
    return ""


def read_shape(context: Any, name: str) -> LoadShape:
    """A LoadShape of the compiled circuit."""
    shapes = context.LoadShape
    shapes.Name(name)
    factors, reactive = (np.array(values, dtype=float) for values in (shapes.PMult(), shapes.QMult()))
    return LoadShape(
        name=name,
        minutes=float(shapes.MinInterval()),
        factors=factors,
        actual=bool(shapes.UseActual()),
        reactive=reactive if len(reactive) == len(factors) > 1 or reactive.any() else np.zeros(0),
    )

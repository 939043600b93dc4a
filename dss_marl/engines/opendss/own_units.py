"""What the circuit brings that delivers or draws power beside plain loads, and what becomes of it over a day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dss_marl.engines.opendss.context import acquire, compile_circuit, release
from dss_marl.engines.opendss.loadshapes import LoadShape, read_shape
from dss_marl.grid.elements import CircuitUnit
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array

# Every class of OpenDSS that converts power or follows a shape. "load": an injection, moved by profiles; "unit": a
# CircuitUnit, moved by profiles or an agents' device; "source": keeps its voltage; "held": keeps its power as compiled;
# "control": never acts.
OWN_CLASSES = {
    "load": "load",
    "pvsystem": "unit",
    "generator": "unit",
    "storage": "unit",
    "vsource": "source",
    "isource": "held",
    "vccs": "held",
    "indmach012": "held",
    "upfc": "held",
    "vsconverter": "held",
    "gicsource": "held",
    "gicline": "held",
    "storagecontroller": "control",
}
SHAPES = ("daily", "yearly", "duty")
_RATINGS = {  # OpenDSS property names of kW, kVA and kWh
    "pvsystem": ("pmpp", "kva", ""),
    "storage": ("kwrated", "kva", "kwhrated"),
    "generator": ("kw", "kva", ""),
}
DEVICE_KINDS = {"pvsystem": "inverter", "generator": "generator", "storage": "battery"}


def read_units(context: Any, present: Mapping[str, Sequence[str]]) -> list[CircuitUnit]:
    """Generators, PV systems and batteries of the circuit itself."""
    return [_unit(context, kind, own) for kind in _RATINGS for own in present.get(kind, ())]


def _unit(context: Any, kind: str, own: str) -> CircuitUnit:
    context.Circuit.SetActiveElement(f"{kind}.{own}")
    bus, *numbers = context.CktElement.BusNames()[0].split(".")
    phases = [int(p) for p in numbers] or list(range(1, context.CktElement.NumPhases() + 1))
    value = context.Properties.Value
    kw, kva, kwh = (float(value(key)) if key else 0.0 for key in _RATINGS[kind])
    unit = CircuitUnit(
        name=f"{kind}.{own}",
        kind=kind,
        bus=bus.lower(),
        phases=tuple(p for p in phases if 0 < p <= 3),
        kw=kw,
        kva=kva,
        kv=float(value("kv")),
        kwh=kwh,
    )
    return _with_dispatch(unit, context)


def _with_dispatch(unit: CircuitUnit, context: Any) -> CircuitUnit:
    """The unit with its reactive power, its shape and the limits of its storage."""
    value = context.Properties.Value
    keys = (*SHAPES, "tdaily") if unit.kind == "pvsystem" else SHAPES
    named = ((key, value(key).strip().lower()) for key in keys)
    shapes = tuple((key, name) for key, name in named if name not in ("", "none"))
    if unit.kind == "generator":
        variable = value("status").strip().lower().startswith("v")
        scale = float(context.Solution.GenMult()) if variable else 1.0
        return replace(
            unit, shapes=shapes if variable else (), run_kw=unit.kw * scale, run_kvar=float(value("kvar")) * scale
        )
    if unit.kind == "pvsystem":
        factor = float(value("pf"))
        tangent = np.sign(factor) * np.sqrt(1 / factor**2 - 1) if factor else 0.0
        kvar = tangent * unit.kw if abs(factor) < 1 else float(value("kvar"))
        return replace(unit, shapes=shapes, run_kw=unit.kw, run_kvar=float(kvar), power_factor=abs(factor) < 1)
    standby = float(value("%idlingkw")) / 100 * unit.kw
    return replace(
        unit,
        shapes=shapes,
        run_kw=-standby,
        charge_efficiency=float(value("%effcharge")) / 100,
        discharge_efficiency=float(value("%effdischarge")) / 100,
        soc=float(value("kwhstored")) / unit.kwh,
        soc_minimum=float(value("%reserve")) / 100,
    )


def notes_of_shapes(context: Any, present: Mapping[str, Sequence[str]]) -> list[str]:
    """Elements that follow a shape in OpenDSS and keep their value here."""
    held = []
    for kind, what in OWN_CLASSES.items():
        for own in present.get(kind, ()) if what in ("source", "held") else ():
            context.Circuit.SetActiveElement(f"{kind}.{own}")
            has = {name.lower() for name in context.CktElement.AllPropertyNames()}
            value = context.Properties.Value
            if any(value(which).strip() not in ("", "none") for which in SHAPES if which in has):
                held.append(f"{kind}.{own}")
    if not held:
        return []
    return [f"keep their value as compiled at all hours, at midnight too, and not their shape: {', '.join(held)}"]


def read_own_power(feeder: Feeder, which: str = "daily") -> dict[str, tuple[int, Array, Array]]:
    """Name of each of the circuit's own PV systems and generators to what its own shape makes it deliver.

    Args:
        feeder: whose units.
        which: property that names the shape; the first of ``SHAPES`` stands in for one that is not there.

    Returns:
        the interval [min], and (rows) kW and (rows) kvar, of units whose shape has constant intervals of whole minutes.
    """
    units = [unit for unit in feeder.units if unit.shape() and unit.kind in ("pvsystem", "generator")]
    if not units:
        return {}
    context = acquire()
    try:
        compile_circuit(context, feeder.path, feeder.commands)
        found = {}
        for unit in units:
            shape = read_shape(context, unit.shape(which))
            if shape.minutes < 1 or shape.minutes % 1 or 1440 % shape.minutes:
                continue
            found[unit.name] = (round(shape.minutes), *_power(context, unit, shape))
        return found
    finally:
        release(context)


def _power(context: Any, unit: CircuitUnit, shape: LoadShape) -> tuple[Array, Array]:
    """(rows) kW and kvar."""
    if unit.kind == "generator":
        return shape.kw(unit.run_kw), shape.kvar(unit.run_kvar)
    kw = _pv_kw(context, unit, shape)
    kvar = kw * unit.run_kvar / unit.run_kw if unit.power_factor else np.where(kw > 0, unit.run_kvar, 0.0)
    return kw, kvar


def _pv_kw(context: Any, unit: CircuitUnit, shape: LoadShape) -> Array:
    """(rows) power of a PVSystem, by OpenDSS's irradiance, temperature, inverter efficiency, cut-in and rating."""
    context.Circuit.SetActiveElement(unit.name)
    value = context.Properties.Value
    irradiance, most = float(value("irradiance")), float(value("%pmpp")) / 100 * unit.kw
    cut_in = float(value("%cutin")) / 100 * unit.kva
    celsius = np.full(len(shape.factors), float(value("temperature")))
    curves = {key: value(key).strip().lower() for key in ("p-tcurve", "effcurve")}
    warm = dict(unit.shapes).get("tdaily")
    if warm:  # at the intervals of the irradiance, as is usual
        celsius = np.resize(_temperatures(context, warm), len(celsius))
    dc = unit.kw * irradiance * shape.factors * _on_curve(context, curves["p-tcurve"], celsius)
    ac = dc * _on_curve(context, curves["effcurve"], dc / max(unit.kva, 1e-9))
    return np.where(dc >= cut_in, np.minimum(np.minimum(ac, most), unit.kva), 0.0)


def _temperatures(context: Any, name: str) -> Array:
    context.Circuit.SetActiveClass("tshape")
    context.ActiveClass.Name(name)
    return np.array([float(x) for x in context.Properties.Value("temp").strip("[] ").replace(",", " ").split()])


def _on_curve(context: Any, name: str, x: Array) -> Array:
    """Values of an XYcurve, with its end pieces extended; 1 without a curve."""
    if not name:
        return np.ones(len(x))
    context.XYCurves.Name(name)
    at, y = np.array(context.XYCurves.XArray()), np.array(context.XYCurves.YArray())
    if len(at) < 2:
        return np.full(len(x), y[0])
    piece = np.clip(np.searchsorted(at, x, side="right") - 1, 0, len(at) - 2)
    return y[piece] + (x - at[piece]) * (y[piece + 1] - y[piece]) / (at[piece + 1] - at[piece])

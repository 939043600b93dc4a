"""Reads between which nodes the phases of loads and units lie, and by which law of the voltage they draw power."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.engines.batched.network import EARTH, Phases
from dss_marl.engines.opendss.terminals import activate
from dss_marl.grid.elements import UNIT_V_PU, Injection
from dss_marl.grid.feeder import Feeder

_ZIP = 8
_MODELS = (1, 2, 3, 4, 5, _ZIP)
_COLUMNS = {  # of Phases
    "injection": np.int64, "one": np.int64, "other": np.int64, "volts": float, "share": float, "model": np.int64,
    "v_min": float, "v_max": float, "v_low": float, "low": float, "exponents": float, "zip": float,
}  # fmt: skip


def read_phases(context: Any, feeder: Feeder) -> Phases:
    """The phases of all injections of a compiled circuit.

    Raises:
        ValueError: a load follows another law of the voltage; says which.
    """
    rows: list[tuple[Any, ...]] = []
    for j, injection in enumerate(feeder.injections):
        law = _load_law(context, injection, feeder.name) if injection.kind == "load" else _unit_law(injection)
        element = activate(context, injection.name)
        refs, phases = [ref - 1 for ref in element.NodeRef()], int(element.NumPhases())
        volts = injection.kv * 1000 / (3**0.5 if phases in (2, 3) and not injection.delta else 1.0)
        for p in range(phases):
            one, other = refs[p], refs[(p + 1) % len(refs)] if injection.delta else refs[-1]
            if len(refs) == phases and not injection.delta:
                other = EARTH
            if one == other:
                continue  # shorted: it draws nothing
            ends = (other, one) if one == EARTH else (one, other)
            rows.append((j, *ends, volts, 1 / phases, *law))
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(_COLUMNS)
    arrays: dict[str, Any] = {
        name: np.array(column, kind) for (name, kind), column in zip(_COLUMNS.items(), columns, strict=True)
    }
    arrays["exponents"], arrays["zip"] = arrays["exponents"].reshape(-1, 2), arrays["zip"].reshape(-1, 7)
    return Phases(**arrays)


def _unit_law(injection: Injection) -> tuple[Any, ...]:
    """Constant power; below its limit an admittance that is continuous with it."""
    low, high = injection.v_pu or UNIT_V_PU
    return 1, low, high, low, 1 / low**2, (1.0, 1.0), (0.0,) * 7


def _load_law(context: Any, injection: Injection, feeder: str) -> tuple[Any, ...]:
    activate(context, injection.name)
    loads = context.Loads
    loads.Name(injection.name.split(".", 1)[1])
    model, value = int(loads.Model()), context.Properties.Value
    if model not in _MODELS:
        raise ValueError(
            f"{injection.name} of feeder {feeder!r} has model {model}, which the batched engine cannot model; use one "
            f"of {', '.join(map(str, _MODELS))}, or the engine 'opendss'"
        )
    shares = [float(x) for x in loads.ZipV()] if model == _ZIP else []
    if model == _ZIP and len(shares) != 7:
        raise ValueError(f"{injection.name} of feeder {feeder!r} has model 8 and no zipv; give it seven numbers")
    if loads.CVRCurve() not in ("", "none") and model == 4:
        raise ValueError(
            f"{injection.name} of feeder {feeder!r} follows a CVR curve, which the batched engine cannot model"
        )
    v_low = float(value("vlowpu") or 0.5)
    exponents = float(loads.CVRwatts()), float(loads.CVRvars())
    return model, loads.Vminpu(), loads.Vmaxpu(), v_low, 1.0, exponents, tuple(shares) or (0.0,) * 7

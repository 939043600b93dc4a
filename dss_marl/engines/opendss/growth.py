"""What the file's year and load multiplier make of the loads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dss_marl.engines.opendss.context import snapshot
from dss_marl.engines.opendss.script import quoted
from dss_marl.engines.opendss.terminals import elements

_VARIABLE = 0  # of OpenDSS's load statuses; the others are fixed and exempt
_PROBE = "load.dss_marl_growth"


@dataclass(frozen=True)
class LoadScale:
    """Factors that a snapshot puts on the powers of the loads as they stand in the file.

    Attributes:
        multiplier: of all loads that are neither fixed nor exempt.
        growth: by the name of the growth shape; "" is that of loads without one.
    """

    multiplier: float = 1.0
    growth: dict[str, float] = field(default_factory=dict)

    def of_active_load(self, loads: Any) -> float:
        """Of the load that is active in ``loads``, OpenDSS's interface."""
        grown = self.growth[loads.Growth().lower()] if self.growth else 1.0
        return grown * self.multiplier if int(loads.Status()) == _VARIABLE else grown


def load_scale(context: Any) -> LoadScale:
    """Read it from a compiled circuit.

    OpenDSS tells no growth, and the rate in force depends on the order of the file's settings: a load of 1 kW at the
    source, which is left disabled, tells it.
    """
    multiplier = float(context.Solution.LoadMult())
    if not context.Solution.Year():
        return LoadScale(multiplier)
    shapes = dict.fromkeys(["", *(context.Loads.Growth().lower() for _ in elements(context.Loads))])
    context.Vsources.First()
    bus, kv = context.CktElement.BusNames()[0].split(".")[0], context.Vsources.BasekV()
    factors = {}
    for number, shape in enumerate(shapes):
        probe = f"{_PROBE}_{number}"
        growth = f"growth={quoted(shape)}" if shape else ""
        context.Text.Command(
            f"new {probe} bus1={quoted(bus + '.1')} phases=1 kv={kv} kw=1 kvar=0 model=1 vminpu=0.01 vmaxpu=100 "
            f"status=fixed {growth}"
        )
        snapshot(context, tolerance=1e-12)
        context.Circuit.SetActiveElement(probe)
        factors[shape] = float(context.CktElement.TotalPowers()[0])
        context.Text.Command(f"{probe}.enabled=no")
    return LoadScale(multiplier, factors)

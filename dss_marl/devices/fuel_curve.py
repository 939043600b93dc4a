"""Fuel curves: what generators burn at a given output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dss_marl.grid.state import Array, IntArray

# Of diesel sets, as used for wind-diesel plants since Skarstein and Uhlen (Wind Engineering 13, 1989); the form is also
# HOMER's. At full load that is 0.33 l/kWh, at 30 % 0.53 l/kWh.
NO_LOAD = 0.08415  # litres per hour and kW of rating
SLOPE = 0.246  # litres per kWh of output


@dataclass(frozen=True)
class FuelCurve:
    """Fuel of units that run: ``no_load_l_per_h + slope_l_per_kwh * max(P, kw_min)``, in litres per hour.

    Attributes:
        kw_min: (D) output below which a load bank takes the rest [kW].
        no_load_l_per_h: (D) fuel at no load [l/h].
        slope_l_per_kwh: (D) further fuel per kWh of output [l/kWh], > 0.
        start_l: (D) fuel of a start [l].
    """

    kw_min: Array
    no_load_l_per_h: Array
    slope_l_per_kwh: Array
    start_l: Array

    @classmethod
    def build(cls, units: Sequence[tuple[float, float, float, float, float]]) -> FuelCurve:
        """Curves of units.

        Args:
            units: of each the rating and the minimum power [kW], the fuel at no load per hour and kW of rating [l],
                the fuel per kWh [l], and that of a start [l].
        """
        kw, kw_min, no_load, slope, start_l = np.array(units, float).reshape(-1, 5).T
        return cls(kw_min, no_load * kw, slope, start_l)

    def of(self, which: IntArray) -> FuelCurve:
        """The curves of some units."""
        return FuelCurve(
            self.kw_min[which], self.no_load_l_per_h[which], self.slope_l_per_kwh[which], self.start_l[which]
        )

    def burned_l(self, kw: Array, hours: Array | float, started: Array | float = 0.0) -> Array:
        """(..., D) fuel of running units [l].

        Args:
            kw: (..., D) output at the terminals [kW].
            hours: (..., D) for which they run.
            started: (..., D) how often they started.
        """
        rate = self.no_load_l_per_h + self.slope_l_per_kwh * np.maximum(kw, self.kw_min)
        return np.asarray(rate * hours + self.start_l * started)

    def most_kw(self, left_l: Array, hours: float) -> Array:
        """(..., D) highest output that the fuel left [l] allows over an interval [kW], >= 0."""
        return np.maximum((left_l / hours - self.no_load_l_per_h) / self.slope_l_per_kwh, 0.0)

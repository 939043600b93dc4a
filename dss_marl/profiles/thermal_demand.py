"""Thermal demand: power of heat pumps and air conditioning as a function of temperature."""

from __future__ import annotations

import numpy as np

from dss_marl.grid.state import Array

HEATING_FROM_C, HEATING_FULL_C = 15.0, -10.0
COOLING_FROM_C, COOLING_FULL_C = 22.0, 38.0
# Full power over a load's nominal power: a heat pump at -10 degrees C, an air conditioner at 38 degrees C.
HEAT_PUMP, AIR_CONDITIONER = 0.6, 0.5


def heating(temperature_c: Array, hour: Array) -> Array:
    """(T) power of a heat pump over a load's nominal power.

    Heat demand grows linearly below 15 degrees C; the coefficient of performance falls by a third down to -10 degrees
    C, so the power grows faster. At night it is 25 % lower, followed by a rebound from 5:30 to 7:30.
    """
    cold = np.clip((HEATING_FROM_C - temperature_c) / (HEATING_FROM_C - HEATING_FULL_C), 0.0, 1.3)
    night = 1.0 - 0.25 * ((hour % 24 < 5.5) | (hour % 24 >= 22.5)) + 0.2 * (np.abs(hour % 24 - 6.5) < 1)
    return HEAT_PUMP * cold * (2 + cold) / 3 * night


def cooling(temperature_c: Array) -> Array:
    """(T) power of air conditioning over a load's nominal power, above 22 degrees C."""
    return AIR_CONDITIONER * np.clip((temperature_c - COOLING_FROM_C) / (COOLING_FULL_C - COOLING_FROM_C), 0.0, 1.2)

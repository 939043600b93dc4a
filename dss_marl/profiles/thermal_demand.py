"""Heat: what heat pumps and air conditioning draw at a temperature."""

from __future__ import annotations

import numpy as np

from dss_marl.grid.state import Array

HEATING_FROM_C, HEATING_FULL_C = 15.0, -10.0
COOLING_FROM_C, COOLING_FULL_C = 22.0, 38.0
# Of a load's nominal power when fully on: an electric heat pump at -10 degrees, an air conditioner at 38.
HEAT_PUMP, AIR_CONDITIONER = 0.6, 0.5


def heating(temperature_c: Array, hour: Array) -> Array:
    """(T) draw of a heat pump over a load's nominal power.

    Demand grows in a line below 15 degrees; the heat pump's efficiency falls by a third down to -10, so its draw grows
    faster; at night it runs 25 % lower, and an hour at six it makes up for that.
    """
    cold = np.clip((HEATING_FROM_C - temperature_c) / (HEATING_FROM_C - HEATING_FULL_C), 0.0, 1.3)
    night = 1.0 - 0.25 * ((hour % 24 < 5.5) | (hour % 24 >= 22.5)) + 0.2 * (np.abs(hour % 24 - 6.5) < 1)
    return HEAT_PUMP * cold * (2 + cold) / 3 * night


def cooling(temperature_c: Array) -> Array:
    """(T) draw of air conditioning over a load's nominal power, from 22 degrees up."""
    return AIR_CONDITIONER * np.clip((temperature_c - COOLING_FROM_C) / (COOLING_FULL_C - COOLING_FROM_C), 0.0, 1.2)

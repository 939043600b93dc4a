"""EV: when electric cars are plugged in at home, and what they need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.grid.state import Array


@dataclass(frozen=True)
class EvSessions:
    """One stay of each car at its charger, from an afternoon to the next morning.

    Attributes:
        arrival_h: (C) hours from the day's midnight.
        departure_h: (C) likewise; beyond 24 on the next day, and always after the arrival.
        kwh: (C) energy due by then; 0 for a car that stays away or needs none.
    """

    arrival_h: Array
    departure_h: Array
    kwh: Array


def ev_sessions(
    rng: np.random.Generator, count: int, weekend: bool = False, mean_kwh: float = 10.0, plugged_in: float = 0.85
) -> EvSessions:
    """Draw a stay for each of ``count`` cars.

    Arrivals are normal around 18:00 (standard deviation 2 h; at weekends 16:30, 3 h), departures around 7:30 of the
    next day (1 h; before a day off 9:00, 1.5 h), energy is lognormal (its logarithm's standard deviation 0.5).

    Args:
        rng: the stream to draw from.
        count: number of cars.
        weekend: whether the day is one.
        mean_kwh: mean energy of a stay [kWh]; 8 to 12 is 40 to 60 km a day at 0.2 kWh/km.
        plugged_in: share of the cars that come at all.

    Raises:
        ValueError: a negative count or energy, or a share outside 0 to 1.
    """
    if count < 0 or mean_kwh < 0 or not 0 <= plugged_in <= 1:
        raise ValueError(
            f"ev_sessions needs count and mean_kwh >= 0, plugged_in 0 to 1; got {count}, {mean_kwh} and {plugged_in}"
        )
    arrival, arrival_sd = (16.5, 3.0) if weekend else (18.0, 2.0)
    leaving, leaving_sd = (33.0, 1.5) if weekend else (31.5, 1.0)
    draws = rng.standard_normal((3, count))
    arrival_h = np.clip(arrival + arrival_sd * draws[0], 6.0, 23.75)
    departure_h = np.clip(leaving + leaving_sd * draws[1], 28.0, 37.0)
    sigma = 0.5
    kwh = np.clip(mean_kwh * np.exp(sigma * draws[2] - sigma**2 / 2), 0.0, 6 * mean_kwh)
    return EvSessions(arrival_h, departure_h, np.where(rng.random(count) < plugged_in, kwh, 0.0))

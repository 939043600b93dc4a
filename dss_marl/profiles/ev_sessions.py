"""EV sessions: arrival, departure and energy demand of electric vehicles charged at home."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.grid.state import Array


@dataclass(frozen=True)
class EvSessions:
    """One charging session of each car, from an afternoon to the next morning.

    Attributes:
        arrival_h: (C) arrival, in hours after midnight.
        departure_h: (C) departure, in hours after the same midnight; above 24 on the next day, always after the
            arrival.
        kwh: (C) energy due at departure; 0 for a car that is away or needs none.
    """

    arrival_h: Array
    departure_h: Array
    kwh: Array


def ev_sessions(
    rng: np.random.Generator, count: int, weekend: bool = False, mean_kwh: float = 10.0, plugged_in: float = 0.85
) -> EvSessions:
    """Draw a charging session for each of ``count`` cars.

    Arrivals are normal around 18:00 (standard deviation 2 h; at weekends 16:30, 3 h), departures around 7:30 of the
    next day (1 h; at weekends 9:00, 1.5 h), energy is lognormal (standard deviation of the logarithm 0.5).

    Args:
        rng: random stream.
        count: number of cars.
        weekend: whether the day is a Saturday or Sunday.
        mean_kwh: mean energy of a session [kWh]; 8 to 12 is 40 to 60 km a day at 0.2 kWh/km.
        plugged_in: share of the cars that are plugged in.

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

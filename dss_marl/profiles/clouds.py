"""Clouds: the share of the clear-sky irradiance that reaches each unit, minute by minute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, IntArray
from dss_marl.profiles.noise import ar1

# By the sky class of the day: irradiance inside and outside a cloud's shadow, the shaded share of the day (as a
# threshold on noise of unit variance), and the softness of the edges. Broken clouds have sharp edges and reflect:
# irradiance next to them exceeds that of a clear sky.
_SHADOW = np.array([0.60, 0.33, 0.10])
_BESIDE = np.array([0.995, 1.03, 0.60])
_LIMIT = np.array([-2.2, -0.25, 0.75])
_EDGE = np.array([0.30, 0.14, 0.55])

_MARGIN = 120  # minutes before and after the day, for units that the clouds reach earlier or later
_REGION, _OWN = 0.92, 0.39  # a unit's noise: the region's and its own; the variances add up to 1
_OHM_PER_KM = 0.4  # typical of an overhead line, where the circuit gives no length


@dataclass(frozen=True)
class Clouds:
    """A day's clouds over a feeder.

    Attributes:
        sky: class of the day: 0 clear, 1 mixed, 2 overcast.
        region: (1440 + 240) noise that moves over the feeder, per minute from two hours before midnight.
        own: (105, U) noise of each unit per 15 minutes, from 15 minutes before midnight.
        lag: (U) delay with which the region's clouds reach each unit [min].
    """

    sky: int
    region: Array
    own: Array
    lag: IntArray

    def share(self, minute: IntArray) -> Array:
        """(M, U) share of the clear-sky irradiance in these minutes of the day."""
        region = self.region[_MARGIN + minute[:, None] - self.lag]
        after, part = np.divmod(minute + 15, 15)
        own = self.own[after] + (self.own[after + 1] - self.own[after]) * (part / 15)[:, None]
        noise = _REGION * region + _OWN * own
        sky = self.sky
        lit = 1 / (1 + np.exp((_LIMIT[sky] - noise) / _EDGE[sky]))
        return _SHADOW[sky] + (_BESIDE[sky] - _SHADOW[sky]) * lit


def draw_clouds(rng: np.random.Generator, sky: int, along_km: Array) -> Clouds:
    """Clouds of a day with this sky class over units at these positions along the feeder [km].

    The region's noise has a slow (80 min) and a fast component (12 min) and a resolution of five minutes; the wind
    speed at cloud height is 8 to 20 m/s, at any angle to the feeder.
    """
    nodes = (1440 + 2 * _MARGIN) // 5 + 1
    slow, fast = (ar1(rng.standard_normal(nodes), 1 / 12, hours) for hours in (4 / 3, 0.2))
    region = np.interp(np.arange(1440 + 2 * _MARGIN), 5.0 * np.arange(nodes), 0.8 * slow + 0.6 * fast)
    kmh, angle = 29 + 43 * rng.random(), 2 * np.pi * rng.random()
    lag = np.rint(60 * (along_km - along_km.mean()) * np.cos(angle) / kmh) if len(along_km) else along_km
    own = ar1(rng.standard_normal((105, len(along_km))), 0.25, 0.5)
    return Clouds(sky, region, own, np.clip(lag, -_MARGIN, _MARGIN - 1).astype(np.int64))


def places_km(feeder: Feeder, buses: list[str]) -> Array:
    """(U) distance of each bus from the source [km]: 0.7 times the length along the feeder, since lines bend.

    Where the circuit gives no lengths, lines count 0.4 ohm/km.
    """
    import networkx as nx

    def length(first: str, second: str, edge: dict[str, object]) -> float:
        return length_km(edge.get)

    reached = nx.single_source_dijkstra_path_length(feeder.graph(), feeder.source_bus, weight=length)
    return 0.7 * np.array([reached.get(bus, 0.0) for bus in buses])


def length_km(facts: Callable[[str], object]) -> float:
    """Length of a line [km], from its impedance where the circuit gives none; 0 for a branch that is not a line."""
    if facts("kind") != "line":
        return 0.0
    known = float(facts("length_km"))  # type: ignore[arg-type]
    return known or float(np.hypot(facts("r_ohm"), facts("x_ohm"))) / _OHM_PER_KM  # type: ignore[call-overload]

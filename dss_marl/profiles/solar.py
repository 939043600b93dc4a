"""Solar position and clear-sky irradiance at any latitude."""

from __future__ import annotations

import numpy as np

from dss_marl.grid.state import Array


def cos_zenith(day: int, hour: Array, latitude: float, longitude: float = 0.0) -> Array:
    """(T) cosine of the sun's zenith angle, negative at night [1].

    Declination and equation of time by Spencer's Fourier series (Search 2, 1971), good to 0.3 degree.

    Args:
        day: of the year, from 0.
        hour: (T) clock time [h]; above 24 on the next day.
        latitude: degrees north.
        longitude: degrees east of the time zone's meridian.
    """
    # Seasonal terms are linear within a day, from midnight on, so that the result for an hour does not depend on which
    # other hours are requested.
    midnights = 24.0 * np.arange(np.floor(hour[0] / 24), np.floor(hour[-1] / 24) + 2)
    tilt, ahead_h = (np.interp(hour, midnights, values) for values in _season(day + (midnights - 12) / 24))
    turned = np.pi / 12 * (hour + ahead_h + longitude / 15 - 12)
    at = np.radians(latitude)
    return np.asarray(np.sin(at) * np.sin(tilt) + np.cos(at) * np.cos(tilt) * np.cos(turned))


def _season(day: Array) -> tuple[Array, Array]:
    """Declination [rad] and equation of time [h]."""
    angle = 2 * np.pi * day / 365
    sin1, cos1, sin2, cos2 = np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)
    third = 3 * angle
    tilt = (
        0.006918 - 0.399912 * cos1 + 0.070257 * sin1 - 0.006758 * cos2 + 0.000907 * sin2
        - 0.002697 * np.cos(third) + 0.00148 * np.sin(third)
    )  # fmt: skip
    ahead_h = (0.0000075 + 0.001868 * cos1 - 0.032077 * sin1 - 0.014615 * cos2 - 0.040849 * sin2) * 12 / np.pi
    return tilt, ahead_h


def clear_sky(cosine: Array) -> Array:
    """(T) global horizontal irradiance under a clear sky [kW/m2].

    Haurwitz's formula (J. Meteorology 2, 1945) times 0.94, which matches the yearly sum of Ineichen and Perez (Solar
    Energy 73, 2002) for a Linke turbidity of 3.2, typical of inhabited places.
    """
    up = np.maximum(cosine, 1e-3)
    return np.where(cosine > 1e-3, 0.94 * 1.098 * up * np.exp(-0.057 / up), 0.0)

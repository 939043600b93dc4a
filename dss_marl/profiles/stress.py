"""Stress: how the generator changes for days that nobody trained on."""

from __future__ import annotations

from collections.abc import Callable

from dss_marl.profiles.splits import STRESS_SPLITS
from dss_marl.profiles.synthetic_settings import SyntheticProfiles
from dss_marl.profiles.weather import DAYS

_SEED_STEP = 2**32  # seeds given by users are below it: a stress split's year is nobody's training year


def _sunny_low_load(spec: SyntheticProfiles) -> dict[str, object]:
    """Spring and summer under clear skies, everybody away: half the load."""
    low, high = spec.load_scale
    return {"climate": "dry", "load_scale": (0.5 * low, 0.5 * high), "air_conditioning": 0.0}


def _cold_evening(spec: SyntheticProfiles) -> dict[str, object]:
    """A cold winter after many have changed to heat pumps."""
    low, high = spec.load_scale
    heat_pumps = min(spec.heat_pump_share + 0.4, 1.0)
    return {"climate": "cold", "load_scale": (0.25 * low + 0.75 * high, 1.1 * high), "heat_pump_share": heat_pumps}


def _more_pv(spec: SyntheticProfiles) -> dict[str, object]:
    """The test days with half as many panels again behind the same inverters."""
    return {"pv_scale": 1.5 * spec.pv_scale}


def _another_climate(spec: SyntheticProfiles) -> dict[str, object]:
    """A dry place 14 degrees nearer to the equator, where six in ten more homes and shops are cooled.

    For dry and tropical places a maritime one 18 degrees farther, where six in ten more homes have heat pumps. People
    live by their climate: with the habits of the old place more sun and more heat were nearly made up for.
    """
    far = spec.climate in ("dry", "tropical")
    distance = abs(spec.latitude)
    distance = min(distance + 18.0, 66.0) if far else max(distance - 14.0, 5.0)
    habit = "heat_pump_share" if far else "air_conditioning"
    return {
        "climate": "maritime" if far else "dry",
        "latitude": -distance if spec.southern else distance,
        habit: min(getattr(spec, habit) + 0.6, 1.0),
    }


def _outage_season(spec: SyntheticProfiles) -> dict[str, object]:
    """Autumn and winter storms: dark days, everybody at home, and lines that fail twenty times as often.

    Where a scenario names its faults, two of them come at once; see ZoneEnv.
    """
    low, high = spec.load_scale
    return {"climate": "maritime", "load_scale": (0.5 * (low + high), high), "outages_per_km": 20 * spec.outages_per_km}


_CHANGES: dict[str, Callable[[SyntheticProfiles], dict[str, object]]] = {
    "sunny_low_load": _sunny_low_load,
    "cold_evening": _cold_evening,
    "more_pv": _more_pv,
    "another_climate": _another_climate,
    "outage_season": _outage_season,
}
_SAME_DRAWS = ("more_pv", "another_climate")
_SEASONAL = ("sunny_low_load", "cold_evening", "outage_season")


def stressed(spec: SyntheticProfiles, split: str) -> SyntheticProfiles:
    """The parameters of a stress split.

    ``more_pv`` and ``another_climate`` are the test days themselves, with other panels and elsewhere: the same draws of
    load and sky, so that a policy's days can be compared one by one. The others have a year of their own.
    """
    changes = dict(_CHANGES[split](spec))
    if split not in _SAME_DRAWS:
        changes["seed"] = spec.seed + (1 + STRESS_SPLITS.index(split)) * _SEED_STEP
    return spec.model_copy(update=changes)


def day_in_season(spec: SyntheticProfiles, split: str, day: int) -> int:
    """The frozen days are of northern seasons; in the south they move by half a year."""
    return (day + 182) % DAYS if spec.southern and split in _SEASONAL else day

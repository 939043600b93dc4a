"""Stress: changes of the generator for days outside the training distribution."""

from __future__ import annotations

from collections.abc import Callable

from dss_marl.profiles.splits import BLOCKS, OTHER_YEARS
from dss_marl.profiles.synthetic_settings import SyntheticProfiles
from dss_marl.profiles.weather import DAYS

_SEED_STEP = 2**32  # users' seeds are below it, so that the year of a stress split is never a training year


def _sunny_low_load(spec: SyntheticProfiles) -> dict[str, object]:
    """Spring and summer under clear skies with low occupancy: half the load."""
    low, high = spec.load_scale
    return {"climate": "dry", "load_scale": (0.5 * low, 0.5 * high), "air_conditioning": 0.0}


def _cold_evening(spec: SyntheticProfiles) -> dict[str, object]:
    """A cold winter with more heat pumps."""
    low, high = spec.load_scale
    heat_pumps = min(spec.heat_pump_share + 0.4, 1.0)
    return {"climate": "cold", "load_scale": (0.25 * low + 0.75 * high, 1.1 * high), "heat_pump_share": heat_pumps}


def _more_pv(spec: SyntheticProfiles) -> dict[str, object]:
    """The test days with 1.5 times the PV modules behind the same inverters."""
    return {"pv_scale": 1.5 * spec.pv_scale}


def _another_climate(spec: SyntheticProfiles) -> dict[str, object]:
    """A dry climate 14 degrees closer to the equator, with air conditioning in another 60 % of homes and shops.

    For dry and tropical scenarios a maritime climate 18 degrees farther away, with heat pumps in another 60 % of homes.
    The equipment changes too: with unchanged equipment, higher irradiance and temperature nearly cancelled out.
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
    """Autumn and winter storms: dark days, high occupancy, and twenty times the failure rate of lines.

    Where a scenario names its faults, two of them occur at once; see ZoneEnv.
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
    """The parameters of a stress split, or of the year of its own that a split of chained days has.

    ``more_pv`` and ``another_climate`` are the test days with more PV and in another climate: the same random draws of
    load and sky, so that days can be compared pairwise. The other splits have a separate year.
    """
    changes = {} if split in OTHER_YEARS else dict(_CHANGES[split](spec))
    if split not in _SAME_DRAWS:
        changes["seed"] = spec.seed + (1 + BLOCKS.index(split)) * _SEED_STEP
    return spec.model_copy(update=changes)


def day_in_season(spec: SyntheticProfiles, split: str, day: int) -> int:
    """The frozen days have northern seasons; in the southern hemisphere they are shifted by half a year."""
    return (day + 182) % DAYS if spec.southern and split in _SEASONAL else day

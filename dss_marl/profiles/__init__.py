"""Profiles: load, PV, price and outages over a year of days, and the days of each split."""

from __future__ import annotations

from dss_marl.profiles.base import ProfileSpec, Source
from dss_marl.profiles.circuit_loadshapes import LoadshapeProfiles
from dss_marl.profiles.day import Day
from dss_marl.profiles.ev_sessions import EvSessions, ev_sessions
from dss_marl.profiles.forecast import Forecast
from dss_marl.profiles.mapdn import MapdnProfiles
from dss_marl.profiles.outages import Outage
from dss_marl.profiles.profiles import Profiles
from dss_marl.profiles.simbench import SimbenchProfiles
from dss_marl.profiles.sliced_series import SlicedProfiles
from dss_marl.profiles.sources import PROFILE_KINDS, ProfilesSpec, profile_kind, profile_kind_of
from dss_marl.profiles.splits import SPLITS, STRESS_SPLITS, spread_days
from dss_marl.profiles.statistics import Statistics, day_statistics
from dss_marl.profiles.synthetic_settings import SyntheticProfiles
from dss_marl.profiles.table_profiles import CsvProfiles
from dss_marl.profiles.weather import CLIMATES, DAYS

__all__ = [
    "CLIMATES",
    "DAYS",
    "PROFILE_KINDS",
    "SPLITS",
    "STRESS_SPLITS",
    "CsvProfiles",
    "Day",
    "EvSessions",
    "Forecast",
    "LoadshapeProfiles",
    "MapdnProfiles",
    "Outage",
    "ProfileSpec",
    "Profiles",
    "ProfilesSpec",
    "SimbenchProfiles",
    "SlicedProfiles",
    "Source",
    "Statistics",
    "SyntheticProfiles",
    "day_statistics",
    "ev_sessions",
    "profile_kind",
    "profile_kind_of",
    "spread_days",
]

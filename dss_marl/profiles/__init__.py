"""Profiles: what load, sun, price and outages do over a year of days, and which days train, validate, test, stress."""

from __future__ import annotations

from dss_marl.profiles.day import Day
from dss_marl.profiles.ev import EvSessions, ev_sessions
from dss_marl.profiles.outages import Outage
from dss_marl.profiles.profiles import Profiles
from dss_marl.profiles.spec import SyntheticProfiles
from dss_marl.profiles.splits import SPLITS, STRESS_SPLITS
from dss_marl.profiles.weather import CLIMATES, DAYS

__all__ = [
    "CLIMATES",
    "DAYS",
    "SPLITS",
    "STRESS_SPLITS",
    "Day",
    "EvSessions",
    "Outage",
    "Profiles",
    "SyntheticProfiles",
    "ev_sessions",
]

"""Profiles: what load and sun do over a year of days, and which days train, validate and test."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from dss_marl.feeder import Feeder
from dss_marl.state import Array, IntArray

DAYS = 365
SPLITS = ("train", "validation", "test")
# Every ninth day tests, every ninth validates: all seasons and, 9 and 7 having no common factor, all weekdays in each.
_EVERY, _TEST, _VALIDATION = 9, 4, 8

# Shape of a mean day by the hour, 1 at its highest: an evening peak for homes, a plateau for shops and offices.
_RESIDENTIAL = [.42, .38, .36, .35, .36, .42, .55, .64, .60, .55, .53, .54,
                .56, .54, .53, .56, .65, .80, .94, 1.0, .97, .86, .69, .52]  # fmt: skip
_COMMERCIAL = [.36, .35, .34, .34, .35, .40, .52, .70, .86, .95, .99, 1.0,
               .98, .98, .98, .96, .92, .84, .74, .64, .56, .48, .42, .38]  # fmt: skip

# Sky of a day: clear, mixed, overcast. Rows: today, columns: tomorrow.
_SKY_CHAIN = np.array([[0.65, 0.25, 0.10], [0.35, 0.45, 0.20], [0.25, 0.40, 0.35]])
_SKY_INDEX = np.array([0.96, 0.68, 0.28])  # mean share of the clear-sky sun
_SKY_SPREAD = np.array([0.03, 0.22, 0.10])  # of its fluctuation within the day


class SyntheticProfiles(BaseModel):
    """The project's own days: class-shaped load with slow noise, and sun behind a daily sky and passing clouds."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["synthetic"] = "synthetic"
    seed: int = Field(ge=0, description="of the year; another seed is another year")
    load_scale: tuple[float, float] = Field(default=(0.4, 0.9), description="range of a day's peak over nominal load")
    commercial_share: float = Field(default=0.3, ge=0, le=1, description="share of loads with a commercial shape")
    latitude: float = Field(default=34.0, ge=-66, le=66, description="degrees north")

    @field_validator("load_scale")
    @classmethod
    def _in_order(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= limits[0] <= limits[1]:
            raise ValueError(f"must be two numbers from 0, the lower first; got {list(limits)}")
        return limits


@dataclass(frozen=True)
class Day:
    """One day of injections before control, one row more than intervals: the agents see the interval that comes.

    Attributes:
        kw: (T + 1, J) loads negative, available sun positive [kW].
        kvar: (T + 1, J) loads negative [kvar].
    """

    kw: Array
    kvar: Array
    price: Array


@dataclass(frozen=True)
class Profiles:
    """A year of days for one feeder, each made from (seed, day) alone, so any day costs the same and none is stored.

    Attributes:
        spec: the parameters.
        feeder: whose injections the columns are; loads follow the classes, other units the sun.
        dt_h: length of an interval [h].
    """

    spec: SyntheticProfiles
    feeder: Feeder
    dt_h: float = 0.25

    def __post_init__(self) -> None:
        if abs(24 / self.dt_h - round(24 / self.dt_h)) > 1e-9:
            raise ValueError(f"dt_h must divide the day of 24 h into whole intervals; got {self.dt_h}")

    def days(self, split: str) -> tuple[int, ...]:
        """Days of the year, from 0, in a split.

        Raises:
            ValueError: unknown split.
        """
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
        rest = {"test": {_TEST}, "validation": {_VALIDATION}}.get(split, set(range(_EVERY)) - {_TEST, _VALIDATION})
        return tuple(day for day in range(DAYS) if day % _EVERY in rest)

    def day(self, day: int, ahead: int = 1) -> Day:
        parts = [self._one(day)]
        if ahead > 1:
            nxt = self._one((int(day) + 1) % DAYS)
            return Day(
                np.concatenate([parts[0].kw[:-1], nxt.kw[:-1], nxt.kw[:-1], nxt.kw[:-1]]),
                np.concatenate([parts[0].kvar[:-1], nxt.kvar[:-1], nxt.kvar[:-1], nxt.kvar[:-1]]),
                np.tile(parts[0].price[:-1], 4),
            )
        return parts[0]

    def _one(self, day: int) -> Day:
        """Injections of a day of the year.

        Raises:
            ValueError: no such day.
        """
        if not (isinstance(day, int | np.integer) and 0 <= day < DAYS):
            raise ValueError(f"day must be a whole number from 0 to {DAYS - 1}; got {day!r}")
        rng = np.random.default_rng([self.spec.seed, int(day)])
        steps = round(24 / self.dt_h) + 1
        hour: Array = np.arange(steps, dtype=float) * self.dt_h
        nominal_kw, nominal_kvar = self.feeder.nominal_kw, self.feeder.nominal_kvar
        loads = self.feeder.loads
        units = np.array([j for j, row in enumerate(self.feeder.injections) if row.kind == "inverter"], np.int64)
        load = self._load(rng, day, hour, nominal_kw[loads])
        kw, kvar = np.zeros((steps, len(nominal_kw))), np.zeros((steps, len(nominal_kw)))
        kw[:, loads], kvar[:, loads] = load * nominal_kw[loads], load * nominal_kvar[loads]
        kw[:, units] = self._sun(rng, day, hour, len(units)) * nominal_kw[units]
        return Day(kw, kvar, np.where((hour % 24 >= 16) & (hour % 24 < 21), 0.30, np.where(hour % 24 < 7, 0.10, 0.16)))

    def _load(self, rng: np.random.Generator, day: int, hour: Array, nominal_kw: Array) -> Array:
        """(T + 1, L) share of nominal load."""
        year = np.random.default_rng([self.spec.seed, DAYS])  # what holds for the whole year
        count = len(nominal_kw)
        commercial = year.random(count) < self.spec.commercial_share
        shift_h = year.normal(0.0, 0.5, count)
        scale = _uniform(year, self.spec.load_scale, DAYS)[day]
        at = (hour[:, None] - shift_h) % 24
        hours = np.arange(25)
        home = np.interp(at, hours, [*_RESIDENTIAL, _RESIDENTIAL[0]])
        shop = np.interp(at, hours, [*_COMMERCIAL, _COMMERCIAL[0]])
        if day % 7 >= 5:  # weekend
            home, shop = 0.15 + 0.9 * home, 0.6 * shop
        shape = np.where(commercial, shop, home)
        # Noise averages out with size: a single house (about 5 kW) fluctuates more than a transformer of fifty.
        sigma = 0.12 * np.clip(np.sqrt(25.0 / np.maximum(np.abs(nominal_kw), 1.0)), 0.4, 1.6)
        noise = (
            _ar1(rng, len(hour), count, self.dt_h, hours=1.5) * sigma
            + _ar1(rng, len(hour), 1, self.dt_h, hours=4.0) * 0.05
        )
        return _stored(scale * shape * np.clip(1 + noise, 0.3, 1.8), 2.0)

    def _sun(self, rng: np.random.Generator, day: int, hour: Array, count: int) -> Array:
        """(T + 1, U) share of peak power."""
        sky = _sky(self.spec.seed)[day]
        fast = 0.9 * _ar1(rng, len(hour), 1, self.dt_h, hours=0.75) + 0.43 * _ar1(
            rng, len(hour), count, self.dt_h, hours=0.4
        )
        clear_share = np.clip(_SKY_INDEX[sky] + _SKY_SPREAD[sky] * fast, 0.05, 1.0)
        return _stored(_clear_sky(day, hour, self.spec.latitude)[:, None] * clear_share, 1.0)


@functools.lru_cache(maxsize=64)
def _sky(seed: int) -> IntArray:
    """(DAYS) class of each day's sky: 0 clear, 1 mixed, 2 overcast."""
    draws, sky = np.random.default_rng([seed, DAYS + 1]).random(DAYS), np.zeros(DAYS, np.int64)
    for day in range(1, DAYS):
        sky[day] = min(np.searchsorted(np.cumsum(_SKY_CHAIN[sky[day - 1]]), draws[day]), 2)
    return sky


def _uniform(rng: np.random.Generator, limits: tuple[float, float], size: int) -> Array:
    return limits[0] + (limits[1] - limits[0]) * rng.random(size)


def _ar1(rng: np.random.Generator, steps: int, count: int, dt_h: float, hours: float) -> Array:
    """(steps, count) stationary first-order noise of unit variance and this time constant."""
    rho = np.exp(-dt_h / hours)
    noise = rng.standard_normal((steps, count))
    noise[1:] *= np.sqrt(1 - rho**2)
    for t in range(1, steps):
        noise[t] += rho * noise[t - 1]
    return noise


def _clear_sky(day: int, hour: Array, latitude: float) -> Array:
    """(T + 1) output of a panel over its peak power under a clear sky [1].

    Cooper's declination, solar time, Haurwitz's clear-sky irradiance (J. Meteorology 2, 1945) scaled by 0.92, which
    brings its yearly sum to that of Ineichen's model; 1 kW/m2 gives peak power.
    """
    tilt = np.radians(23.45 * np.sin(2 * np.pi * (284 + day + 1) / 365))
    at = np.radians(latitude)
    cos_zenith = np.sin(at) * np.sin(tilt) + np.cos(at) * np.cos(tilt) * np.cos(np.pi * (hour - 12) / 12)
    up = np.maximum(cos_zenith, 1e-3)
    return np.where(cos_zenith > 1e-3, np.minimum(0.92 * 1.098 * up * np.exp(-0.057 / up), 1.0), 0.0)


def _stored(x: Array, highest: float) -> Array:
    """Rounded to 16 bits of the range 0 to highest, so that no platform's last bit shows."""
    return np.rint(np.clip(x / highest, 0, 1) * 65535) / 65535 * highest

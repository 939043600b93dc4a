"""Profiles: a year of days for one feeder, its splits, and forecasts."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, IntArray
from dss_marl.profiles.base import ProfileSpec, Source
from dss_marl.profiles.calendar import NO_DATES, Calendar
from dss_marl.profiles.day import Day
from dss_marl.profiles.forecast import EXACT, LOAD, SUN, Forecast, make_forecast
from dss_marl.profiles.noise import stream
from dss_marl.profiles.outages import Outage
from dss_marl.profiles.own_days import own_split, shares_all_days
from dss_marl.profiles.own_power import feeds_in
from dss_marl.profiles.sources import open_source
from dss_marl.profiles.splits import BLOCKS, OFFSET, STRESS_SPLITS, chain_starts, split_days, split_of
from dss_marl.profiles.stress import day_in_season, stressed
from dss_marl.profiles.synthetic import VERSION
from dss_marl.profiles.synthetic_settings import SyntheticProfiles


@dataclass(frozen=True)
class Profiles:
    """Days for one feeder, each generated from (seed, day) alone, so that access is random and none is stored.

    Days are numbered from 0, a Monday, to 364, and day 0 follows day 364; the k-th stress split, from 1, has days
    1000 k to 1000 k + 364. Days of measured profiles are those of the data, with their own dates; see ``calendar``.

    Attributes:
        spec: the parameters.
        feeder: whose injections the columns represent; loads follow their class, inverters the irradiance, other units
            are 0.
        dt_h: length of an interval [h].
    """

    spec: ProfileSpec
    feeder: Feeder
    dt_h: float = 0.25

    def __post_init__(self) -> None:
        minutes = round(60 * self.dt_h)
        if minutes < 1 or 1440 % minutes or abs(60 * self.dt_h - minutes) > 1e-6:
            raise ValueError(
                f"dt_h must divide the day of 24 h into whole intervals; got {self.dt_h}; take whole minutes, as 0.25"
            )
        count = self._sources("").days  # errors in a file or a bus name are raised now, not at the first reset
        if not self._generated and own_split(self.spec, "train", count) and shares_all_days(self.spec, count):
            warnings.warn(
                f"profiles of kind {self.spec.kind} have {count} day(s), too few for splits: training, validation "
                "and test use the same days, so no result says how a policy does on other days. Nine whole days "
                "are the least; or give splits of your own",
                stacklevel=3,
            )

    @property
    def steps(self) -> int:
        """Intervals of a day."""
        return round(24 / self.dt_h)

    def days(self, split: str) -> tuple[int, ...]:
        """Day numbers in a split: train, validation, test or, of generated profiles, a stress split.

        Of measured profiles, a split has the spec's own days or those of its days that were measured; see
        ``own_days.own_split``.

        Raises:
            ValueError: unknown split, or a day that was not measured.
        """
        if isinstance(self.spec, SyntheticProfiles):
            return chain_starts(split) if self.spec.chain_days > 1 else split_days(split)
        return own_split(self.spec, split, self._sources("").days)

    @property
    def _generated(self) -> bool:
        return isinstance(self.spec, SyntheticProfiles)

    def day(self, number: int, ahead: int = 1) -> Day:
        """A day by its number, and the first ``ahead`` intervals of the days that follow.

        Raises:
            ValueError: no such day, or more ahead than a day has or, of chained days, than they have.
        """
        split, day = self._known(number)
        most = self.steps * getattr(self.spec, "chain_days", 1)
        if not 0 <= ahead <= most:
            raise ValueError(f"ahead must be 0 to {most} intervals; got {ahead!r}")
        source = self._sources(split)
        found = source.rows(day, self.steps)
        while ahead > 0:
            day = (day + 1) % source.days
            found = found.then(source.rows(day, min(ahead, self.steps)))
            ahead -= self.steps
        return found

    def forecast(self, number: int, horizon: int, beyond: int = 0) -> Forecast:
        """Forecasts for ``horizon`` intervals, the present one included; see Forecast.

        Args:
            number: of the day.
            horizon: how far each reaches.
            beyond: number of intervals after the day in which forecasts are also issued.

        Raises:
            ValueError: no such day, or a horizon of none or more than a day.
        """
        if not 1 <= horizon <= self.steps:
            raise ValueError(f"horizon must be 1 to {self.steps} intervals, a day's; got {horizon!r}")
        day = self.day(number, horizon + beyond)
        return make_forecast(self.rng(number, "forecast"), day, self._error_groups, horizon, self.dt_h)

    @cached_property
    def _error_groups(self) -> IntArray:
        """(J) which forecast error an injection has: LOAD, SUN (negative loads too) or EXACT."""
        kinds = {"load": LOAD, "inverter": SUN}
        return np.array([SUN if feeds_in(row) else kinds.get(row.kind, EXACT) for row in self.feeder.injections])

    def rng(self, number: int, part: str) -> np.random.Generator:
        """Random stream of a day for one purpose: "forecast", "devices" for their start, "repair" of faults."""
        return stream(self._sources("").seed, part, int(number))

    def weekend(self, number: int) -> bool:
        """Whether a day is a Saturday, a Sunday or, of measured days, a holiday."""
        return self.calendar.is_free(split_of(number)[1] if self._generated else int(number))

    @property
    def days_in_all(self) -> int:
        """How many days there are, without those of stress splits."""
        return self._sources("").days

    @property
    def calendar(self) -> Calendar:
        """Dates of the days; generated days have none."""
        found: Calendar = getattr(self._sources(""), "calendar", NO_DATES)
        return found

    @property
    def nominal_kw(self) -> Array:
        """(J) base of the injections' relative power [kW]; the feeder's nominal values by default."""
        return self._sources("").nominal_kw

    def outages(self, number: int) -> tuple[Outage, ...]:
        """The outages that begin on a day, in order of time.

        Raises:
            ValueError: no such day.
        """
        split, day = self._known(number)
        return self._sources(split).outages(day)

    def sha256(self) -> str:
        """SHA-256 of the year's 16-bit values per 15 minutes, and of the generator's version.

        Powers are taken over nominal, so that the last bit of a circuit's ratings does not matter.
        """
        source = Profiles(self.spec, self.feeder, 0.25)._sources("")  # noqa: SLF001  # another of this class
        scale = 65535 / np.where(source.nominal_kw == 0, 1.0, source.nominal_kw)
        digest = hashlib.sha256(f"generator {VERSION}".encode())
        if not self._generated:
            digest.update(self.calendar.text(source.days).encode())
        for day in range(source.days):
            made = source.rows(day, 96)
            for values in (made.kw * scale, 1e6 * made.price, 1e4 * made.temperature_c):
                digest.update(np.rint(values).astype("<i8").tobytes())
            if not self._generated:  # of generated days it follows from the kW
                digest.update(np.rint(1e4 * made.kvar).astype("<i8").tobytes())
        return digest.hexdigest()

    def stress_and_day(self, number: int) -> tuple[str, int]:
        """The stress split of a day's number, "" for an ordinary day, and its day of the year; errors as ``day``."""
        _, day = self._known(number)
        return split_of(number) if self._generated else ("", self.calendar.day_of_year(day))

    def _known(self, number: int) -> tuple[str, int]:
        """The stress split ("" for none) and the day of the year of a day number."""
        last, chained = self._sources("").days - 1, getattr(self.spec, "chain_days", 1) > 1
        known = BLOCKS if chained else STRESS_SPLITS
        whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
        beyond = OFFSET * (len(known) + 1) if self._generated else last + 1
        if not whole or not 0 <= number < beyond or (number % OFFSET if self._generated else number) > last:
            others = f"{'other' if chained else 'stress'} splits have {OFFSET} k more, k from 1 in the order"
            raise ValueError(
                f"day must be a whole number from 0 to {last}; got {number!r}"
                + (f"; {others} {', '.join(known)}" if self._generated else "")
            )
        if not self._generated:
            return "", int(number)
        split, day = split_of(number)
        if split and isinstance(self.spec, SyntheticProfiles):
            day = day_in_season(self.spec, split, day)
        return split, day

    @cached_property
    def _made(self) -> dict[str, Source]:
        return {}

    def _sources(self, split: str) -> Source:
        if split not in self._made:
            spec = stressed(self.spec, split) if split and isinstance(self.spec, SyntheticProfiles) else self.spec
            self._made[split] = open_source(spec, self.feeder, round(60 * self.dt_h))
        return self._made[split]

"""Spec fields of measured profiles: what generates the rest, the calendar, and the user's own splits."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from pydantic import Field, field_validator, model_validator

from dss_marl.profiles.base import ProfileSpec
from dss_marl.profiles.calendar import NO_DATES, Calendar
from dss_marl.profiles.splits import SPLITS, STRESS_SPLITS, split_days
from dss_marl.profiles.synthetic_settings import SyntheticProfiles
from dss_marl.profiles.weather import DAYS


class MeasuredData(ProfileSpec):
    """Fields common to the specs of measured profiles."""

    weather: SyntheticProfiles = Field(
        default=SyntheticProfiles(seed=0),
        description="generates what the data lack: PV, price, temperature, outages",
    )
    begins: str = Field(default="", description="date of the first day, where the data have none: 2025-06-20")
    holidays: tuple[str, ...] = Field(default=(), description="dates of days off beside Saturdays and Sundays")
    splits: dict[str, tuple[int, ...]] = Field(
        default={}, description="day numbers of train, validation and test, from 0; empty: see ``own_split``"
    )

    @field_validator("begins", "holidays", mode="before")
    @classmethod
    def _dates(cls, value: object) -> object:
        """Text in ISO form; YAML reads an unquoted date as a date."""
        listed = list(value) if isinstance(value, list | tuple) else [value]
        for one in listed:
            if isinstance(one, date) or one == "":
                continue
            try:
                date.fromisoformat(str(one))
            except ValueError:
                raise ValueError(f"{one!r} is not a date; write 2025-12-25") from None
        return [str(one) for one in listed] if isinstance(value, list | tuple) else str(value)

    @model_validator(mode="after")
    def _whole_splits(self) -> MeasuredData:
        if not self.splits:
            return self
        unknown = sorted(set(self.splits) - set(SPLITS))
        missing = [name for name in SPLITS if not self.splits.get(name)]
        if unknown or missing:
            raise ValueError(f"splits must give days to {', '.join(SPLITS)}; got {', '.join(self.splits)}")
        counted = [day for days in self.splits.values() for day in days]
        twice = sorted({day for day in counted if counted.count(day) > 1})
        if twice:
            raise ValueError(f"splits: day {twice[0]} is named twice; a day belongs to one split")
        return self

    def dated(self, where: str, found: Calendar = NO_DATES) -> Calendar:
        """The calendar of the data, with ``begins`` and ``holidays``.

        Raises:
            ValueError: the data have dates and ``begins`` says another one.
        """
        if self.begins and found.first not in (None, date.fromisoformat(self.begins)):
            raise ValueError(f"{where} begins on {found.first}, not on {self.begins}; leave out begins")
        first = date.fromisoformat(self.begins) if self.begins else found.first
        return replace(found, first=first, holidays=frozenset(map(date.fromisoformat, self.holidays)))


def own_split(spec: ProfileSpec, split: str, count: int) -> tuple[int, ...]:
    """Days of a split among ``count`` days of one's own.

    The spec's ``splits``, or else the frozen pattern of the year, repeated in later years. Where that leaves a split
    without a day, which it does for fewer than nine days, every split has all days.

    Raises:
        ValueError: unknown split, or a day that is not there.
    """
    if split in STRESS_SPLITS:
        raise ValueError(f"stress split {split!r} changes the generator; measured profiles have {', '.join(SPLITS)}")
    frozen = {name: set(split_days(name, SPLITS)) for name in (split, *SPLITS)}
    given = getattr(spec, "splits", {})
    if given:
        lost = [day for days in given.values() for day in days if not 0 <= day < count]
        if lost:
            raise ValueError(f"splits: day {lost[0]} does not exist; there are {count} days, 0 to {count - 1}")
        return tuple(given[split])
    found = {name: tuple(d for d in range(count) if d % DAYS in days) for name, days in frozen.items()}
    return found[split] if all(found.values()) else tuple(range(count))


def shares_all_days(spec: ProfileSpec, count: int) -> bool:
    """Whether training, validation and test have the same days, for want of more."""
    return not getattr(spec, "splits", {}) and own_split(spec, "train", count) == own_split(spec, "test", count)

"""Calendar of measured days: their dates, days off, and the clock of the table they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo

from dss_marl.profiles.load_shapes import SATURDAY, is_weekend
from dss_marl.profiles.weather import DAYS

STANDARD_YEAR = 2001  # any year without 29 February


@dataclass(frozen=True)
class Calendar:
    """Dates of consecutive days.

    Attributes:
        first: date of day 0; None where the data have no dates: day 0 is then 1 January and a Monday.
        holidays: days off beside Saturdays and Sundays.
        clock: how the table's times were read, in words.
    """

    first: date | None = None
    holidays: frozenset[date] = frozenset()
    clock: str = ""

    def date(self, day: int) -> date | None:
        """Date of a day; None where the data have none."""
        return None if self.first is None else self.first + timedelta(days=day)

    def day_of_year(self, day: int) -> int:
        """0 to 364, of which the sun and the season are; 29 February counts as the 28th."""
        at = self.date(day)
        if at is None:
            return day % DAYS
        plain = at.replace(year=STANDARD_YEAR, day=min(at.day, 28) if at.month == 2 else at.day)
        return (plain - date(STANDARD_YEAR, 1, 1)).days

    def is_free(self, day: int) -> bool:
        """Whether a day is a Saturday, a Sunday or a holiday."""
        at = self.date(day)
        return is_weekend(day) if at is None else at.weekday() >= SATURDAY or at in self.holidays

    def text(self, days: int) -> str:
        """The range of so many days, for a person."""
        first, last = self.date(0), self.date(days - 1)
        if first is None or last is None:
            return f"{days} days without dates: the sun is that of 1 January on, day 0 a Monday"
        inside = sorted(at for at in self.holidays if first <= at <= last)
        off = f"; holidays {', '.join(map(str, inside))}" if inside else ""
        clock = f"; {self.clock}" if self.clock else ""
        return f"{days} days, {first:%A} {first} to {last:%A} {last}{off}{clock}"


NO_DATES = Calendar()


def standard_times(where: str, times: Sequence[datetime], zone: str) -> tuple[list[datetime], str]:
    """Times on one clock without daylight saving time, and what clock that is.

    Args:
        where: for messages, the file.
        times: of the rows, all with a UTC offset or all without.
        zone: of the place, such as Europe/Berlin; empty: times without an offset stand as they are, times with one
            are put to the smallest offset among them, which is standard time.

    Raises:
        ValueError: some times have an offset and some do not, an unknown zone, or a time that its clocks skip.
    """
    offsets = [at.utcoffset() for at in times]
    aware = [offset for offset in offsets if offset is not None]
    if aware and len(aware) < len(times):
        row = next(k for k, offset in enumerate(offsets) if (offset is None) != (offsets[0] is None))
        raise ValueError(f"{where}: row {row + 2}: some times have a UTC offset and some do not; give all of them one")
    if not zone:
        if not aware:
            return list(times), "local time as written"
        least = min(aware)
        return [at.astimezone(timezone(least)).replace(tzinfo=None) for at in times], f"UTC{_hours(least)}"
    place = _zone(where, zone)
    at = list(times) if aware else _localised(where, times, place, zone)
    first = at[0].astimezone(place)
    standard = (first.utcoffset() or timedelta()) - (first.dst() or timedelta())
    return (
        [one.astimezone(timezone(standard)).replace(tzinfo=None) for one in at],
        f"standard time of {zone} (UTC{_hours(standard)}), without daylight saving time",
    )


def _zone(where: str, zone: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(
            f"{where}: time_zone {zone!r} is not known; write an IANA name such as Europe/Berlin "
            "(on Windows they come with: pip install tzdata)"
        ) from error


def _localised(where: str, times: Sequence[datetime], place: tzinfo, zone: str) -> list[datetime]:
    """Wall-clock times as instants; of a repeated hour the second occurrence is told by the clock going back."""
    found: list[datetime] = []
    for row, at in enumerate(times, start=2):
        one = at.replace(tzinfo=place, fold=0)
        if found and one.astimezone(UTC) <= found[-1]:
            one = one.replace(fold=1)
        instant = one.astimezone(UTC)
        if instant.astimezone(place).replace(tzinfo=None) != at:
            raise ValueError(
                f"{where}: row {row}: {at.isoformat(' ')} does not exist in {zone}, whose clocks skip that hour; "
                "if the table is in standard time all year, leave time_zone out"
            )
        found.append(instant)
    return found


def _hours(offset: timedelta) -> str:
    minutes = round(offset / timedelta(minutes=1))
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"

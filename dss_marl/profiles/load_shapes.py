"""Load shapes of homes, shops and factories over the day, by season and type of day."""

from __future__ import annotations

import functools

import numpy as np

from dss_marl.grid.state import Array

CLASSES = ("home", "shop", "factory")
# Hourly from midnight, 1 at the peak of the class's working days. Homes peak at breakfast and from the early evening
# on; shops and offices hold a plateau during opening hours; factories work two shifts.
_HOME = {
    "winter": (
        [.40, .35, .32, .31, .32, .38, .54, .68, .65, .58, .55, .56,
         .60, .57, .54, .56, .67, .85, .99, 1.0, .94, .83, .68, .52],
        [.44, .38, .34, .32, .32, .34, .40, .51, .63, .71, .74, .76,
         .78, .74, .69, .69, .75, .88, .99, .98, .91, .82, .71, .57],
        [.46, .40, .35, .33, .32, .33, .37, .45, .57, .69, .77, .82,
         .83, .76, .70, .69, .74, .87, .99, 1.0, .93, .81, .66, .50],
    ),
    "summer": (
        [.42, .37, .34, .32, .32, .36, .46, .55, .56, .54, .54, .57,
         .60, .58, .55, .56, .62, .71, .80, .86, .90, .88, .74, .56],
        [.46, .40, .36, .34, .33, .35, .39, .48, .57, .63, .65, .68,
         .71, .67, .62, .60, .63, .71, .79, .84, .87, .86, .75, .60],
        [.47, .41, .37, .34, .33, .34, .37, .44, .53, .62, .68, .73,
         .75, .69, .63, .60, .63, .70, .79, .85, .88, .85, .71, .54],
    ),
}  # fmt: skip
_SHOP = [
    [.36, .35, .34, .34, .35, .40, .52, .70, .86, .95, .99, 1.0,
     .98, .98, .98, .96, .92, .84, .74, .64, .56, .48, .42, .38],
    [.36, .35, .34, .33, .33, .36, .42, .52, .64, .74, .80, .82,
     .81, .79, .76, .71, .66, .60, .54, .48, .44, .41, .38, .36],
    [.35, .34, .33, .33, .33, .34, .36, .39, .43, .47, .50, .52,
     .52, .51, .49, .47, .45, .44, .43, .42, .40, .38, .37, .35],
]  # fmt: skip
_FACTORY = [
    [.52, .50, .50, .51, .55, .70, .88, .96, .99, 1.0, .99, .97,
     .92, .96, .95, .92, .90, .89, .88, .87, .85, .80, .66, .56],
    [.50, .48, .47, .47, .50, .56, .64, .68, .70, .70, .69, .68,
     .65, .60, .55, .51, .49, .48, .47, .46, .46, .45, .44, .44],
    [.43, .42, .42, .42, .42, .43, .44, .45, .46, .46, .46, .46,
     .46, .45, .45, .45, .45, .45, .46, .46, .47, .49, .52, .53],
]  # fmt: skip
# (3, 2, 3, 24) class, season, type of day, hour; shops and factories vary little by season; cooling is added separately
_SEASONS = np.array([[_HOME["winter"], _HOME["summer"]], [_SHOP, _SHOP], [_FACTORY, _FACTORY]])
SATURDAY, SUNDAY = 5, 6  # day % 7; day 0 is a Monday


def kind_of_day(day: int) -> int:
    """0 on a working day, 1 on a Saturday, 2 on a Sunday."""
    return max(day % 7 - (SATURDAY - 1), 0)


def is_weekend(day: int) -> bool:
    """Whether the day of the year, from 0, a Monday, is a Saturday or Sunday."""
    return day % 7 >= SATURDAY


def summer(day: int, southern: bool) -> float:
    """Summer weight of a day, 0 in midwinter to 1 in midsummer."""
    return float(0.5 - 0.5 * np.cos(2 * np.pi * (day - 10 - (182.5 if southern else 0)) / 365))


@functools.lru_cache(maxsize=1024)
def hourly(day: int, southern: bool) -> Array:
    """(3, 24) shape of each class on a day of the year: winter and summer shapes, blended by the summer weight."""
    warm = summer(day, southern)
    winter, hot = _SEASONS[:, 0, kind_of_day(day)], _SEASONS[:, 1, kind_of_day(day)]
    return np.asarray((1 - warm) * winter + warm * hot)


def shape(day: int, southern: bool, of_class: int, hour: Array) -> Array:
    """Mean consumption of a class over its peak, at hours of a day from -24 to 48 [h].

    Hourly values apply at the middle of the hour, with linear interpolation, so that midnight is continuous.
    """
    days = [hourly(d % 365, southern)[of_class] for d in (day - 1, day, day + 1)]
    return np.interp(hour, np.arange(-24, 48) + 0.5, np.concatenate(days))

"""What the calendar brings: the equation of time, scarce evenings, the southern year, and the window of a day's sun."""

import numpy as np
import pytest
from common import feeder_with_units

from dss_marl.profiles import DAYS, Profiles, SyntheticProfiles
from dss_marl.profiles.load_shapes import is_weekend
from dss_marl.profiles.outages import draw_outages
from dss_marl.profiles.prices import day_ahead
from dss_marl.profiles.solar import cos_zenith
from dss_marl.profiles.statistics import _within_day


@pytest.mark.parametrize(
    ("day", "minutes"),
    [(41, -14.2), (133, 3.7), (206, -6.5), (306, 16.4), (0, -3.2), (105, 0.0), (163, 0.0), (243, 0.0), (358, 0.0)],
)
def test_the_sun_is_as_early_as_almanacs_say(day, minutes):
    """The four extremes of the equation of time, 1 January, and the four days on which sun and clock agree [min]."""
    hour = np.arange(11.5, 12.5, 1 / 3600)
    noon = hour[cos_zenith(day, hour, 40.0).argmax()]
    assert 60 * (12 - noon) == pytest.approx(minutes, abs=0.4)


@pytest.mark.parametrize("seed", range(4))
def test_one_to_six_evenings_in_a_hundred_are_scarce(seed):
    """Then the price of 18 to 21 h is more than double that of the adjacent hours; on other days it is close to it."""
    price = np.array([day_ahead(seed, day, np.zeros(24), is_weekend(day)) for day in range(DAYS)])
    beside = price[:, 18:21].mean(axis=1) / price[:, [17, 21]].mean(axis=1)
    assert 0.01 < (beside > 1.8).mean() < 0.06
    assert ((beside < 1.5) | (beside > 2.0)).all()
    assert np.median(beside) < 1.3


def mean_c(latitude, days):
    profiles = Profiles(SyntheticProfiles(seed=3, latitude=latitude), feeder_with_units("ieee13"), 1.0)
    return np.mean([profiles.day(day, ahead=0).temperature_c.mean() for day in days])


def test_july_is_winter_in_the_south_alone():
    january, july = range(5, 26), range(186, 207)
    assert mean_c(-34.0, july) < mean_c(-34.0, january) - 10
    assert mean_c(34.0, july) > mean_c(34.0, january) + 10
    south = [SyntheticProfiles(seed=0, latitude=latitude).southern for latitude in (-34.0, -0.1, 0.0, 34.0)]
    assert south == [True, True, False, False]


def test_southern_days_are_short_in_july():
    profiles = Profiles(SyntheticProfiles(seed=3, latitude=-34.0), feeder_with_units("ieee13"), 0.25)
    units = profiles.feeder.nominal_kw > 0
    lit = {day: np.mean([(profiles.day(d, ahead=0).kw[:, units] > 0).any(axis=1).mean() for d in range(day, day + 4)])
           for day in (14, 196)}  # fmt: skip
    assert lit[196] * 24 == pytest.approx(10.0, abs=0.7) and lit[14] * 24 == pytest.approx(14.2, abs=0.7)


@pytest.mark.parametrize(("steps", "first", "last"), [(24, 9, 14), (96, 36, 59), (48, 18, 29), (10, 3, 6)])
def test_the_middle_of_a_day_is_nine_to_fifteen_hours(steps, first, last):
    """Whole intervals; where 9 or 15 h lies within one, it counts."""
    rows = np.arange(first, last + 1.0)
    found = _within_day(np.arange(float(steps)).reshape(1, steps, 1))
    assert found[:, 0] == pytest.approx(rows - rows.mean())


class Extreme:
    """Every line fails once, at noon, and repairs take as long as ``deviation`` says."""

    def __init__(self, deviation):
        self.deviation = deviation

    def poisson(self, rates):
        return np.ones(len(rates), int)

    def random(self):
        return 0.5

    def standard_normal(self):
        return self.deviation


@pytest.mark.parametrize(("deviation", "hours"), [(-50.0, 0.1), (50.0, 48.0)])
def test_repairs_take_six_minutes_at_least_and_two_days_at_most(deviation, hours):
    feeder = feeder_with_units("ieee13")
    found = draw_outages(Extreme(deviation), feeder, 0.1)
    assert [outage.branch for outage in found] == [row.name for row in feeder.branches if row.kind == "line"]
    assert {(outage.start_h, outage.duration_h) for outage in found} == {(12.0, hours)}

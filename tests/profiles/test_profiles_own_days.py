"""Own days: their dates and clocks, days off, splits, reactive power, and values that cannot be."""

import itertools
import warnings
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest
from own_circuits import CIRCUITS, context, feeder_of
from profile_tables import profiles, rows, small, written

from dss_marl.profiles import CsvProfiles, LoadshapeProfiles, Profiles
from dss_marl.profiles.calendar import Calendar, standard_times
from dss_marl.profiles.load_shapes import is_weekend
from dss_marl.profiles.own_days import own_split

pytestmark = pytest.mark.filterwarnings("ignore:profiles of kind")

# --- dates -----------------------------------------------------------------------------------------------------------


def test_a_table_that_begins_on_20_june_has_the_sun_the_weekday_the_price_of_its_dates(tmp_path):
    """20 June 2025 is a Friday; the sun of midsummer is above the horizon for 14.4 h at 34 degrees north."""
    of = profiles(
        tmp_path,
        rows(days=12, start="2025-06-20 00:00"),
        dt_h=0.25,
        weather={"seed": 1, "tariff": "time_of_use"},
        holidays=["2025-06-23"],
    )
    assert of.calendar.date(0) == date(2025, 6, 20)
    assert [of.weekend(day) for day in range(5)] == [False, True, True, True, False], "the 23rd is a holiday"
    day = of.day(0, 0)
    assert (day.kw[:, 3] > 0).mean() * 24 == pytest.approx(14.4, abs=0.6)
    assert day.price[18 * 4] == pytest.approx(1.7 * 0.1, rel=1e-3)
    assert of.day(3, 0).price[18 * 4] == pytest.approx(0.1, rel=1e-3), "no evening peak on a holiday"
    told = of.calendar.text(of.days_in_all)
    assert told.startswith("12 days, Friday 2025-06-20 to Tuesday 2025-07-01; holidays 2025-06-23; local time")


def test_generated_quantities_of_measured_days_are_those_of_the_day_of_the_year(tmp_path):
    of = profiles(tmp_path, rows(days=2, start="2025-06-20 00:00"), weather={"seed": 3})
    generated = Profiles(of.spec.weather, of.feeder, 1.0).day(170, 0)
    assert np.array_equal(of.day(0, 0).kw[:, 3], generated.kw[:, 3])
    assert np.array_equal(of.day(0, 0).temperature_c, generated.temperature_c)


@pytest.mark.parametrize(
    ("at", "day"),
    [("2024-01-01", 0), ("2024-02-28", 58), ("2024-02-29", 58), ("2024-03-01", 59), ("2024-12-31", 364)],
)
def test_a_leap_year_has_the_seasons_of_the_others(at, day):
    assert Calendar(date.fromisoformat(at)).day_of_year(0) == day


def test_days_without_dates_are_those_of_the_year_from_a_monday_on(tmp_path):
    table = [row[1:] for row in rows(days=8)]
    path = written(tmp_path, table)
    plain = Profiles(CsvProfiles(kind="csv", path=str(path), dt_h=1.0), small(tmp_path), 1.0)
    assert plain.calendar.date(0) is None and "without dates" in plain.calendar.text(8)
    assert [plain.weekend(day) for day in range(8)] == [is_weekend(day) for day in range(8)]
    dated = CsvProfiles(kind="csv", path=str(path), dt_h=1.0, begins="2025-06-20")
    assert Profiles(dated, small(tmp_path), 1.0).weekend(1)


def test_a_date_that_contradicts_the_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="begins on 2024-03-01, not on 2025-06-20; leave out begins"):
        profiles(tmp_path, rows(), begins="2025-06-20")
    with pytest.raises(ValueError, match=r"'23\.6\.2025' is not a date; write 2025-12-25"):
        profiles(tmp_path, rows(), holidays=["23.6.2025"])


# --- clocks ----------------------------------------------------------------------------------------------------------


def test_rows_stamped_at_their_end_are_the_intervals_before(tmp_path):
    table = rows(days=2, start="2024-03-01 01:00", one=lambda d, h: 50 + h, two=lambda d, h: 90, three=lambda d, h: 5)
    of = profiles(tmp_path, table, stamp="end")
    assert -of.day(0, 0).kw[:, 0] == pytest.approx(50 + np.arange(24))
    assert of.calendar.date(0) == date(2024, 3, 1) and "stamped at the end" in of.calendar.clock
    with pytest.warns(UserWarning, match="runs from 2024-03-01 01:00:00 to 2024-03-03 00:00:00.*set stamp: end"):
        profiles(tmp_path, table)


def test_midnight_may_be_written_as_24_hours(tmp_path):
    table = rows(days=2, start="2024-03-01 01:00", one=lambda d, h: 50 + h, two=lambda d, h: 90, three=lambda d, h: 5)
    for row in table[1:]:
        if row[0].endswith("00:00:00"):
            before = datetime.fromisoformat(row[0]) - timedelta(days=1)
            row[0] = f"{before.date()} 24:00"
    assert -profiles(tmp_path, table, stamp="end").day(1, 0).kw[23, 0] == 73.0


def wall_clock(days, first="2025-03-29 00:00"):
    """Hourly instants of days in Berlin, whose clocks go forward on 30 March and back on 26 October 2025."""
    from zoneinfo import ZoneInfo

    begin = datetime.fromisoformat(first).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(timezone.utc)
    return [(begin + timedelta(hours=k)).astimezone(ZoneInfo("Europe/Berlin")) for k in range(24 * days)]


@pytest.mark.parametrize("first", ["2025-03-29 00:00", "2025-10-25 00:00"])
def test_wall_clocks_are_put_to_standard_time(first):
    """The 23 or 25 hours of the wall clock's day become 24 hours of standard time."""
    local = wall_clock(3, first)
    times, told = standard_times("table", [at.replace(tzinfo=None) for at in local], "Europe/Berlin")
    assert all(b - a == timedelta(hours=1) for a, b in itertools.pairwise(times))
    assert told == "standard time of Europe/Berlin (UTC+01:00), without daylight saving time"
    again, told = standard_times("table", local, "")
    assert again == times and told == "UTC+01:00"


def test_a_wall_clock_without_its_zone_says_what_to_do():
    with pytest.raises(ValueError, match="row 28: 2025-03-30 02:00:00 does not exist in Europe/Berlin"):
        standard_times("t", [datetime(2025, 3, 29) + timedelta(hours=k) for k in range(48)], "Europe/Berlin")
    with pytest.raises(ValueError, match="time_zone 'Berlin' is not known; write an IANA name"):
        standard_times("t", [datetime(2025, 3, 29)], "Berlin")
    with pytest.raises(ValueError, match="row 3: some times have a UTC offset and some do not"):
        standard_times("t", [datetime(2025, 1, 1), datetime(2025, 1, 2, tzinfo=timezone.utc)], "")


# --- how many days, and which ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 8])
def test_fewer_than_nine_days_serve_every_split_and_that_is_said(count, tmp_path):
    with pytest.warns(UserWarning, match=f"have {count} day.*training, validation and test use the same days"):
        of = profiles(tmp_path, rows(days=count))
    assert {of.days(split) for split in ("train", "validation", "test")} == {tuple(range(count))}


def test_nine_days_have_splits_of_their_own(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of = profiles(tmp_path, rows(days=9))
    assert (of.days("validation"), of.days("test")) == ((8,), (4,))


def test_ones_own_splits_hold(tmp_path):
    own = {"train": [0, 2], "validation": [1], "test": [3]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of = profiles(tmp_path, rows(days=4), splits=own)
    assert {split: list(of.days(split)) for split in own} == own


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": [0], "validation": [1], "test": [4]}, "splits: day 4 does not exist; there are 4 days, 0 to 3"),
        ({"train": [0], "validation": [1], "test": [0]}, "day 0 is named twice; a day belongs to one split"),
        ({"train": [0], "test": [1]}, "splits must give days to train, validation, test; got train, test"),
        ({"train": [0], "validation": [1], "tset": [0]}, "splits must give days to"),
    ],
)
def test_splits_that_cannot_be_are_refused(splits, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        profiles(tmp_path, rows(days=4), splits=splits)


def test_years_beyond_the_first_are_days_too():
    spec = CsvProfiles(kind="csv", path="x.csv")
    days = {split: own_split(spec, split, 730) for split in ("train", "validation", "test")}
    assert sum(map(len, days.values())) == 730
    assert [day - 365 for day in days["test"] if day >= 365] == [day for day in days["test"] if day < 365]


def test_a_second_year_is_reached(tmp_path):
    of = profiles(tmp_path, rows(days=367, start="2023-01-01 00:00", minutes=720), dt_h=12.0)
    assert -of.day(366).kw[0, 0] == 50 + 366 and of.calendar.date(366) == date(2024, 1, 2)


# --- reactive power --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["one.kvar", "one_kvar", "Load.one.kvar"])
def test_a_column_of_kvar_is_the_loads_reactive_power(name, tmp_path):
    table = rows(**{"one": lambda d, h: 50, name: lambda d, h: h - 5, "two": lambda d, h: 100, "three": lambda d, h: 5})
    day = profiles(tmp_path, table).day(1, 0)
    assert -day.kvar[:, 0] == pytest.approx(np.arange(24) - 5.0)
    assert -day.kvar[:, 1] == pytest.approx([10.0] * 24), "the others at nominal power factor"


def test_the_columns_of_a_mapping_may_be_kvar(tmp_path):
    table = rows(A=lambda d, h: 50e3, B=lambda d, h: 7e3, C=lambda d, h: 1e5, D=lambda d, h: 5e3)
    of = profiles(tmp_path, table, unit="W", columns={"one": "A", "one.kvar": "B", "two": "C", "three": "D"})
    assert -of.day(0).kvar[0, 0] == pytest.approx(7.0)


def test_a_load_without_active_power_keeps_its_kvar(tmp_path):
    feeder = feeder_of("load_shapes")
    names = [row.name.split(".")[1] for row in feeder.injections]
    table = rows(**{name: (lambda d, h, name=name: 0.0 if "purekvar" in name else 50.0) for name in names})
    of = Profiles(CsvProfiles(kind="csv", path=str(written(tmp_path, table))), feeder, 1.0)
    at = [row.name for row in feeder.injections].index("load.purekvar")
    assert -of.day(0, 0).kvar[:, at] == pytest.approx([36.0] * 24), "40 kvar times the circuit's LoadMult of 0.9"


@pytest.mark.parametrize("hour", [0, 11, 20])
def test_shapes_move_kw_and_kvar_as_plain_opendss_does(hour):
    """With qmult, with actual powers, of fixed and exempt loads, and of loads of reactive power alone.

    OpenDSS steps to the end of the interval that begins at ``hour``, and takes the point of that interval.
    """
    feeder, made = feeder_of("load_shapes"), context()
    day = Profiles(LoadshapeProfiles(kind="loadshapes"), feeder, 1.0).day(0, 0)
    made.Text.Command("clear")
    made.Text.Command(f'compile "{CIRCUITS["load_shapes"]}"')
    made.Text.Command(f"set mode=daily number=1 stepsize=1h controlmode=off hour={hour} tolerance=1e-9")
    made.Solution.Solve()
    for j in feeder.loads:
        made.Circuit.SetActiveElement(feeder.injections[j].name)
        truth = made.CktElement.TotalPowers()
        assert [-day.kw[hour, j], -day.kvar[hour, j]] == pytest.approx(truth, abs=1e-3), feeder.injections[j].name
    rows = {feeder.injections[j].name.split(".")[1]: j for j in feeder.loads}
    column = {0: 0, 11: 1, 20: 2}[hour]
    assert -day.kvar[hour, rows["qmult"]] == pytest.approx((36, 7.2, 36)[column])
    assert -day.kvar[hour, rows["actual"]] == pytest.approx((10, 50, 50)[column])
    assert -day.kw[hour, rows["fixed"]] == 100
    assert -day.kvar[hour, rows["purekvar"]] == pytest.approx((10.8, 36, 32.4)[column])


def test_a_daily_shape_stands_in_for_a_duty_shape():
    feeder = feeder_of("load_shapes")
    at = [row.name for row in feeder.injections].index("load.duty")
    daily, duty = (Profiles(LoadshapeProfiles(kind="loadshapes", which=w), feeder, 1.0).day(0, 0) for w in
                   ("daily", "duty"))  # fmt: skip
    assert -daily.kw[0, at] == 90 and -duty.kw[0, at] == pytest.approx(27)
    assert np.array_equal(np.delete(daily.kw, at, 1), np.delete(duty.kw, at, 1))


# --- what cannot be --------------------------------------------------------------------------------------------------


def of_columns(**more):
    return rows(one=lambda d, h: 50, two=lambda d, h: 100, three=lambda d, h: 5, **more)


IMPOSSIBLE = {
    "a unit beyond its rating": ({"roof": lambda d, h: 1e6}, "'generator.roof' reaches 1e\\+06 kW in row 1 after"),
    "kvar beyond all loads": ({"one.kvar": lambda d, h: 1e6}, "'load.one' reaches -1e\\+06 kvar in row 1 after"),
    "a price": ({"price": lambda d, h: 1e300}, "column 'price' is 1e\\+300 in row 1 after midnight; possible are"),
    "a temperature": ({"temperature_c": lambda d, h: -500}, "'temperature_c' is -500 .* -90 to 60 degree C; correct"),
    "prices": ({"prices": lambda d, h: 1}, "column 'prices': did you mean 'price'\\? rename or delete it"),
    "temperature": ({"Temperature": lambda d, h: 1}, "column 'Temperature': did you mean 'temperature_c'\\?"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
@pytest.mark.parametrize("columns", [{}, {"one": "one", "two": "two", "three": "three"}])
def test_what_cannot_be_is_refused_with_its_place(case, columns, tmp_path):
    more, message = IMPOSSIBLE[case]
    if columns and not {"prices", "temperature", "price", "temperature_c"} & {name.lower() for name in more}:
        columns = {}  # columns that are not listed are ignored
    with pytest.raises(ValueError, match=message):
        profiles(tmp_path, of_columns(**more), columns=columns)


@pytest.mark.parametrize("name", ["price", "Price", "PRICE"])
@pytest.mark.parametrize("columns", [{}, {"one": "One", "two": "TWO", "three": "three"}])
def test_names_of_columns_are_the_same_in_capitals(name, columns, tmp_path):
    assert profiles(tmp_path, of_columns(**{name: lambda d, h: 0.25}), columns=columns).day(0).price[0] == 0.25


def test_a_table_may_hold_more_days_than_the_numbers_of_stress_splits_begin_at(tmp_path):
    table = rows(days=1100, minutes=240, start="2012-01-01 00:00")
    found = profiles(tmp_path, table, dt_h=4.0)
    assert found.days_in_all == 1100
    assert found.day(1099, 0).kw[0, 0] == -(50 + 1099)  # load "one" grows by a kW a day
    assert max(found.days("test")) > 1000 and not set(found.days("test")) & set(found.days("train"))
    with pytest.raises(ValueError, match="day must be a whole number from 0 to 1099; got 1100"):
        found.day(1100)

"""The limits of a table of powers: how much the loads may reach, how often, and which row is named."""

import numpy as np
import pytest
from profile_tables import FEEDER, profiles, rows, small, written

from dss_marl.profiles import CsvProfiles, Profiles


def constant(one, two, three):
    return rows(one=lambda d, h: one, two=lambda d, h: two, three=lambda d, h: three)


@pytest.mark.parametrize(
    ("kw", "fits"),
    [((1, 2, 0.11), True), ((1, 2, 0.1), False), ((9000, 200, 99), True), ((9000, 200, 100), False)],
)
def test_loads_reach_a_hundredth_to_thirty_times_their_nominal_power(tmp_path, kw, fits):
    """310 kW are nominal: from above 3.1 kW to below 9300 kW."""
    table = constant(*kw)
    if fits:
        assert profiles(tmp_path, table).day(3).kw[0, :3].sum() == pytest.approx(-sum(kw))
        return
    with pytest.raises(ValueError, match=rf"the total load reaches {sum(kw):g} kW, nominal is 310 kW"):
        profiles(tmp_path, table)


def test_loads_without_nominal_power_have_no_limit(tmp_path):
    text = FEEDER
    for name, power in (("one", "kw=100 kvar=50"), ("two", "kw=200 kvar=20"), ("three", "kw=10 kvar=1")):
        text = text.replace(f"load.{name} bus1=b kv=12.47 {power}", f"load.{name} bus1=b kv=12.47 kw=0 kvar=0")
    feeder = small(tmp_path, text=text)
    assert not feeder.nominal_kw[feeder.loads].any()
    path = written(tmp_path, constant(1, 2, 3))
    day = Profiles(CsvProfiles(kind="csv", path=str(path)), feeder, 1.0).day(3)
    assert day.kw[0, :3].tolist() == [-1, -2, -3]


@pytest.mark.parametrize("row", [1, 2, 240])
def test_the_row_of_a_bad_number_is_named_as_an_editor_counts(tmp_path, row):
    """The header is row 1."""
    table = rows()
    table[row][1] = "x"
    with pytest.raises(ValueError, match=rf"column 'one', row {row + 1}: 'x' is not a number"):
        profiles(tmp_path, table)


def test_intervals_that_do_not_divide_a_day_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"intervals of 7 minutes do not divide a day; resample, for instance to 15"):
        profiles(tmp_path, rows(minutes=7))


def test_rows_less_than_a_minute_apart_are_refused(tmp_path):
    table = rows()
    for k, row in enumerate(table[1:]):
        row[0] = str(np.datetime64("2024-03-01T00:00:00") + np.timedelta64(30 * k, "s")).replace("T", " ")
    with pytest.raises(ValueError, match=r"rows are 0.5 minutes apart; profiles need whole minutes, 1 or more"):
        profiles(tmp_path, table)

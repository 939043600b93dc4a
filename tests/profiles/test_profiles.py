"""Profiles: frozen splits, the same days everywhere, and days that could be real."""

import hashlib

import numpy as np
import pytest
from common import feeder_with_units, in_new_process, task_of

from dss_marl import read_feeder
from dss_marl.profiles import DAYS, SPLITS, Profiles, SyntheticProfiles

SEASONS = {"winter": (335, 59), "spring": (60, 151), "summer": (152, 243), "autumn": (244, 334)}


def profiles(feeder="ieee34", dt_h=0.25, **changes):
    spec = {"seed": 5, "load_scale": (0.4, 0.9), "commercial_share": 0.4, "latitude": 34.0, **changes}
    return Profiles(SyntheticProfiles(**spec), feeder_with_units(feeder), dt_h)


def columns(of):
    """Indices of the loads and of the other units."""
    loads = of.feeder.loads
    return loads, np.setdiff1d(np.arange(len(of.feeder.injections)), loads)


def share_of_nominal(of, day):
    """(T + 1) total load over nominal load."""
    loads, _ = columns(of)
    return of.day(day).kw[:, loads].sum(1) / of.feeder.nominal_kw[loads].sum()


def sun(of, day):
    """(T + 1, U) sun over rating."""
    _, units = columns(of)
    return of.day(day).kw[:, units] / of.feeder.nominal_kw[units]


# --- splits ----------------------------------------------------------------------------------------------------------


def test_splits_are_disjoint_and_cover_the_year():
    days = [day for split in SPLITS for day in profiles().days(split)]
    assert sorted(days) == list(range(DAYS))


def test_splits_are_frozen():
    """Results are compared across versions on these days: they may never change, and depend on nothing."""
    for of in (profiles(), profiles("ieee13", seed=99, latitude=50.0)):
        assert of.days("test") == tuple(range(4, 365, 9))
        assert of.days("validation") == tuple(range(8, 365, 9))
        assert of.days("train")[:9] == (0, 1, 2, 3, 5, 6, 7, 9, 10)


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_all_seasons_and_weekdays_in_fair_shares(split):
    days = np.array(profiles().days(split))
    assert len(days) >= 30
    weekdays = np.bincount(days % 7, minlength=7) / len(days)
    assert weekdays.min() > 0.10
    for first, last in SEASONS.values():
        within = (days >= first) & (days <= last) if first < last else (days >= first) | (days <= last)
        assert within.mean() > 0.2


# --- the same everywhere ---------------------------------------------------------------------------------------------


def digest():
    """Fingerprint of some days."""
    of = profiles()
    parts = [array.tobytes() for day in (0, 5, 100, 364) for array in (of.day(day).kw, of.day(day).kvar)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_days_are_bitwise_the_same_in_every_process():
    assert digest() == digest() == in_new_process("digest()", "test_profiles")


def test_a_day_does_not_depend_on_the_days_before(rng):
    of, other = profiles(), profiles()
    for day in rng.integers(0, DAYS, 6):
        other.day(int(day))
    assert np.array_equal(of.day(77).kw, other.day(77).kw)


def test_days_are_fresh_arrays():
    of = profiles()
    first = of.day(7)
    kept = first.kw.copy()
    first.kw[:] = 0
    assert np.array_equal(of.day(7).kw, kept)


def test_another_seed_is_another_year():
    assert not np.array_equal(profiles().day(100).kw, profiles(seed=6).day(100).kw)


def test_units_do_not_change_the_load():
    """The same day with and without inverters: otherwise a placement study would compare different days."""
    bare = Profiles(SyntheticProfiles(seed=5), read_feeder("ieee34"))
    equipped = Profiles(SyntheticProfiles(seed=5), feeder_with_units("ieee34"))
    loads, _ = columns(equipped)
    for day in (3, 180):
        assert np.array_equal(bare.day(day).kw, equipped.day(day).kw[:, loads])


# --- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dt_h", "rows"), [(0.25, 97), (0.5, 49), (1.0, 25), (1 / 12, 289), (24.0, 2), (1 / 60, 1441)])
def test_a_day_has_one_row_more_than_intervals(dt_h, rows):
    day = profiles(dt_h=dt_h).day(3)
    count = len(feeder_with_units("ieee34").injections)
    assert day.kw.shape == day.kvar.shape == (rows, count)
    assert day.price.shape == day.temperature_c.shape == (rows,)
    assert day.kw.dtype == day.kvar.dtype == day.price.dtype == day.temperature_c.dtype == np.float64


@pytest.mark.parametrize(
    ("dt_h", "number", "ahead"), [(0.25, 10, 8), (1.0, 364, 24), (1 / 12, 3, 2), (1 / 60, 3020, 5)]
)
def test_the_rows_after_a_day_are_the_next_days_first(dt_h, number, ahead):
    of = profiles(dt_h=dt_h)
    following = number - number % 1000 + (number % 1000 + 1) % DAYS
    today, tomorrow = of.day(number, ahead), of.day(following, 0)
    for name in ("kw", "kvar", "price", "temperature_c"):
        assert len(getattr(today, name)) == of.steps + ahead
        assert np.array_equal(getattr(today, name)[of.steps :], getattr(tomorrow, name)[:ahead])
    assert np.array_equal(of.day(number, 0).kw, today.kw[: of.steps])


@pytest.mark.parametrize("ahead", [-1, 97])
def test_more_ahead_than_a_day_is_refused(ahead):
    with pytest.raises(ValueError, match=f"ahead must be 0 to 96 intervals; got {ahead}"):
        profiles().day(3, ahead)


# Half of a 16-bit step is lost in the fine values, half in the coarse ones: loads are stored up to 8 times nominal.
LOAD_STEP, SUN_STEP = 8 / 65535, 1.2 / 65535


@pytest.mark.parametrize(("coarse", "fine"), [(60, 1), (60, 15), (30, 15), (15, 1), (15, 5), (5, 1), (20, 10)])
def test_coarse_values_are_the_means_of_the_fine(coarse, fine):
    rough, exact = profiles(dt_h=coarse / 60), profiles(dt_h=fine / 60)
    loads, units = columns(rough)
    for number in (11, 185, 2350):
        a, b = rough.day(number, 0), exact.day(number, 0)
        mean = b.kw.reshape(len(a.kw), coarse // fine, -1).mean(1)
        error = np.abs(a.kw - mean) / np.abs(rough.feeder.nominal_kw)
        assert error[:, loads].max() <= 1.01 * LOAD_STEP
        assert error[:, units].max() <= 1.01 * SUN_STEP
        assert a.price == pytest.approx(b.price.reshape(len(a.price), -1).mean(1), abs=2e-5)
        assert a.temperature_c == pytest.approx(b.temperature_c.reshape(len(a.price), -1).mean(1), abs=2e-3)


def test_minutes_differ_within_their_quarter_of_an_hour():
    of = profiles(dt_h=1 / 60)
    loads, units = columns(of)
    day = of.day(next(d for d in range(120, DAYS) if 0.45 < sun(profiles(), d)[40:56].mean() < 0.65), 0)
    within = day.kw.reshape(96, 15, -1).std(1) / np.abs(of.feeder.nominal_kw)
    assert (within[:, loads] > 0).all()
    assert within[40:56, units].max() > 0.1, "clouds pass in minutes"


def test_nothing_jumps_at_midnight():
    """A night's steps across midnight are no larger than those just before it."""
    of = profiles()
    loads, _ = columns(of)
    before, across = [], []
    for number in range(0, DAYS, 6):
        day = of.day(number, 8)
        step = np.abs(np.diff(day.kw[:, loads] / of.feeder.nominal_kw[loads], axis=0)).mean(1)
        before.append(step[88:95])
        across.append(step[95])
        assert np.abs(np.diff(day.temperature_c)).max() < 1.0
    assert np.mean(across) < 1.3 * np.mean(before)


@pytest.mark.parametrize("dt_h", [0.7, 5.0, 48.0])
def test_an_interval_that_does_not_divide_the_day_is_refused(dt_h):
    with pytest.raises(ValueError, match=f"dt_h must divide the day of 24 h.*{dt_h}"):
        profiles(dt_h=dt_h)


# --- physics ---------------------------------------------------------------------------------------------------------

HOURS = np.arange(97) * 0.25


def test_nights_are_dark():
    of = profiles()
    for day in range(0, DAYS, 13):
        assert (sun(of, day)[(HOURS < 4.5) | (HOURS > 19.5)] == 0).all()
        assert (of.day(day).kvar[:, columns(of)[1]] == 0).all()


def test_noon_is_brighter_than_morning_and_evening():
    of = profiles()
    year = np.mean([sun(of, day).mean(1) for day in range(0, DAYS, 5)], axis=0)
    assert year[48] > 2 * year[29]
    assert year[48] > 2 * year[66]
    assert 11 <= HOURS[year.argmax()] <= 13


def test_sun_is_between_nothing_and_the_peak():
    of = profiles()
    days = np.array([sun(of, day) for day in range(0, DAYS, 5)])
    assert days.min() == 0
    assert 0.9 < days.max() <= 1


@pytest.mark.parametrize(("latitude", "longer"), [(34.0, 172), (60.0, 172), (-34.0, 355)])
def test_summer_days_are_longer(latitude, longer):
    """At 34 degrees north the longest day has 14.4 h, the shortest 9.9 h; in the south the other way round."""
    of = profiles(latitude=latitude, dt_h=1 / 12)
    light = {day: (sun(of, day)[:-1] > 0).any(1).sum() / 12 for day in (172, 355)}
    shorter = 355 if longer == 172 else 172
    assert light[longer] > light[shorter] + 3
    if abs(latitude) == 34:
        assert light[longer] == pytest.approx(14.4, abs=0.5)
        assert light[shorter] == pytest.approx(9.9, abs=0.5)


def test_a_year_of_sun_is_plausible():
    """Flat panels at 34 degrees north: 1500 to 2300 full hours under a clear sky, fewer behind clouds."""
    of = profiles()
    hours = np.mean([sun(of, day)[:-1].mean(1).sum() * 0.25 for day in range(DAYS)]) * DAYS
    assert 1100 < hours < 2000


def test_there_are_clear_and_overcast_days():
    of = profiles()
    noon = np.array([sun(of, day)[40:57].mean() for day in range(120, 240)])
    assert (noon > 0.8).sum() > 10
    assert (noon < 0.4).sum() > 5


def test_loads_draw_power_at_their_nominal_power_factor():
    of = profiles()
    loads, _ = columns(of)
    nominal = of.feeder.nominal_kvar[loads] / of.feeder.nominal_kw[loads]
    for day in (1, 150, 301):
        made = of.day(day)
        assert (made.kw[:, loads] < 0).all()
        assert made.kvar[:, loads] / made.kw[:, loads] == pytest.approx(np.tile(nominal, (97, 1)))


@pytest.mark.parametrize("scale", [(0.4, 0.9), (0.7, 0.7), (0.2, 1.2)])
def test_days_peak_within_the_load_scale(scale):
    """Homes and shops peak at different hours, so the feeder's peak is a little lower than that of its loads."""
    of = profiles(load_scale=scale)
    peaks = np.array([share_of_nominal(of, day).max() for day in range(0, DAYS, 3)])
    assert peaks.max() < 1.15 * scale[1]
    assert peaks.min() > 0.6 * scale[0]
    assert 0.75 < peaks.mean() / np.mean(scale) < 1.0


def test_loads_of_one_class_peak_at_the_scale():
    of = profiles(load_scale=(0.7, 0.7), commercial_share=0.0)
    peaks = [share_of_nominal(of, day).max() for day in range(0, DAYS, 3)]
    assert np.mean(peaks) == pytest.approx(0.7, rel=0.12)


def test_homes_peak_in_the_evening_and_shops_at_noon():
    for share, lower, upper in ((0.0, 17, 21), (1.0, 8, 16)):
        of = profiles(commercial_share=share)
        mean = np.mean([share_of_nominal(of, day) for day in range(0, DAYS, 4) if day % 7 < 5], axis=0)
        assert lower <= HOURS[mean.argmax()] <= upper
        assert mean.min() < 0.6 * mean.max()


def test_shops_rest_at_the_weekend():
    of = profiles(commercial_share=1.0, load_scale=(0.7, 0.7))
    week = np.mean([share_of_nominal(of, day).mean() for day in range(70) if day % 7 < 5])
    weekend = np.mean([share_of_nominal(of, day).mean() for day in range(70) if day % 7 >= 5])
    assert weekend < 0.75 * week


def test_days_and_loads_differ():
    of = profiles()
    loads, _ = columns(of)
    today, tomorrow = of.day(30), of.day(31)
    shares = today.kw[:, loads] / of.feeder.nominal_kw[loads]
    assert np.abs(today.kw - tomorrow.kw)[:, loads].max(0).min() > 0
    assert all(not np.array_equal(shares[:, 0], shares[:, k]) for k in range(1, len(loads)))
    cloudy = next(day for day in range(DAYS) if 0.2 < sun(of, day)[48].mean() < 0.8)
    assert np.ptp(sun(of, cloudy), axis=1).max() > 0.02, "clouds pass one after the other"


def clouds(of, days):
    """(rows, U) sun between 9 and 15 h over its mean of these hours, day by day."""
    return np.concatenate([sun(of, day)[36:60] - sun(of, day)[36:60].mean(0) for day in days])


def test_clouds_come_to_near_units_together_and_to_far_ones_later():
    """Feeder 13 is 2 km long, feeder 34 more than 50 km: an hour of wind."""
    near = np.corrcoef(clouds(profiles("ieee13"), range(0, DAYS, 7)).T)
    far = np.corrcoef(clouds(profiles("ieee34"), range(0, DAYS, 7)).T)
    assert near.min() > 0.7
    assert 0.2 < far.min() < 0.6


def test_a_day_is_bright_or_dull_for_all_units():
    of = profiles()
    energy = np.array([sun(of, day).sum(0) for day in range(120, 240, 3)])
    assert np.corrcoef(energy.T).min() > 0.9


def test_small_loads_fluctuate_more_than_large_ones():
    of = profiles()
    loads, _ = columns(of)
    steps = [np.abs(np.diff(of.day(d).kw[:, loads] / of.feeder.nominal_kw[loads], axis=0)) for d in range(0, 60, 3)]
    rough = np.concatenate(steps).mean(0)
    size = -of.feeder.nominal_kw[loads]
    assert rough[size < 6].mean() > 1.3 * rough[size > 60].mean()


@pytest.mark.parametrize("day", [-1, 365, 1.5, "3", None])
def test_a_day_outside_the_year_is_refused(day):
    with pytest.raises(ValueError, match=rf"day must be a whole number from 0 to 364; got {day!r}"):
        profiles().day(day)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="unknown split 'valid'; known: train, validation, test"):
        profiles().days("valid")


def test_the_scenarios_days_are_of_their_own_feeder(scenario):
    task = task_of(scenario)
    assert task.profiles.feeder is task.feeder
    day = task.profiles.day(40)
    assert day.kw.shape == (round(24 / task.scenario.dt_h) + 1, len(task.feeder.injections))
    assert len(day.kw) > task.scenario.steps


@pytest.mark.parametrize("minutes", [5, 15, 60])
def test_the_first_hours_of_a_day_are_the_same_however_many_are_asked_for(minutes):
    """What comes after midnight is the next day's own beginning."""
    profiles = Profiles(SyntheticProfiles(seed=3), feeder_with_units("ieee34"), minutes / 60)
    for day in (17, 171, 364):
        following = profiles.day((day + 1) % 365)
        for ahead in (1, 7, profiles.steps // 2, profiles.steps):
            made = profiles.day(day, ahead)
            for name in ("kw", "kvar", "price", "temperature_c"):
                assert np.array_equal(getattr(made, name)[profiles.steps :], getattr(following, name)[:ahead]), name


# --- classes by bus --------------------------------------------------------------------------------------------------


def test_buses_may_name_their_class_and_the_other_loads_keep_their_days():
    plain, named = profiles("case33"), profiles("case33", homes_at=(24,), factories_at=("25", "30"))
    buses = [plain.feeder.injections[j].bus for j in plain.feeder.loads]
    classes = named._sources("").loads.classes
    assert [classes[buses.index(bus)] for bus in ("24", "25", "30")] == [0, 2, 2]
    others = [k for k, bus in enumerate(buses) if bus not in ("24", "25", "30")]
    assert np.array_equal(classes[others], plain._sources("").loads.classes[others])
    noon, evening = (named.day(8).kw[slice(4 * h, 4 * h + 8)] for h in (11, 19))
    factory, home = plain.feeder.loads[buses.index("25")], plain.feeder.loads[buses.index("24")]
    assert evening[:, home].mean() / noon[:, home].mean() > 1.2 * evening[:, factory].mean() / noon[:, factory].mean()


def test_a_class_at_a_bus_without_load_or_two_classes_at_one_are_refused():
    with pytest.raises(ValueError, match=r"bus '1' of feeder 'case33', which has no load"):
        profiles("case33", shops_at=("1",))
    with pytest.raises(ValueError, match="bus '7' is named twice"):
        profiles("case33", shops_at=("7",), homes_at=("7",))

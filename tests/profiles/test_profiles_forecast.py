"""Forecasts: exact now, worse the farther ahead, better as the hour comes nearer, and the same for everyone."""

import numpy as np
import pytest
from common import feeder_with_units

from dss_marl.profiles import Profiles, SyntheticProfiles
from dss_marl.profiles.forecast import LOAD_ERROR, LOAD_H, SUN_ERROR, TEMPERATURE_ERROR, errors

DAYS = range(100, 220, 4)


def profiles():
    return Profiles(SyntheticProfiles(seed=5), feeder_with_units("ieee34"))


def relative(kind, of, days=DAYS):
    """(days, T, H) logarithm of forecast over truth of the total of loads or sun; NaN where there is none."""
    loads = of.feeder.loads
    columns = loads if kind == "load" else np.setdiff1d(np.arange(len(of.feeder.injections)), loads)
    made = []
    for day in days:
        forecast = of.forecast(day, 24)
        expected = np.array([forecast.kw(step)[:, columns].sum(1) for step in range(96)])
        true = np.array([forecast.day.kw[step : step + 24, columns].sum(1) for step in range(96)])
        with np.errstate(divide="ignore", invalid="ignore"):
            made.append(np.log(expected / true))
    return np.array(made)


def test_the_present_interval_is_known():
    of = profiles()
    forecast, day = of.forecast(17, 8), of.day(17, 8)
    for step in (0, 48, 95):
        assert forecast.kw(step)[0] == pytest.approx(day.kw[step])
        assert forecast.temperature_c(step)[0] == pytest.approx(day.temperature_c[step])


@pytest.mark.parametrize(("kind", "far"), [("load", LOAD_ERROR), ("sun", SUN_ERROR)])
def test_the_error_grows_with_lead_time_as_stated(kind, far):
    error = relative(kind, profiles())
    spread = [np.nanstd(error[:, :, lead]) for lead in (1, 4, 12, 23)]
    assert spread[0] < spread[1] < spread[2]
    assert spread[0] < 0.5 * spread[2]
    if kind == "load":
        scenario_digest = [far * np.sqrt(1 - np.exp(-2 * 0.25 * lead / LOAD_H)) for lead in (1, 4, 12, 23)]
        assert spread == pytest.approx(scenario_digest, rel=0.2)
    assert 0.5 * far < spread[-1] < 1.1 * far


def test_the_error_of_an_hour_shrinks_as_it_comes_nearer():
    """By a martingale: today's forecast of noon is the mean of those to come, so revisions are uncorrelated with it."""
    error = errors(np.random.default_rng(1), 4000, 24, 0.25, 3.0)
    target = np.arange(23, 4000)
    by_lead = np.array([error[target - lead, lead] for lead in range(24)])
    assert (np.diff(by_lead.std(1)) > 0).all()
    revision = by_lead[20] - by_lead[8]
    assert abs(np.corrcoef(revision, by_lead[8])[0, 1]) < 0.1
    assert np.corrcoef(by_lead[20], by_lead[19])[0, 1] > 0.95


def test_forecasts_are_the_same_for_the_same_day():
    first, second = profiles().forecast(33, 6), profiles().forecast(33, 6)
    assert all(np.array_equal(first.kw(step), second.kw(step)) for step in range(96))
    assert not np.array_equal(first.factors, profiles().forecast(34, 6).factors)


def test_a_longer_horizon_does_not_move_the_true_day():
    assert np.array_equal(profiles().forecast(33, 6).day.kw[:96], profiles().forecast(33, 48).day.kw[:96])


def test_nights_stay_dark_and_no_forecast_beats_the_brightest_sun():
    of = profiles()
    units = np.setdiff1d(np.arange(len(of.feeder.injections)), of.feeder.loads)
    for day in (20, 180):
        forecast = of.forecast(day, 12)
        expected = np.array([forecast.kw(step)[:, units] for step in range(96)])
        assert (expected[:8] == 0).all()
        assert (expected <= forecast.day.kw[:, units].max(0) * (1 + 1e-9)).all()
        assert (np.array([forecast.kw(step) for step in range(96)])[:, :, of.feeder.loads] < 0).all()


def test_prices_are_known_and_temperature_is_off_by_a_few_degrees():
    forecast = profiles().forecast(60, 24)
    assert np.array_equal(forecast.price(10), forecast.day.price[10:34])
    off = [forecast.temperature_c(step) - forecast.day.temperature_c[step : step + 24] for step in range(96)]
    assert 0.2 < np.std(off) < 1.5 * TEMPERATURE_ERROR


def test_a_forecast_is_a_fresh_array():
    forecast = profiles().forecast(60, 4)
    kept = forecast.kw(3).copy()
    forecast.kw(3)[:] = 0
    forecast.price(3)[:] = 0
    assert np.array_equal(forecast.kw(3), kept)
    assert forecast.price(3).max() > 0


@pytest.mark.parametrize("horizon", [0, 97])
def test_a_horizon_beyond_a_day_is_refused(horizon):
    with pytest.raises(ValueError, match=f"horizon must be 1 to 96 intervals, a day's; got {horizon}"):
        profiles().forecast(3, horizon)

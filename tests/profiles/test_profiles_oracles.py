"""Profiles against pvlib and demandlib, which are installed for tests only."""

import warnings

import numpy as np
import pytest

from dss_marl.profiles.load_shapes import hourly
from dss_marl.profiles.solar import clear_sky, cos_zenith

PLACES = [(34.0, 0.0), (52.0, 3.0), (-33.0, -5.0), (5.0, 10.0), (63.0, 0.0)]


@pytest.fixture
def quietly():
    """pvlib and demandlib raise deprecation warnings of pandas 3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def pvlib_position(latitude, longitude, year=2023):
    pandas, pvlib = pytest.importorskip("pandas"), pytest.importorskip("pvlib")
    times = pandas.date_range(f"{year}-01-01 00:10", f"{year}-12-31 23:59", freq="20min", tz="UTC")
    return times, pvlib.solarposition.get_solarposition(times, latitude, longitude)


@pytest.mark.parametrize(("latitude", "longitude"), PLACES)
def test_zenith_is_within_half_a_degree_of_pvlib(latitude, longitude, quietly):
    times, position = pvlib_position(latitude, longitude)
    hour = (np.arange(72) * 20 + 10) / 60
    own = np.concatenate([cos_zenith(day, hour, latitude, longitude) for day in range(365)])
    error = np.degrees(np.arccos(own)) - position["zenith"].to_numpy()
    assert np.abs(error).max() < 0.5
    assert len(times) == len(own)


@pytest.mark.parametrize(("latitude", "longitude"), PLACES[:3])
def test_clear_sky_energy_of_a_year_is_within_five_percent_of_pvlib(latitude, longitude, quietly):
    """Ineichen and Perez's model at sea level; 3.2 is the mean of pvlib's turbidity map over inhabited places."""
    pvlib = pytest.importorskip("pvlib")
    _times, position = pvlib_position(latitude, longitude)
    zenith = position["apparent_zenith"]
    mass = pvlib.atmosphere.get_absolute_airmass(pvlib.atmosphere.get_relative_airmass(zenith))
    extra = pvlib.irradiance.get_extra_radiation(position.index)
    ineichen = pvlib.clearsky.ineichen(zenith, mass, linke_turbidity=3.2, dni_extra=extra)["ghi"].fillna(0).sum()
    hour = (np.arange(72) * 20 + 10) / 60
    own = 1000 * sum(clear_sky(cos_zenith(day, hour, latitude, longitude)).sum() for day in range(365))
    assert own == pytest.approx(ineichen, rel=0.05)


def shares(series):
    """Share of each hour in the energy of a mean day."""
    mean = series.groupby(series.index.hour).mean().to_numpy()
    return mean / mean.sum()


@pytest.mark.parametrize(("of_class", "name", "band"), [(0, "H25", 0.008), (1, "G25", 0.013)])
def test_classes_spread_their_energy_over_the_hours_like_standard_profiles(of_class, name, band, quietly):
    """Each hour's share of a mean day's energy (4.2 % if flat) within 0.8 and 1.3 % of the German profiles of 2025.

    ``demandlib.ElecSlp`` is not called: it turns every later warning of the process into an error.
    """
    bdew = pytest.importorskip("demandlib.bdew")
    profile = getattr(bdew, name)(_index())
    own = np.mean([hourly(day, False)[of_class] for day in range(364)], axis=0)
    assert np.abs(own / own.sum() - shares(profile)).max() < band


def _index():
    pandas = pytest.importorskip("pandas")
    return pandas.date_range("2023-01-01", "2023-12-31 23:45", freq="15min")


def test_a_flat_day_would_not_pass_for_a_home(quietly):
    """The band above is narrow enough to tell."""
    bdew = pytest.importorskip("demandlib.bdew")
    assert np.abs(1 / 24 - shares(bdew.H25(_index()))).max() > 0.015

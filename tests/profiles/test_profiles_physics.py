"""Profiles against what engineers know of loads, sun, cars, prices and outages."""

import dataclasses

import numpy as np
import pytest
from common import feeder_with_units

from dss_marl import read_feeder
from dss_marl.grid.elements import AddedUnit, Injection
from dss_marl.profiles import CLIMATES, DAYS, Profiles, SyntheticProfiles, ev_sessions
from dss_marl.profiles.load_model import Loads
from dss_marl.profiles.outages import season_factor
from dss_marl.profiles.solar import clear_sky, cos_zenith
from dss_marl.profiles.thermal_demand import cooling, heating
from dss_marl.profiles.weather import sky_classes, temperature

HOURS = (np.arange(96) + 0.5) / 4


def spec(**changes):
    return SyntheticProfiles(**{"seed": 5, "commercial_share": 0.0, **changes})


def homes(count, kw=1.5, days=range(0, DAYS, 5), **changes):
    """(days, 96, count) use of homes [kW]."""
    loads = Loads(spec(**changes), np.full(count, kw))
    return np.array([loads.quarters(day, mild()) for day in days]) * kw


def mild():
    return np.full(96, 18.0)


# --- homes -----------------------------------------------------------------------------------------------------------


def test_after_diversity_a_home_peaks_at_one_to_two_kilowatts():
    """And uses 40 to 60 % of that on average; distribution planners' figures for homes without electric heating."""
    of = Profiles(spec(kw_per_load=1.5), many_homes(300))
    total = np.array([-of.day(day, 0).kw.sum(1) for day in range(0, DAYS, 2)]) / 300
    assert 1.0 < total.max() < 2.0
    assert 0.4 < total.mean() / total.max() < 0.6
    evening = (total.argmax(1) / 4 >= 16.5) & (total.argmax(1) / 4 <= 21.5)
    assert evening.mean() > 0.8


def many_homes(count):
    bare = read_feeder("ieee13")
    buses = [bus.name for bus in bare.buses]
    rows = [Injection(f"load.h{i}", "load", buses[i % len(buses)], (1,), -1.5, -0.5, 0.24) for i in range(count)]
    return dataclasses.replace(bare, injections=tuple(rows))


def test_diversity_flattens_the_peak():
    """One home peaks at several times what each of a hundred adds: the coincidence factor is 0.2 to 0.5."""
    use = homes(100).reshape(-1, 100)
    assert 0.2 < use.sum(1).max() / use.max(0).sum() < 0.5


def test_noise_averages_out_with_size():
    """A load of sixteen homes fluctuates a quarter as much as one home."""
    variation = {}
    for customers in (1, 16):
        use = homes(60, kw=1.5 * customers)
        variation[customers] = (use.std(0) / use.mean(0)).mean()
    smooth = (homes(60, noise=0.0).std(0) / homes(60, noise=0.0).mean(0)).mean()
    own = {n: np.sqrt(v**2 - smooth**2) for n, v in variation.items()}
    assert own[1] == pytest.approx(0.65, rel=0.1)
    assert own[16] == pytest.approx(own[1] / 4, rel=0.25)


def test_homes_keep_their_mean_whatever_the_noise():
    assert homes(200).mean() == pytest.approx(homes(200, noise=0.0).mean(), rel=0.03)


def test_homes_are_hardly_correlated_beyond_their_common_rhythm():
    use = homes(40)
    apart = (use - use.mean((0, 2))[:, None]).reshape(-1, 40)
    correlation = np.corrcoef(apart.T)[np.triu_indices(40, 1)]
    assert 0.0 < correlation.mean() < 0.25


def test_a_home_is_spiky_by_the_minute():
    """Kettles and ovens: one home's minutes reach twice the highest quarter of an hour of a mean home, and rest low."""
    loads = Loads(spec(), np.full(50, 1.5))
    quarters = loads.quarters(10, mild())
    minutes = loads.minutes(10, quarters)
    assert minutes.reshape(96, 15, 50).mean(1) == pytest.approx(quarters)
    assert 1.5 * minutes.max(0).mean() > 3.0
    assert minutes.min(0).mean() < 0.25 * quarters.mean()
    assert (minutes > 0).all()


def test_each_day_has_its_level_and_cold_and_hot_days_the_higher():
    of = Profiles(spec(load_scale=(0.4, 0.9)), read_feeder("ieee13"))
    days = [of.day(day, 0) for day in range(DAYS)]
    peak = np.array([-day.kw.sum(1).max() for day in days])
    extreme = np.abs([day.temperature_c.mean() - 17 for day in days])
    assert np.corrcoef(peak, extreme)[0, 1] > 0.3
    assert np.corrcoef(peak[1:], peak[:-1])[0, 1] > 0.3, "a cold spell lasts"


def test_factories_work_by_day_and_rest_on_sundays():
    loads = Loads(spec(industrial_share=1.0, noise=0.0, load_scale=(0.7, 0.7)), np.full(5, 60.0))
    monday, sunday = (loads.quarters(day, mild()).mean(1) for day in (0, 6))
    assert monday[32:48].mean() > 1.5 * monday[:12].mean()
    assert sunday.mean() < 0.75 * monday.mean()


def test_shares_of_classes_are_kept():
    classes = Loads(spec(commercial_share=0.3, industrial_share=0.2), np.full(4000, 5.0)).classes
    assert np.bincount(classes, minlength=3) / 4000 == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


def test_more_than_all_loads_cannot_have_a_class():
    with pytest.raises(ValueError, match=r"commercial_share and industrial_share add up to 1\.2; at most 1"):
        spec(commercial_share=0.7, industrial_share=0.5)


# --- heat ------------------------------------------------------------------------------------------------------------


def test_heat_pumps_draw_in_the_cold_and_more_than_in_proportion():
    hour = np.array([12.0])
    at = {t: float(heating(np.array([t]), hour)[0]) for t in (20.0, 15.0, 5.0, -5.0)}
    assert at[20.0] == at[15.0] == 0
    assert at[-5.0] > 2 * at[5.0] > 0


def test_air_conditioning_draws_in_the_heat():
    draw = cooling(np.array([15.0, 22.0, 30.0, 38.0]))
    assert draw[0] == draw[1] == 0
    assert draw[3] == pytest.approx(2 * draw[2])


@pytest.mark.parametrize(("field", "temperature_c"), [("heat_pump_share", -5.0), ("air_conditioning", 35.0)])
def test_owners_draw_in_proportion_to_their_share(field, temperature_c):
    none = {"heat_pump_share": 0.0, "air_conditioning": 0.0}
    use = [
        Loads(spec(noise=0.0, **{**none, field: share}), np.full(200, 1.5))
        .quarters(40, np.full(96, temperature_c))
        .mean()
        for share in (0.0, 0.25, 0.5)
    ]
    assert use[2] - use[0] == pytest.approx(2 * (use[1] - use[0]), rel=0.25)
    assert use[1] > 1.02 * use[0]


# --- sun and sky -----------------------------------------------------------------------------------------------------


def test_the_sun_stands_where_almanacs_say():
    """At the equinox it rises at six and stands overhead at the equator; at midsummer at 34 degrees 10.6 from it."""
    noon = np.arange(0, 24, 1 / 60)
    overhead = cos_zenith(79, noon, 0.0)
    assert np.degrees(np.arccos(overhead.max())) < 1.0
    assert (overhead > 0).mean() == pytest.approx(0.5, abs=0.01)
    assert np.degrees(np.arccos(cos_zenith(171, noon, 34.0).max())) == pytest.approx(34 - 23.44, abs=0.3)


def test_noon_moves_with_longitude_and_the_equation_of_time():
    """A degree east is four minutes earlier; early in November the sun is 16 minutes early, in mid-February 14 late."""
    hour = np.arange(10, 14, 1 / 60)
    noon = {day: hour[cos_zenith(day, hour, 40.0).argmax()] for day in (306, 41)}
    assert 60 * (12 - noon[306]) == pytest.approx(16.4, abs=1.1)
    assert 60 * (noon[41] - 12) == pytest.approx(14.2, abs=1.1)
    east = hour[cos_zenith(41, hour, 40.0, 10.0).argmax()]
    assert 60 * (noon[41] - east) == pytest.approx(40, abs=1.1)


def test_clear_sky_is_plausible():
    assert clear_sky(np.array([-0.5, 0.0])).tolist() == [0.0, 0.0]
    assert 0.9 < clear_sky(np.array([1.0]))[0] < 1.05
    assert 0.35 < clear_sky(np.array([0.5]))[0] < 0.5


@pytest.mark.parametrize(("climate", "latitude", "low", "high"), [
    ("maritime", 52.0, 0.08, 0.13), ("temperate", 34.0, 0.14, 0.20), ("dry", 34.0, 0.19, 0.26),
])  # fmt: skip
def test_capacity_factors_suit_the_climate(climate, latitude, low, high):
    of = Profiles(spec(climate=climate, latitude=latitude), feeder_with_units("ieee34"), 1.0)
    units = [j for j, row in enumerate(of.feeder.injections) if row.kind == "inverter"]
    rated = of.feeder.nominal_kw[units].sum()
    assert low < np.mean([of.day(day, 0).kw[:, units].sum(1) for day in range(0, DAYS, 3)]) / rated < high


def test_mixed_days_ramp_and_clear_days_do_not():
    """Within a minute broken clouds take more than 20 % of a unit's peak power; a clear sky changes by 1 %."""
    of = Profiles(spec(), feeder_with_units("ieee34"), 1 / 60)
    units = [j for j, row in enumerate(of.feeder.injections) if row.kind == "inverter"]
    sky = sky_classes(5, "temperate")
    ramps = {}
    for kind in (0, 1, 2):
        days = [d for d in range(120, 240) if sky[d] == kind][:4]
        power = np.array([of.day(day, 0).kw[600:840, units] for day in days]) / of.feeder.nominal_kw[units]
        ramps[kind] = np.quantile(np.abs(np.diff(power, axis=1)), 0.99)
    assert ramps[1] > 0.1
    assert ramps[1] > 3 * ramps[0]
    assert ramps[1] > 3 * ramps[2]


def test_more_panels_fill_the_day_but_not_the_inverter():
    many, few = (Profiles(spec(pv_scale=s), feeder_with_units("ieee34")) for s in (1.5, 1.0))
    units = [j for j, row in enumerate(few.feeder.injections) if row.kind == "inverter"]
    rated = few.feeder.nominal_kw[units]
    energy = [np.array([of.day(d, 0).kw[:, units] for d in range(0, DAYS, 20)]) for of in (many, few)]
    assert 1.25 < energy[0].sum() / energy[1].sum() < 1.5
    assert (energy[1] <= rated).all()
    assert 1.15 < (energy[0] / rated).max() <= 1.2


def test_units_that_no_sun_drives_rest():
    """Batteries and chargers get zero here: their agents decide."""
    battery = AddedUnit("store", "890", 100.0, (), "battery")
    feeder = read_feeder("ieee34", [], [AddedUnit("roof", "848", 50.0), battery])
    day = Profiles(spec(), feeder).day(172)
    kinds = [row.kind for row in feeder.injections]
    assert (day.kw[:, kinds.index("battery")] == 0).all()
    assert day.kw[:, kinds.index("inverter")].max() > 20


# --- temperature -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("climate", CLIMATES)
def test_temperature_follows_the_climate(climate):
    year = np.array([temperature(5, climate, False, day, HOURS) for day in range(DAYS)])
    of = CLIMATES[climate]
    assert year.mean() == pytest.approx(of.mean_c, abs=1.5)
    assert year[152:244].mean() - year[[*range(335, 365), *range(59)]].mean() == pytest.approx(
        2 * of.season_c * 0.9, abs=2.5
    )
    assert 14 <= HOURS[year.mean(0).argmax()] <= 16


def test_southern_summers_are_at_the_turn_of_the_year():
    year = np.array([temperature(5, "temperate", True, day, HOURS).mean() for day in range(DAYS)])
    assert year[:50].mean() > year[160:210].mean() + 10


# --- cars ------------------------------------------------------------------------------------------------------------


def test_cars_come_in_the_evening_and_leave_in_the_morning(rng):
    cars = ev_sessions(rng, 20000)
    assert cars.arrival_h.mean() == pytest.approx(18.0, abs=0.1)
    assert cars.arrival_h.std() == pytest.approx(2.0, abs=0.1)
    assert cars.departure_h.mean() == pytest.approx(31.5, abs=0.05)
    assert (cars.departure_h > cars.arrival_h + 4).all()


def test_cars_need_what_a_days_drive_takes(rng):
    cars = ev_sessions(rng, 20000)
    asked = cars.kwh[cars.kwh > 0]
    assert len(asked) / 20000 == pytest.approx(0.85, abs=0.01)
    assert 8 < asked.mean() < 12
    assert np.median(asked) < asked.mean()
    assert asked.max() <= 60


def test_cars_come_earlier_at_weekends(rng):
    assert ev_sessions(rng, 5000, weekend=True).arrival_h.mean() < ev_sessions(rng, 5000).arrival_h.mean() - 1


def test_cars_are_the_same_for_the_same_seed():
    first, second = (ev_sessions(np.random.default_rng(3), 10) for _ in range(2))
    assert all(np.array_equal(getattr(first, k), getattr(second, k)) for k in ("arrival_h", "departure_h", "kwh"))


@pytest.mark.parametrize("wrong", [{"count": -1}, {"count": 3, "mean_kwh": -1.0}, {"count": 3, "plugged_in": 1.2}])
def test_impossible_cars_are_refused(wrong, rng):
    with pytest.raises(ValueError, match="ev_sessions needs count and mean_kwh >= 0, plugged_in 0 to 1"):
        ev_sessions(rng, **wrong)


# --- price -----------------------------------------------------------------------------------------------------------


def prices(**changes):
    """(365, 24) price of each hour."""
    of = Profiles(spec(**changes), read_feeder("ieee13"), 1.0)
    return np.array([of.day(day, 0).price for day in range(DAYS)])


def test_market_prices_peak_in_the_evening_and_dip_at_sunny_noons():
    year = prices()
    mean = year.mean(0)
    assert 17 <= mean.argmax() <= 20
    assert mean[12:14].mean() < mean[8]
    assert mean[2:5].mean() < mean[8]
    assert 0.04 < year.mean() < 0.12
    assert 0 < (year < 0).mean() < 0.05
    assert year.max() < 0.6
    weekend = np.arange(DAYS) % 7 >= 5
    assert year[weekend].mean() < year[~weekend].mean()


def test_a_tariff_has_three_prices_and_a_peak_on_working_days():
    year = prices(tariff="time_of_use", mean_price=0.2)
    assert np.unique(year.round(4)).tolist() == pytest.approx([0.12, 0.2, 0.34], abs=1e-3)
    assert year[0, 17:21] == pytest.approx([0.34] * 4, abs=1e-3)
    assert year[5].max() == pytest.approx(0.2, abs=1e-3)


def test_a_flat_tariff_is_flat():
    assert np.ptp(prices(tariff="flat", mean_price=0.3)) == 0


# --- outages ---------------------------------------------------------------------------------------------------------


def outages(days=range(DAYS), **changes):
    of = Profiles(spec(**changes), read_feeder("ieee34"))
    return [outage for day in days for outage in of.outages(day)]


def test_lines_fail_in_proportion_to_their_length():
    feeder = read_feeder("ieee34")
    km = {b.name: b.length_km for b in feeder.branches if b.kind == "line"}
    found = [outage for seed in range(8) for outage in outages(seed=seed, outages_per_km=1.0)]
    assert len(found) == pytest.approx(8 * sum(km.values()), rel=0.15)
    longest = max(km, key=km.get)
    share = sum(outage.branch == longest for outage in found) / len(found)
    assert share == pytest.approx(km[longest] / sum(km.values()), abs=0.05)
    assert {outage.branch for outage in found} <= set(km)


def test_repairs_take_an_hour_or_two_and_sometimes_long():
    hours = np.array([outage.duration_h for outage in outages(outages_per_km=10.0)])
    assert 1.2 < np.median(hours) < 1.9
    assert 0.03 < (hours > 4).mean() < 0.2
    assert (hours >= 0.1).all()


def test_outages_are_in_order_and_within_their_day():
    of = Profiles(spec(outages_per_km=30.0), read_feeder("ieee34"))
    for day in range(0, DAYS, 40):
        starts = [outage.start_h for outage in of.outages(day)]
        assert starts == sorted(starts)
        assert all(0 <= start < 24 for start in starts)


def test_summer_and_winter_storms_break_more_lines():
    factors = np.array([season_factor(day, False) for day in range(DAYS)])
    assert factors.mean() == pytest.approx(1.0, abs=0.02)
    days = {"summer": range(160, 210), "winter": range(0, 50), "spring": range(76, 126)}
    count = dict.fromkeys(days, 0)
    for seed in range(4):
        of = Profiles(spec(outages_per_km=5.0, seed=seed), read_feeder("ieee34"))
        for name in days:
            count[name] += sum(len(of.outages(day)) for day in days[name])
    assert count["summer"] > 1.2 * count["spring"]
    assert count["winter"] > 1.2 * count["spring"]


def test_no_rate_no_outage():
    assert outages(outages_per_km=0.0) == []

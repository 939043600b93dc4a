"""Timings of profiles: ``python -m pytest benchmarks --benchmark-enable --benchmark-only``."""

from dataclasses import replace

import pytest

from dss_marl import read_feeder
from dss_marl.grid.elements import Injection
from dss_marl.profiles import Profiles, SyntheticProfiles

SPEC = SyntheticProfiles(seed=1)


def hundred_loads_thirty_suns():
    feeder = read_feeder("ieee123")
    buses = [bus.name for bus in feeder.buses]
    loads = [Injection(f"load.l{i}", "load", buses[i], (1,), -20.0, -8.0, 2.4) for i in range(100)]
    suns = [Injection(f"generator.p{i}", "inverter", buses[3 * i], (1,), 30.0, 0.0, 2.4) for i in range(30)]
    return replace(feeder, injections=(*loads, *suns))


def test_a_year_by_the_quarter_of_an_hour(benchmark):
    """The limit is 3 s."""
    of = Profiles(SPEC, hundred_loads_thirty_suns())
    made = benchmark.pedantic(lambda: [of.day(day, ahead=0) for day in range(365)], rounds=3, warmup_rounds=1)
    assert len(made) == 365


def test_a_day_of_55_houses_by_the_minute(benchmark):
    """The limit is 50 ms."""
    of = Profiles(SPEC.model_copy(update={"kw_per_load": 1.5}), read_feeder("eulv"), 1 / 60)
    assert len(benchmark.pedantic(of.day, args=(10,), rounds=10, warmup_rounds=1).kw) == 1441


def test_a_step_of_a_day(benchmark):
    """The limit is 2 us."""
    day = Profiles(SPEC, hundred_loads_thirty_suns()).day(10)
    assert benchmark(lambda: day.kw[40]).shape == (130,)


@pytest.mark.parametrize("horizon", [4, 24])
def test_a_step_of_a_forecast(benchmark, horizon):
    """The limit is 2 us and the copy."""
    forecast = Profiles(SPEC, hundred_loads_thirty_suns()).forecast(10, horizon)
    forecast.kw(0)
    assert benchmark(forecast.kw, 40).shape == (horizon, 130)

"""Statistics and the picture of days, and the command that shows both."""

import re
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from common import feeder_with_units, task_of
from typer.testing import CliRunner

from dss_marl.cli.app import app
from dss_marl.profiles import DAYS, Profiles, SyntheticProfiles
from dss_marl.profiles.statistics import Statistics, day_statistics


def steady(load=(1.0, 2.0), sun=()):
    """Two days of four intervals: loads as given in the first half of a day and half of it after; sun at noon."""
    half = np.array([1.0, 1.0, 0.5, 0.5])
    return Statistics(
        days=(0, 1),
        dt_h=6.0,
        load_kw=np.array([half[:, None] * load] * 2),
        pv_kw=np.array([np.array([0.0, 1.0, 1.0, 0.0])[:, None] * np.array(sun)] * 2).reshape(2, 4, len(sun)),
        nominal_kw=np.array(load),
        rated_kw=np.array(sun),
        price=np.full((2, 4), 0.1),
        temperature_c=np.full((2, 4), 10.0),
        outages=3,
    )


def test_figures_of_a_known_day():
    figures = {name: value for name, (value, _) in steady(sun=(4.0,)).figures().items()}
    assert figures["peak load"] == 3.0
    assert figures["load factor"] == pytest.approx(0.75)
    assert figures["coincidence factor"] == pytest.approx(1.0)
    assert figures["after-diversity peak of a home (1.5 kW nominal)"] == pytest.approx(1.5)
    assert figures["PV capacity factor"] == pytest.approx(0.5)
    assert figures["share of intervals with PV above load"] == pytest.approx(0.5)
    assert figures["load ramp in 360 min, 99% quantile"] == pytest.approx(0.5)
    assert figures["outages"] == 3


def test_the_duration_curve_falls_from_one():
    curve = steady().duration([0.0, 0.25, 0.75, 1.0])
    assert curve.tolist() == [1.0, 1.0, 0.5, 0.5]


def test_a_feeder_without_sun_has_no_capacity_factor():
    figures = steady().figures()
    assert np.isnan(figures["PV capacity factor"][0])
    assert np.isnan(figures["correlation of PV units within the day"][0])


def test_ieee34s_year_is_within_the_bands_that_planners_know():
    """The numbers of the note: load factor 0.4 to 0.6, a home's after-diversity peak 1 to 2 kW, PV 14 to 20 %."""
    of = task_of("ieee34_volt_var").profiles
    figures = {name: value for name, (value, _) in day_statistics(of, range(0, DAYS, 4)).figures().items()}
    assert 0.4 < figures["load factor"] < 0.6
    assert 1.0 < figures["after-diversity peak of a home (1.5 kW nominal)"] < 2.0
    assert 0.14 < figures["PV capacity factor"] < 0.20
    assert 16.5 < figures["median peak hour"] < 21
    assert -0.1 < figures["correlation of loads about their mean day"] < 0.2
    assert figures["correlation of PV units within the day"] > 0.5
    assert figures["load ramp in 15 min, 99% quantile"] < 0.08
    assert 0.08 < figures["PV ramp in 15 min, 99% quantile"] < 0.3


@pytest.mark.parametrize(("feeder", "dt_h", "count"), [("ieee34", 0.25, 5), ("ieee13", 1.0, 1), ("eulv", 1 / 12, 2)])
def test_days_are_drawn(feeder, dt_h, count):
    plots = pytest.importorskip("dss_marl.plots")
    of = Profiles(SyntheticProfiles(seed=1), feeder_with_units(feeder), dt_h)
    figure = plots.days_figure(day_statistics(of, of.days("test")[:count]), "days")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[: min(count, 4)] == [f"day {d}, {name}" for d, name in _named(of.days("test")[:count])]
    figure.canvas.draw()
    assert (np.asarray(figure.canvas.buffer_rgba())[..., :3] < 128).mean() > 0.005, "something was drawn"


def test_measured_days_are_named_by_date_and_every_energy_is_in_view():
    plots = pytest.importorskip("dss_marl.plots")
    of = replace(steady(load=(1000.0, 2000.0), sun=(2200.0,)), dates=(date(2025, 6, 4), date(2025, 6, 5)))
    figure = plots.days_figure(of, "two days")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["day 0, Wednesday 2025-06-04", "day 1, Thursday 2025-06-05"]
    energies = figure.axes[titles.index("daily energy")]
    x, y = energies.collections[0].get_offsets().T
    assert x.max() < 0.99 * energies.get_xlim()[1] and y.max() < 0.99 * energies.get_ylim()[1]


def _named(days):
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    shown = np.unique(np.linspace(0, len(days) - 1, min(4, len(days))).round().astype(int))
    return [(days[k], names[days[k] % 7]) for k in shown]


def shown(*arguments):
    done = CliRunner().invoke(app, ["profiles", *arguments], env={"COLUMNS": "120"})
    return done.exit_code, re.sub(r"\s+", " ", done.output)


def test_the_command_shows_figures_and_writes_the_picture(tmp_path):
    code, text = shown("ieee13_volt_var", "--split", "cold_evening", "--days", "3", "--plot", str(tmp_path / "out.png"))
    assert code == 0
    assert "3 cold_evening days of 15-minute intervals" in text
    assert "load factor" in text and "PV capacity factor" in text
    assert task_of("ieee13_volt_var").profiles.sha256() in text
    assert (tmp_path / "out.png").stat().st_size > 10_000


@pytest.mark.parametrize(("arguments", "message"), [
    (["--split", "tests"], "unknown split 'tests'; known: train, validation, test, sunny_low_load"),
    (["--days", "0"], "'--days'"),
])  # fmt: skip
def test_what_the_command_cannot_show_is_explained(arguments, message):
    code, text = shown("ieee13_volt_var", *arguments)
    assert code == 2
    assert message in text

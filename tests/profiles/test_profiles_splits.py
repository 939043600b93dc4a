"""Splits: frozen, disjoint, of all seasons; and stress splits that really stress."""

import functools
import hashlib
import json

import numpy as np
import pytest
from common import ROOT, in_new_process, task_of

from dss_marl import ZoneEnv
from dss_marl.controllers import reference
from dss_marl.experiments.evaluation import evaluate, run_day
from dss_marl.profiles import DAYS, SPLITS, STRESS_SPLITS, Profiles
from dss_marl.profiles.splits import frozen_splits, split_of, splits_sha256
from dss_marl.profiles.stress import stressed

HASHES = ROOT / "tests" / "data" / "profile_hashes.json"


def of_34():
    return task_of("ieee34_volt_var").profiles


def spread(days):
    """Shares of the weekdays, and of the quarters of the year."""
    days = np.array(days) % 1000
    return np.bincount(days % 7, minlength=7) / len(days), np.bincount(days * 4 // DAYS, minlength=4) / len(days)


# --- which days ------------------------------------------------------------------------------------------------------


def test_no_number_is_in_two_splits():
    numbers = [number for name in (*SPLITS, *STRESS_SPLITS) for number in frozen_splits()[name]]
    assert len(numbers) == len(set(numbers))


def test_the_committed_hash_is_that_of_the_days():
    """Whoever edits a day must mean it: results are compared across versions."""
    path = ROOT / "dss_marl" / "profiles" / "splits.json"
    data = json.loads(path.read_text())
    assert splits_sha256() == data["sha256"]
    assert splits_sha256({**frozen_splits(), "test": (1, 2)}) != data["sha256"]
    assert data["sha256"].startswith("adae47fdf5b8d466")


@pytest.mark.parametrize("split", SPLITS)
def test_splits_interleave_by_whole_days(split):
    weekdays, quarters = spread(of_34().days(split))
    assert weekdays.min() > 0.1
    assert quarters.min() > 0.2


@pytest.mark.parametrize("split", STRESS_SPLITS)
def test_stress_splits_have_all_weekdays_and_their_season(split):
    weekdays, quarters = spread(of_34().days(split))
    assert len(of_34().days(split)) >= 30
    assert weekdays.min() > 0.09
    season = {"sunny_low_load": (0, 0), "cold_evening": (1, 2), "outage_season": (1, 2)}.get(split)
    if split == "sunny_low_load":
        assert quarters[1] + quarters[2] > 0.8
    elif season:
        assert quarters[1] + quarters[2] < 0.1


@pytest.mark.parametrize(
    ("number", "split", "day"), [(17, "", 17), (1061, "sunny_low_load", 61), (5364, "outage_season", 364)]
)
def test_a_number_tells_its_split(number, split, day):
    assert split_of(number) == (split, day)


@pytest.mark.parametrize("number", [365, 999, 1365, 6000, -1])
def test_numbers_between_the_splits_are_refused(number):
    with pytest.raises(
        ValueError, match=rf"day must be a whole number from 0 to 364; got {number}; stress splits have"
    ):
        of_34().day(number)


def test_an_unknown_split_names_the_known():
    with pytest.raises(
        ValueError, match=r"unknown split 'hot'; known: train, validation, test, sunny_low_load, .*outage"
    ):
        of_34().days("hot")


# --- the same values everywhere ---------------------------------------------------------------------------------------


HASHED = ("ieee123_hybrid", "ieee13_volt_var", "ieee34_volt_var")  # batteries and prices too; others are made alike


def hashes():
    """SHA-256 of some scenarios' years."""
    return {name: task_of(name).profiles.sha256() for name in HASHED}


def test_years_are_those_committed():
    """The same 16-bit values on every machine; a change of the generator needs a new VERSION and new hashes.

    ``python tests/test_profiles_splits.py`` writes them.
    """
    assert hashes() == json.loads(HASHES.read_text())


def stress_digest():
    days = [of_34().day(1000 * k + 61, 0).kw for k in range(1, 6)]
    return hashlib.sha256(np.rint(1e6 * np.array(days)).astype("<i8").tobytes()).hexdigest()


def test_stress_days_are_the_same_in_every_process():
    assert stress_digest() == in_new_process("stress_digest()", "test_profiles_splits")


# --- what stress changes ---------------------------------------------------------------------------------------------


def facts(split):
    """Mean over a split's days: sun, load, highest load, temperature, share of day's sun in the evening."""
    of = of_34()
    loads = of.feeder.loads
    units = np.setdiff1d(np.arange(len(of.feeder.injections)), loads)
    made = [of.day(number, 0) for number in of.days(split)[::2]]
    load = np.array([-day.kw[:, loads].sum(1) for day in made])
    sun = np.array([day.kw[:, units].sum(1) for day in made])
    failed = np.mean([len(of.outages(number)) for number in of.days(split)])
    return {
        "sun": sun.mean(),
        "load": load.mean(),
        "evening": load[:, 70:84].mean(),
        "surplus": (sun - load).max(1).mean(),
        "temperature_c": np.mean([day.temperature_c.mean() for day in made]),
        "outages": failed,
    }


def test_stress_splits_stress_what_they_say():
    usual, stress = facts("test"), {split: facts(split) for split in STRESS_SPLITS}
    assert stress["sunny_low_load"]["surplus"] > 1.5 * usual["surplus"]
    assert stress["cold_evening"]["evening"] > 1.2 * usual["evening"]
    assert stress["cold_evening"]["temperature_c"] < usual["temperature_c"] - 15
    assert 1.2 < stress["more_pv"]["sun"] / usual["sun"] < 1.5
    assert stress["more_pv"]["load"] == pytest.approx(usual["load"])
    assert stress["another_climate"]["sun"] > 1.2 * usual["sun"]
    assert stress["another_climate"]["temperature_c"] > usual["temperature_c"] + 5
    assert stress["outage_season"]["outages"] > 5 * max(usual["outages"], 0.02)
    assert stress["outage_season"]["sun"] < 0.6 * usual["sun"]


def test_more_pv_is_the_test_days_otherwise():
    of = of_34()
    assert [number - 3000 for number in of.days("more_pv")] == list(of.days("test"))
    loads = of.feeder.loads
    assert np.array_equal(of.day(3004).kw[:, loads], of.day(4).kw[:, loads])


def test_another_climate_has_the_test_days_draws():
    """The same homes and shops under the same luck of the sky, so that its days pair with the test days one by one."""
    of = of_34()
    assert [number - 4000 for number in of.days("another_climate")] == list(of.days("test"))
    usual, elsewhere, stormy = (stressed(of.spec, split) for split in ("more_pv", "another_climate", "outage_season"))
    assert usual.seed == elsewhere.seed == of.spec.seed != stormy.seed
    load = [
        np.concatenate([of.day(d, 0).kw[:, of.feeder.loads].sum(1) for d in days]) for days in ((4, 13), (4004, 4013))
    ]
    assert np.corrcoef(*load)[0, 1] > 0.8


def test_everybody_is_at_home_in_a_storm():
    assert facts("outage_season")["load"] > 1.1 * facts("test")["load"]


@pytest.mark.parametrize("number", [13, 4013])
def test_a_stress_day_has_the_noise_of_its_date(number):
    """The attacked zone and lost messages of test day 13 come again in the other climate."""
    task, seeds = task_of("ieee13_volt_var"), []

    class Seeded:
        circuit_controls = False

        def reset(self, env):
            seeds.append(float(env.episode.rng.random()))

        def act(self, env, observations):
            return env.task.encoding.encode(env.task.default_action)

    run_day(ZoneEnv(task, "test"), Seeded(), number)
    env = ZoneEnv(task, "test")
    env.reset(seed=13, options={"day": 13})
    assert seeds == [float(env.episode.rng.random())]


def test_southern_stress_days_are_in_their_season():
    spec = of_34().spec.model_copy(update={"latitude": -34.0})
    south = Profiles(spec, of_34().feeder)
    cold = [south.day(number, 0).temperature_c.mean() for number in south.days("cold_evening")[::6]]
    assert np.mean(cold) < 0


# A key figure of no control on IEEE 34 over that on the test days, and the range it must lie in.
MOVES = {
    "sunny_low_load": [("violation_node_h", 1.8, np.inf), ("controllable_rate", 0.0, 0.3)],
    "cold_evening": [("violation_node_h", 0.0, 0.5), ("loss_kwh", 1.3, np.inf)],
    "more_pv": [("violation_node_h", 1.1, np.inf), ("team_return", 1.2, np.inf)],
    "another_climate": [("worst_pu", 1.2, np.inf), ("controllable_rate", 0.0, 0.85)],
    "outage_season": [("violation_node_h", 0.0, 0.75), ("loss_kwh", 1.15, np.inf)],
}


@functools.cache
def no_control(split):
    """Mean key figures of no control on every fourth day of a split."""
    task = task_of("ieee34_volt_var")
    days = task.profiles.days(split)[::4]
    rows = evaluate(reference("no_control", task.scenario), task.scenario, days, split)
    return {key: np.mean([row[key] for row in rows]) for key in rows[0]}


@pytest.mark.slow
@pytest.mark.parametrize("split", STRESS_SPLITS)
def test_stress_moves_the_key_figures_of_no_control(split):
    """Policies that learned on ordinary days face another task there, and each split its own."""
    usual, stressed = no_control("test"), no_control(split)
    for figure, low, high in MOVES[split]:
        assert low <= stressed[figure] / usual[figure] <= high, figure


if __name__ == "__main__":
    HASHES.parent.mkdir(exist_ok=True)
    HASHES.write_text(json.dumps(hashes(), indent=1) + "\n")

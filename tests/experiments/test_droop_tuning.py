"""The tuned droop: curve and regulators' band, and what a scenario says of them."""

import pytest

from dss_marl import load_scenario
from dss_marl.controllers import Droop, DroopCurve, reference
from dss_marl.engines.opendss.control_reader import read_controls
from dss_marl.envs.scenario_names import REGULATOR_BAND
from dss_marl.experiments import environment_for, evaluate
from dss_marl.experiments.droop_tuning import BANDS_V, DroopTuning

SHORT = {"steps": 3, "start_hour": 12}


@pytest.fixture(scope="module")
def scenario():
    return load_scenario("ieee13_volt_var").replace(**SHORT)


def with_band(scenario, band_v):
    tuned = {"tuned_droop": {**scenario.tuned_droop, REGULATOR_BAND: band_v}, "tuned_on": scenario.tuned_on}
    return scenario.replace(**tuned)


def test_the_band_reaches_the_controls_of_the_circuit(scenario):
    droop = reference("tuned_droop", with_band(scenario, 3.5))
    env = environment_for(droop, scenario, "train")
    controls = read_controls(env.task.feeder)
    assert {control.forward.band for control in controls.taps} == {3.5}
    assert droop.acts_with == "regulators that hold a band of 3.5 V"
    assert droop.variant(env.task.scenario) == env.task.scenario
    env.close()


def test_a_droop_without_a_band_means_what_it_meant(scenario):
    droop = reference("tuned_droop", scenario)
    assert droop.regulator_band_v is None and droop.variant(scenario) is scenario and not droop.acts_with


def test_a_wide_band_moves_taps_less_often(scenario):
    day = load_scenario("ieee13_volt_var")
    moves = [evaluate(Droop(regulator_band_v=band), day, [41], "train")[0]["tap_moves"] for band in (1.0, 4.0)]
    assert moves[1] < moves[0]


def test_the_search_tries_what_it_announces_and_says_what_it_earned(scenario):
    tuning, tried = DroopTuning(scenario, 4, 1, 0), []
    curve, earned = tuning.best(lambda: tried.append(1))
    assert len(tried) in (tuning.runs, tuning.runs - 2) and len(BANDS_V) < tuning.runs
    alone = DroopTuning(scenario.replace(devices=[d for d in scenario.devices if d["kind"] != "regulator"]), 4, 1, 0)
    assert alone.runs == 5
    band_v = curve.pop(REGULATOR_BAND, None)
    droop, first = (
        Droop(DroopCurve(**curve), regulator_band_v=band_v),
        environment_for(Droop(), scenario, "train").days[0],
    )
    assert evaluate(droop, scenario, [first], "train")[0]["team_return"] == pytest.approx(earned, rel=1e-3)


def test_where_regulators_are_part_of_the_circuit_their_band_is_not_tuned():
    scenario = load_scenario("ieee34_var").replace(**SHORT)
    assert DroopTuning(scenario, 6, 1, 0).runs == 8
    with pytest.raises(ValueError, match=r"regulators are part of the circuit .* remove regulator_band_v"):
        reference("tuned_droop", with_band(scenario, 3.0))


def test_a_band_of_nothing_is_refused(scenario):
    with pytest.raises(ValueError, match="regulator_band_v must be above 0 V; got 0"):
        with_band(scenario, 0.0)

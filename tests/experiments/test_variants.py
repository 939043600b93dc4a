"""Controllers that act in a variant of the scenario, and policies that learn with guarded inverters."""

import json

import numpy as np
import pytest

import dss_marl
from dss_marl import load_scenario
from dss_marl.controllers import Droop, NoControl
from dss_marl.devices import GuardSpec
from dss_marl.envs.inverter_aids import InverterAids
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments import compare, environment_for, evaluate, load_policy, train
from dss_marl.experiments.evaluation import available_controllers
from dss_marl.experiments.recording.record import record_controller
from dss_marl.experiments.validation.ablations import PartialController
from dss_marl.experiments.validation.episodes import EpisodeCache

TINY = {"agent_steps": 16, "n_envs": 1, "n_steps": 4, "evaluations": 1, "evaluation_days": 1, "n_epochs": 1}
SHORT = {"steps": 6, "start_hour": 11}
GUARD = {"margin_pu": 0.006, "slope": 50}


def scenario(**training):
    return load_scenario("case33_volt_var").replace(**SHORT, training={**TINY, **training})


class Guarded(NoControl):
    """Does nothing, with guarded inverters."""

    acts_with = "guards"

    def variant(self, scenario):
        return InverterAids(GuardSpec(**GUARD)).applied(scenario)


class Paid(NoControl):
    """Would like another reward."""

    def variant(self, scenario):
        return scenario.replace(rewards={"loss": 1.0})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "guarded"
    train(scenario(guard=GUARD), folder)
    return folder


def guards(env):
    group = env.task.device_groups[0]
    return None if group.guard is None else (float(group.guard.margin_pu[0]), float(group.guard.slope[0]))


def test_the_settings_say_nothing_unless_asked():
    assert TrainingSettings().guard is None
    assert TrainingSettings(guard={}).guard == GuardSpec()
    with pytest.raises(ValueError, match=r"training\.guard\.slope"):
        scenario(guard={"slope": 0})


def test_a_policy_learns_is_validated_and_acts_in_the_variant(run):
    record = json.loads((run / "record.json").read_text())
    assert record["settings"]["guard"] == GUARD
    assert all("guard" not in device for device in record["scenario"]["devices"])
    policy = load_policy(run)
    env = environment_for(policy, scenario(), "validation")
    assert guards(env) == (0.006, 50)
    day = env.days[0]
    score = record["history"][-1]["score"]
    figures = evaluate(policy, scenario(), [day], "validation")
    assert max(row["score"] for row in record["history"]) == pytest.approx(figures[0]["team_return"], rel=1e-6) or (
        score == pytest.approx(figures[0]["team_return"], rel=1e-6)
    )
    env.close()


def test_a_table_says_that_a_policy_used_the_guard(run):
    table = compare(run, ["no_control"], most_days=1)
    assert table.variants() == [
        "learned acts with guarded inverters: 50 kvar per kVA and pu from 0.006 pu inside the band's limits"
    ]
    assert table.variants()[0] in (run / "table.md").read_text()
    assert "guarded" in json.loads((run / "table.json").read_text())["acts_with"]["learned"]


def test_a_recording_and_a_batch_play_in_the_variant(run):
    env = dss_marl.make(scenario(), split="test")
    recorded = dss_marl.record(env, run, days=env.days[0])
    assert recorded.scenario.devices[0]["guard"] == GUARD
    again = record_controller(scenario(), load_policy(run), "test", [env.days[0]], "learned")
    assert again.figures == recorded.figures
    env.close()


def test_a_guard_without_inverters_is_refused_before_a_folder_is_made(tmp_path):
    switches = load_scenario("case33_reconfiguration").replace(training={**TINY, "guard": {}})
    with pytest.raises(ValueError, match="no inverter of mode share, which guard is for"):
        train(switches, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_variant_with_other_rewards_is_refused():
    with pytest.raises(ValueError, match=r"Paid acts in a variant .* with other rewards"):
        environment_for(Paid(), scenario(), "test")


def test_controllers_in_different_variants_do_not_share_an_environment():
    cache = EpisodeCache(scenario())
    envs = [cache.environment(one) for one in (NoControl(), Guarded(), PartialController(Guarded(), []), Droop())]
    assert envs[1] is envs[2] and len({id(env) for env in envs}) == 3
    assert [guards(env) for env in envs[:2]] == [None, (0.006, 50)]
    cache.close()


def test_returns_are_of_the_same_days():
    days = environment_for(NoControl(), scenario(), "test").days[:3]
    plain, kept = (evaluate(one, scenario(), days) for one in (NoControl(), Guarded()))
    assert [day["team_return"] for day in plain] != [day["team_return"] for day in kept]
    envs = [environment_for(one, scenario(), "test") for one in (NoControl(), Guarded())]
    for env in envs:
        env.reset(options={"day": days[0]})
    np.testing.assert_array_equal(*(env.now.forecast for env in envs))


def test_a_named_controller_brings_its_variant():
    found, refused = available_controllers(scenario(), [f"{__name__}:Guarded", "no_control"])
    assert len(found) == 2 and not refused


def test_a_guard_replaces_one_of_its_own_and_is_repeatable():
    once = InverterAids(GuardSpec()).applied(scenario())
    assert InverterAids(GuardSpec()).applied(once) == once != scenario()
    assert np.all([device["guard"]["slope"] == 50 for device in InverterAids(GuardSpec(**GUARD)).applied(once).devices])


def test_a_policy_rests_as_it_learned_to(tmp_path):
    train(scenario(rest_share=0.2), tmp_path / "run")
    policy = load_policy(tmp_path / "run")
    assert "rest without sun" in policy.acts_with
    env = environment_for(policy, load_scenario("case33_volt_var"), "test")
    assert np.all(env.task.device_groups[0].rest_share == 0.2)
    env.close()


def test_plans_do_not_teach_inverters_that_do_more_by_themselves(tmp_path):
    taught = scenario(teacher="plans", rest_share=0.1)
    with pytest.raises(ValueError, match=r"plans are of inverters without training\.rest_share; leave it out"):
        train(taught, tmp_path / "run")
    assert not (tmp_path / "run").exists()

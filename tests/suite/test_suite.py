"""The suite: what every shipped scenario of a feeder that solves in a blink is tested for; test_large.py has the rest.

All other tests with a scenario as their case run on some of each family: see common.SCENARIOS.
"""

import numpy as np
import pytest
import yaml
from common import EVERY, QUICK, SCENARIOS, task_of

from dss_marl import ZoneEnv, load_scenario
from dss_marl._assets import data_folder, known_names
from dss_marl.controllers import REFERENCES

STEPS = 4


@pytest.fixture(params=QUICK)
def name(request):
    return request.param


def played(task, seed):
    """Everything agents get in a few steps of random actions, masked or not; and the voltages."""
    env, seen = ZoneEnv(task, "test"), []
    observations, _ = env.reset(seed=seed)
    for agent in env.agents:
        env.action_space(agent).seed(seed)
    for _ in range(STEPS):
        assert all(env.observation_space(agent).contains(x) for agent, x in observations.items())
        actions = {agent: env.action_space(agent).sample() for agent in env.agents}
        observations, rewards, _, _, _ = env.step(actions)
        assert all(np.isfinite(reward) for reward in rewards.values())
        seen += [x["observation"] if isinstance(x, dict) else x for x in observations.values()]
        seen += [np.array(list(rewards.values())), env.after.solution.v_pu]
        if not env.agents:
            break
    env.close()
    return seen


@pytest.mark.parametrize("name", EVERY)
def test_a_shipped_scenario_is_short_data_with_a_title(name):
    text = (data_folder("scenarios") / f"{name}.yaml").read_text(encoding="utf-8")
    assert 10 <= len(text.splitlines()) <= 48
    loaded = load_scenario(name)
    assert loaded.name == name
    assert len(loaded.title) > 20
    assert loaded.training, "states the settings that train it"
    assert loaded.reference_controller in REFERENCES
    data = yaml.safe_load(text)
    if "base" in data:
        assert data["base"] in EVERY
    else:
        assert "synthetic" in data["feeder"] or data["feeder"]["name"] in known_names("feeders")


def test_every_agent_has_something_to_do(name):
    task = task_of(name)
    assert (task.agents.action_layout.place >= 0).any(axis=1).all()
    assert len(task.agents.names) == len(set(task.agents.names))


def test_episodes_repeat_bitwise_and_differ_by_seed(name):
    task = task_of(name)
    first, again, other = played(task, 1), played(task, 1), played(task, 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_cases_of_other_tests_are_of_every_family():
    assert set(SCENARIOS) <= set(EVERY)
    kinds = [{spec["kind"] for spec in load_scenario(name).devices} for name in EVERY]
    missing = set().union(*kinds) - {spec["kind"] for name in SCENARIOS for spec in load_scenario(name).devices}
    own = {"ev_charger", "flexible_load", "stepped_inverter", "demand_meter", "flexibility_request", "crew"}
    assert missing == own  # which have tests of their own

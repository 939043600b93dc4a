"""ZoneEnv under PettingZoo's own tests and in its registry, for every shipped scenario."""

import types
import warnings
from functools import partial

import pettingzoo
import pytest
from episodes import episode
from pettingzoo.test import api_test, max_cycles_test, parallel_api_test, seed_test
from pettingzoo.test.state_test import state_test

import dss_marl
from dss_marl import ZoneEnv, load_scenario


def test_parallel_api(env):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="reset ignores the unknown option")
        parallel_api_test(env, num_cycles=200)


def test_aec_api(scenario):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        api_test(dss_marl.env(scenario), num_cycles=300)
    told = [str(w.message) for w in caught if "unknown option" not in str(w.message)]
    assert told == []


def test_same_seed_same_episode_in_aec(scenario):
    seed_test(partial(dss_marl.env, scenario), num_cycles=100)


def test_state(scenario):
    state_test(dss_marl.env(scenario), dss_marl.parallel_env(scenario), num_cycles=100)


def test_max_cycles(scenario):
    module = types.SimpleNamespace(
        parallel_env=partial(dss_marl.parallel_env, scenario), env=partial(dss_marl.env, scenario)
    )
    max_cycles_test(module)


def test_defaults_of_the_module_are_a_pettingzoo_environment():
    max_cycles_test(dss_marl)


@pytest.mark.skipif(not hasattr(pettingzoo, "make"), reason="PettingZoo has a registry from 1.27 on")
def test_pettingzoo_makes_it(scenario):
    name = f"dss_marl/{scenario}-v{load_scenario(scenario).version}"
    made = pettingzoo.make("parallel", name)
    assert isinstance(made.unwrapped, ZoneEnv)
    assert made.unwrapped.task.scenario.name == scenario
    assert len(episode(made.unwrapped, 3)) == made.unwrapped.task.scenario.steps + 1
    short = pettingzoo.make("parallel", name, split="test", max_cycles=7)
    assert (short.unwrapped.task.scenario.steps, short.unwrapped.split) == (7, "test")
    aec = pettingzoo.make("aec", name)
    aec.reset(seed=3)
    assert aec.agents == made.possible_agents

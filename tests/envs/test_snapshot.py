"""Snapshot: what save_state gives stays as it is, may be pickled, and is all that an episode needs."""

import pickle

import numpy as np
import pytest

from dss_marl import ZoneEnv, load_scenario

HARD = {
    "sensing": {"noise_v_pu": 0.003, "noise_power": 0.05, "missing": 0.1, "delay": 2},
    "messages": {"hops": 1, "loss": 0.3, "delay": 2},
    "attack": {"policy": "noise", "share": 0.3},
}


@pytest.fixture
def pair():
    scenario = load_scenario("ieee34_volt_var").replace(start_hour=10, steps=12, **HARD)
    pair = [ZoneEnv(scenario) for _ in range(2)]
    yield pair
    for env in pair:
        env.close()


def played(env, steps):
    """Observations, rewards and infos of some steps, as numbers."""
    rng, result = np.random.default_rng(7), []
    for _ in range(steps):
        joint_action = rng.uniform(-1, 1, env.task.agents.action_layout.size)
        observations, rewards, _, _, infos = env.step(env.task.encoding.encode(joint_action))
        result.append([*observations.values(), *rewards.values(), *(list(info.values()) for info in infos.values())])
    return [np.asarray(x).tolist() for step in result for x in step]


def test_a_snapshot_goes_through_pickle_and_on_in_another_environment(pair):
    env, other = pair
    env.reset(seed=3)
    played(env, 4)
    saved = pickle.loads(pickle.dumps(env.save_state()))
    rest = played(env, 8)
    assert not env.agents
    following = [env.reset()[1][agent] for agent in env.possible_agents]
    other.load_state(saved)
    assert (other.day, other.now.step, other.agents) == (saved.episode.day, 4, other.possible_agents)
    assert played(other, 8) == rest
    assert [other.reset()[1][agent] for agent in other.possible_agents] == following, "the stream of days goes on"


def test_a_snapshot_stays_as_it_is_while_its_environment_goes_on(pair):
    env, _ = pair
    env.reset(seed=3)
    played(env, 4)
    saved = env.save_state()
    before = pickle.dumps(saved)
    played(env, 8)
    env.reset(seed=4)
    assert pickle.dumps(saved) == before
    env.load_state(saved)
    played(env, 8)
    assert pickle.dumps(saved) == before


def test_an_environment_may_be_saved_before_its_first_reset(pair):
    env, other = pair
    saved = env.save_state()
    first = env.reset()[1]
    other.reset(seed=1)
    other.load_state(saved)
    assert not other.agents
    with pytest.raises(RuntimeError, match="call reset first"):
        other.step({})
    assert other.reset()[1] == first

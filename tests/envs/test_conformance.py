"""Every way to divide agents and to encode actions, on three scenarios: PettingZoo's tests and our own."""

import re
import warnings

import numpy as np
import pytest
from common import load_cached
from gymnasium import spaces
from gymnasium.utils.env_checker import data_equivalence
from pettingzoo.test import api_test, parallel_api_test, seed_test
from pettingzoo.test.state_test import state_test
from pettingzoo.utils import parallel_to_aec, wrappers

from dss_marl import ZoneEnv

NAMES = ["ieee34_volt_var", "ieee13_volt_var", "ieee123_hybrid"]
SWITCHING = [("ieee123_switching", agents, "multidiscrete") for agents in ("zone", "device")]
AGENTS, ACTIONS = ("zone", "kind", "device"), ("box", "multidiscrete", "native")
WAYS = [(name, agents, actions) for name in NAMES for agents in AGENTS for actions in ACTIONS]


@pytest.fixture(params=WAYS + SWITCHING, ids="-".join)
def env(request):
    name, agents, actions = request.param
    made = ZoneEnv(load_cached(name, agents=agents, actions=actions, steps=12))
    yield made
    made.close()


def aec(env):
    return wrappers.OrderEnforcingWrapper(parallel_to_aec(env))


def mask_of(seen):
    return seen["action_mask"] if isinstance(seen, dict) and "action_mask" in seen else None


def sampled(env, observations):
    return {a: env.action_space(a).sample(mask_of(observations[a])) for a in env.agents}


def episode(env, seed):
    observations, infos = env.reset(seed=seed)
    for k, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(seed + k)
    result = [(observations, infos)]
    while env.agents:
        result.append(env.step(sampled(env, result[-1][0])))
    return result


@pytest.mark.filterwarnings("ignore:reset ignores the unknown option")
def test_parallel_api(env):
    parallel_api_test(env, num_cycles=30)


def test_aec_api(env):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        api_test(aec(env), num_cycles=40)
    # What PettingZoo remarks on spaces that are none of its own examples'.
    usual = (
        "unknown option|probably should be gymnasium.spaces.box|Observation is not a NumPy array|two agents"
        "|naming scheme|space sizes"
    )
    assert [str(w.message) for w in caught if not re.search(usual, str(w.message))] == []


def test_same_seed_same_episode_in_aec(env):
    seed_test(lambda: aec(ZoneEnv(env.task)), num_cycles=15)


def test_state_of_the_team(env):
    state_test(aec(env), env, num_cycles=10)


def test_whole_episodes_repeat_bitwise(env):
    """Not only their first step, which is all that PettingZoo's own test of it looks at."""
    first, second = episode(env, 3), episode(env, 3)
    assert len(first) == 13
    assert all(data_equivalence(a, b) for a, b in zip(first, second, strict=True))
    assert not data_equivalence(episode(env, 4)[-1][0], first[-1][0])


def test_all_is_inside_its_space(env):
    for observations, *rest in episode(env, 1):
        for agent in env.possible_agents:
            assert env.observation_space(agent).contains(observations[agent])
        if len(rest) == 4:
            assert all(type(r) is float and np.isfinite(r) for r in rest[0].values())


def test_a_sample_under_the_mask_is_never_illegal_nor_cut(env):
    """And where all entries are choices, one that the mask forbids is held and counted, never an error."""
    asked = 0
    trips = any(type(group).__name__ == "Generators" for group in env.task.device_groups)
    for observations, _, _, _, infos in episode(env, 2)[1:]:
        if all(mask_of(seen) is not None for seen in observations.values()):
            asked += 1
            assert all(info["illegal"] == info["clipped"] == 0 for info in infos.values())
            if not trips:  # a generator's island may ask for more than it has, which no mask foresees
                assert all(info["limited"] == 0 for info in infos.values())
    discrete = env.task.encoding.counts.all()
    assert (asked > 0) == discrete
    if not discrete:
        return
    env.reset(seed=2)
    env.step({a: env.action_space(a).sample() for a in env.agents})  # unmasked: PettingZoo's seed test does that
    counted = 0
    while env.agents:
        chosen = {a: env.action_space(a).sample() for a in env.agents}
        level = env.task.encoding.decode(chosen).level
        forbidden = ~env.episode.levels.allowed[np.arange(len(level)), level]
        *_, infos = env.step(chosen)
        per_agent = np.bincount(env.task.agents.action_layout.entry_agent, forbidden, len(env.possible_agents))
        assert [infos[a]["illegal"] for a in env.possible_agents] == per_agent.tolist()
        counted += per_agent.sum()
    assert counted > 0 or not env.task.scenario.name.startswith("ieee123")  # where much is forbidden at any time


def test_what_is_encoded_is_decoded(env, rng):
    env.reset(seed=1)
    encoding = env.task.encoding
    joint_action = rng.uniform(-1, 1, len(encoding.counts))
    actions = encoding.encode(joint_action)
    for agent in env.possible_agents:
        assert env.action_space(agent).contains(actions[agent]), agent
    back = encoding.decode(actions)
    step = np.where(encoding.counts > 0, 1 / np.maximum(encoding.counts - 1, 1), 1e-6)
    assert (np.abs(back.joint_action - joint_action) <= step + 1e-9).all()
    again = encoding.decode(encoding.encode(back.joint_action))
    assert np.allclose(again.joint_action, back.joint_action, atol=1e-6)


def test_every_entry_has_a_label(env):
    for a, agent in enumerate(env.possible_agents):
        labels = env.labels(agent)
        space = env.observation_space(agent)
        box = space["observation"] if isinstance(space, spaces.Dict) else space
        assert len(labels["observation"]) == box.shape[0]
        named = [label for label in labels["observation"] if label != "-"]
        assert len(set(named)) == len(named), "labels occur twice"
        used = env.task.agents.action_layout.used[a]
        assert [label != "-" for label in labels["action"]] == used.tolist()


def test_a_saved_episode_goes_on_bitwise(env):
    """In the same environment, in another one, and after others were played."""
    env.reset(seed=5)
    for k, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(k)
    script = [{a: env.action_space(a).sample() for a in env.possible_agents} for _ in range(12)]
    for actions in script[:5]:
        env.step(actions)
    saved = env.save_state()
    rest = [env.step(actions) for actions in script[5:]]
    env.reset(seed=9)
    env.step(script[0])
    other = ZoneEnv(env.task)
    for one in (env, other):
        one.load_state(saved)
        assert one.agents == one.possible_agents
        assert all(data_equivalence(one.step(a), b) for a, b in zip(script[5:], rest, strict=True))
    other.close()

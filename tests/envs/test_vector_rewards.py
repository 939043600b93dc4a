"""Vector rewards: objectives of a scenario, and the environment that returns them."""

from __future__ import annotations

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test

import dss_marl

TWO = {
    "voltage": {"terms": ["voltage_violation", "voltage_deviation"], "weight": 2},
    "energy": {"terms": ["loss"], "weight": 0.5},
}
REWARDS = {"voltage_violation": 100.0, "voltage_deviation": 10.0, "loss": 3.0}


def _made(**changes):
    return dss_marl.make("ieee13_volt_var", rewards=REWARDS, objectives=TWO, steps=3, **changes)


def _sampled(env):
    return {agent: env.action_space(agent).sample() for agent in env.agents}


@pytest.mark.parametrize("sharing", ["team", "zone"])
def test_weighted_vectors_are_the_rewards(sharing):
    plain, env = _made(reward_sharing=sharing), dss_marl.VectorRewards(_made(reward_sharing=sharing))
    single = dss_marl.make("ieee13_volt_var", rewards={"voltage_violation": 100.0, "voltage_deviation": 10.0}, steps=3)
    for one in (plain, env, single):
        one.reset(seed=4)
    for _ in range(3):
        actions = _sampled(plain)
        rewards, vectors = plain.step(actions)[1], env.step(actions)[1]
        single.step(actions)
        for agent, vector in vectors.items():
            assert env.reward_space(agent).contains(vector)
            np.testing.assert_allclose(vector @ [2, 0.5], rewards[agent], atol=1e-12)
        np.testing.assert_allclose(env.env.reward_vector[0], single.team_reward, atol=1e-9)  # without its own weight
    if sharing == "team":
        assert len({tuple(vector) for vector in vectors.values()}) == 1


def test_infos_hold_each_zones_part():
    env = _made()
    env.reset(seed=4)
    infos = env.step(_sampled(env))[4]
    for name, row in (("voltage", 0), ("energy", 1)):
        total = sum(info[f"objective/{name}"] for info in infos.values())
        np.testing.assert_allclose(total, env.reward_vector[row])
    one = dss_marl.gym_env("ieee13_volt_var", rewards=REWARDS, objectives=TWO, steps=3)
    one.reset(seed=4)
    info = one.step(np.zeros(one.action_space.shape, one.action_space.dtype))[4]
    np.testing.assert_allclose(info["objective/energy"], one.env.reward_vector[1])


def test_pettingzoo_api():
    parallel_api_test(_made(), num_cycles=5)
    env = dss_marl.VectorRewards(_made())
    assert env.reset(seed=0)[0].keys() == set(env.agents)


def test_saved_and_restored():
    env = _made()
    env.reset(seed=1)
    env.step(_sampled(env))
    vector, saved = env.reward_vector, env.save_state()
    env.step(_sampled(env))
    env.load_state(saved)
    np.testing.assert_array_equal(env.reward_vector, vector)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"objectives": {"voltage": {"terms": ["voltage_violation"]}}}, "exactly one; .*loss"),
        ({"objectives": {**TWO, "more": {"terms": ["loss"]}}}, "exactly one; loss"),
        ({"objectives": {**TWO, "more": {"terms": ["overload"]}}}, "exactly one; overload"),
        ({"objectives": {**TWO, "energy": {"terms": ["loss"], "weight": 0}}}, "weight"),
        ({"reward_sharing": "difference"}, "reward_sharing 'team' or 'zone'"),
    ],
)
def test_refused(changes, why):
    with pytest.raises(ValueError, match=why):
        dss_marl.make("ieee13_volt_var", **{"rewards": REWARDS, "objectives": TWO, **changes})


def test_a_single_objective_has_no_vector():
    with pytest.raises(ValueError, match="single objective"):
        dss_marl.VectorRewards(dss_marl.make("ieee13_volt_var"))

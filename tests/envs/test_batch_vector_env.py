"""BatchVectorEnv: Gymnasium's interface over a batch, as its own vector of single environments gives it."""

import numpy as np
import pytest
from common import load_cached
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import dss_marl
from dss_marl import BatchVectorEnv, BatchZoneEnv, CentralEnv, load_scenario
from dss_marl.envs.batch_env import copy_seeds

CASES = {
    "numbers": ("ieee13_volt_var", {}),
    "choices": ("ieee13_volt_var", {"actions": "multidiscrete"}),
    "agents that see fewer zones": ("ieee34_volt_var", {"agents": "kind"}),
}


@pytest.mark.parametrize("what", CASES)
def test_the_central_view_is_gymnasiums_vector_of_central_environments(what):
    name, changes = CASES[what]
    scenario = load_scenario(name).replace(steps=3, **changes)
    ours = BatchVectorEnv(BatchZoneEnv(scenario, 3))
    theirs = SyncVectorEnv([lambda: CentralEnv(scenario)] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    assert ours.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert ours.action_space == theirs.action_space
    assert ours.observation_space == theirs.observation_space
    one, one_infos = ours.reset(seed=4)
    two, two_infos = theirs.reset(seed=copy_seeds(4, 3))
    assert np.array_equal(one, two)
    same_infos(one_infos, two_infos)
    ours.action_space.seed(1)
    for _ in range(5):
        if what == "choices":
            assert np.array_equal(ours.action_masks(), two_infos["action_mask"])
        actions = ours.action_space.sample()
        *one, one_infos = ours.step(actions)
        *two, two_infos = theirs.step(actions)
        for a, b in zip(one, two, strict=True):
            assert np.array_equal(a, b) or a == pytest.approx(b, rel=1e-13)
        assert ("final_obs" in one_infos) == ("final_obs" in two_infos)
        if "final_obs" in one_infos:
            assert np.array_equal(np.stack(one_infos.pop("final_obs")), np.stack(two_infos.pop("final_obs")))
            same_infos(one_infos.pop("final_info"), two_infos.pop("final_info"))
        same_infos(one_infos, two_infos)
    ours.close()
    theirs.close()


def same_infos(one, two):
    """All that Gymnasium's vector has, but for the masks, which ``action_masks`` gives."""
    for key, values in two.items():
        if "action_mask" not in key:
            assert np.asarray(one[key]).astype(float) == pytest.approx(np.asarray(values).astype(float), rel=1e-12), key


def test_in_the_view_of_agents_each_row_is_an_agent_of_a_copy(rng):
    task = load_cached("ieee13_volt_var", steps=2, actions="multidiscrete")
    vector, batch = BatchVectorEnv(BatchZoneEnv(task, 2), "agents"), BatchZoneEnv(task, 2)
    seen, _ = vector.reset(seed=3)
    assert np.array_equal(seen, batch.reset(3)[0].reshape(6, -1))
    assert vector.num_envs == 6
    assert vector.observation_space.contains(seen)
    for _ in range(3):
        assert np.array_equal(vector.action_masks(), batch.masks.reshape(6, -1))
        actions = vector.action_space.sample()
        seen, rewards, terminated, truncated, infos = vector.step(actions)
        step = batch.step(actions.reshape(2, 3, -1))
        assert np.array_equal(seen, step.observations.reshape(6, -1))
        assert np.array_equal(rewards, step.rewards.ravel())
        assert np.array_equal(truncated, np.repeat(step.truncated, 3))
        assert not terminated.any()
        assert infos["day"].shape == (6,)
    vector.close()
    batch.close()


def test_make_vec_and_what_it_refuses():
    vector = dss_marl.make_vec("ieee13_volt_var", num_envs=2, steps=3)
    vector.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions have shape \(2, 1\); they must be \(2, \d+\)"):
        vector.step(np.zeros((2, 1)))
    with pytest.raises(AttributeError, match="numbers, which have no masks"):
        vector.action_masks()
    vector.close()
    with pytest.raises(ValueError, match="view must be 'central' or 'agents'; got 'zone'"):
        dss_marl.make_vec("ieee13_volt_var", num_envs=2, view="zone")
    with pytest.raises(ValueError, match="do not form one array"):
        dss_marl.make_vec("ieee13_volt_var", num_envs=2, actions="native")
    unborn = dss_marl.make_vec("ieee13_volt_var", num_envs=2, actions="multidiscrete")
    with pytest.raises(RuntimeError, match="needs episodes; call reset first"):
        unborn.action_masks()
    unborn.close()

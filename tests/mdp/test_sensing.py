"""What meters report: noise, missing and late measurements; and all of these in one environment."""

import dataclasses

import numpy as np
import pytest
from common import task_of

from dss_marl import ZoneEnv, load_scenario
from dss_marl.mdp.sensing import Sensing, SensingSpec

NAME = "ieee34_volt_var"


def measured(spec, truth, seed=0):
    sensing = Sensing(SensingSpec(**spec))
    sensing.reset(np.random.default_rng(seed))
    return [sensing.measured(state) for state in truth]


def test_perfect_meters_tell_the_truth(truth):
    for state, seen in zip(truth, measured({}, truth), strict=True):
        assert np.array_equal(seen.solution.v_pu, state.solution.v_pu)
        assert np.array_equal(seen.forecast, state.forecast)


def test_noise_has_the_stated_size_and_no_bias(truth):
    spec = {"noise_v_pu": 0.004, "noise_power": 0.1}
    seen = measured(spec, truth * 30)
    v = np.array([s.solution.v_pu - t.solution.v_pu for s, t in zip(seen, truth * 30, strict=True)])
    assert v.std() == pytest.approx(0.004, rel=0.03)
    assert abs(v.mean()) < 0.0001
    loads = task_of(NAME).feeder.loads
    true = np.array([t.forecast[0, loads] for t in truth * 30])
    share = np.array([s.forecast[0, loads] for s in seen]) / true - 1
    assert share.std() == pytest.approx(0.1, rel=0.03)
    served = np.array([s.solution.served_kw[loads] for s in seen])
    true_served = np.array([t.solution.served_kw[loads] for t in truth * 30])
    assert (served / true_served - 1).std() == pytest.approx(0.1, rel=0.03)


def test_a_missing_reading_is_the_last_that_came(truth):
    seen = measured({"missing": 0.5}, truth)
    last = np.ones_like(truth[0].solution.v_pu)
    fresh = 0
    for state, one in zip(truth, seen, strict=True):
        v = one.solution.v_pu
        assert ((v == state.solution.v_pu) | (v == last)).all()
        fresh += (v == state.solution.v_pu).sum()
        last = v
    assert fresh / (len(truth) * len(last)) == pytest.approx(0.5, abs=0.06)


def test_late_readings_are_those_of_then(truth):
    seen = measured({"delay": 2}, truth)
    for k, one in enumerate(seen):
        then = truth[max(0, k - 2)]
        assert np.array_equal(one.solution.v_pu, then.solution.v_pu)
        assert np.array_equal(one.forecast[0], then.forecast[0])
        assert one.hour == truth[k].hour, "clocks are not late"


def test_dead_nodes_stay_dead_to_any_meter(truth):
    dead = truth[0].solution.energised.copy()
    dead[5:9] = False
    state = truth[0].replace(
        solution=dataclasses.replace(
            truth[0].solution, energised=dead, v_pu=np.where(dead, truth[0].solution.v_pu, 0.0)
        )
    )
    seen = measured({"noise_v_pu": 0.05, "missing": 0.3, "delay": 1}, [state, state])[1]
    assert (seen.solution.v_pu[5:9] == 0).all()


# --- in the environment ----------------------------------------------------------------------------------------------

HARD = {
    "sensing": {"noise_v_pu": 0.003, "noise_power": 0.05, "missing": 0.1, "delay": 1},
    "messages": {"hops": 1, "loss": 0.3, "delay": 1},
    "attack": {"policy": "noise", "share": 0.3},
}


def rollout(env, seed):
    observations, infos = env.reset(seed=seed, options={"day": 172})
    rng = np.random.default_rng(0)
    result = [np.stack(list(observations.values()))]
    for _ in range(6):
        observations, *_, infos = env.step(
            env.task.encoding.encode(rng.uniform(-1, 1, env.task.agents.action_layout.size))
        )
        result.append(np.stack(list(observations.values())))
    return np.array(result), infos


def test_each_is_reproducible_by_seed():
    env = ZoneEnv(load_scenario(NAME).replace(start_hour=10, **HARD))
    first, infos = rollout(env, 1)
    again, _ = rollout(env, 1)
    other, _ = rollout(env, 2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert sum(info["attacked"] for info in infos.values()) == 2
    env.close()


def test_a_saved_episode_goes_on_with_the_same_noise_losses_and_attacks():
    """Again and again, here and in another environment: each goes on from the streams as they were."""
    env, other = (ZoneEnv(load_scenario(NAME).replace(start_hour=10, **HARD)) for _ in range(2))
    env.reset(seed=3)
    still = env.task.encoding.encode(env.task.default_action)
    for _ in range(3):
        env.step(still)
    saved = env.save_state()
    rests = []
    for one in (env, env, other, env):
        one.load_state(saved)
        rests.append(np.array([np.stack(list(one.step(still)[0].values())) for _ in range(4)]))
    assert np.ptp(rests[0], axis=0).max() > 0
    assert all(np.array_equal(rest, rests[0]) for rest in rests[1:])
    env.close()
    other.close()


@pytest.mark.parametrize("key", HARD)
def test_each_alone_changes_what_happens(key):
    """And leaves the day and the truth alone, but for an attack, which moves the grid."""
    plain, hard = (ZoneEnv(load_scenario(NAME).replace(start_hour=10, **c)) for c in ({}, {key: HARD[key]}))
    base, _ = rollout(plain, 1)
    seen, _ = rollout(hard, 1)
    width = base.shape[-1]
    if key == "messages":
        assert seen.shape[-1] > width
        assert np.array_equal(seen[..., :width], base)
    else:
        assert not np.array_equal(seen, base)
    same = np.array_equal(plain.now.solution.v_pu, hard.now.solution.v_pu)
    assert same == (key != "attack")
    assert np.array_equal(plain.state(), hard.state()) == same, "a central critic sees the truth"
    for one in (plain, hard):
        one.close()

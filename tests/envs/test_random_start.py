"""Episodes that start at a drawn interval of a day, alone and in many copies."""

import numpy as np
import pytest

import dss_marl
from dss_marl.envs.batch_env import BatchZoneEnv


def scenario(**changes):
    return dss_marl.load_scenario("ieee13_volt_var").replace(random_start=True, steps=40, **changes)


def test_episodes_start_at_all_hours_and_meet_the_load_of_that_time():
    env, hours = dss_marl.make(scenario()), []
    for seed in range(12):
        env.reset(seed=seed)
        hours.append(env.now.hour)
        row = round(4 * env.now.hour)
        day = env.task.profiles.day(env.day, 96)
        for _ in range(3):
            np.testing.assert_array_equal(env.now.available, day.kw[row + env.now.step])
            env.step({agent: env.action_space(agent).sample() * 0 for agent in env.agents})
            assert env.now.hour == pytest.approx((row / 4 + env.now.step / 4) % 24)
    assert len(set(hours)) > 6 and max(hours) - min(hours) > 12


def test_a_day_asked_for_starts_at_the_scenarios_hour_or_at_the_one_asked_for():
    env = dss_marl.make(scenario(start_hour=6.0))
    env.reset(seed=3, options={"day": 20})
    assert (env.day, env.now.hour) == (20, 6.0)
    env.reset(seed=3, options={"day": 20, "start_hour": 23.75})
    assert (env.day, env.now.hour) == (20, 23.75)
    drawn = [env.reset(seed=3) and (env.day, env.now.hour), env.reset(seed=3) and (env.day, env.now.hour)]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("hour", [24, -1, 7.6])
def test_hours_at_which_no_interval_begins_are_refused(hour):
    env = dss_marl.make(scenario())
    with pytest.raises(ValueError, match=r"start_hour must be a multiple of dt_h 0\.25"):
        env.reset(options={"start_hour": hour})


def test_start_hour_is_refused_without_random_start():
    env = dss_marl.make("ieee13_volt_var")
    with pytest.raises(ValueError, match="reset takes start_hour where random_start is set"):
        env.reset(options={"start_hour": 7.0})


def test_outages_have_their_own_hour():
    outages = dss_marl.load_scenario("ieee123_restoration").replace(random_start=True, faults="outages")
    with pytest.raises(ValueError, match="outages have their own time of day; remove random_start"):
        dss_marl.build_task(outages)


def test_copies_start_and_go_on_as_alone():
    env, batch = dss_marl.make(scenario()), BatchZoneEnv(scenario(), 3)
    observations, _ = env.reset(seed=1)
    many, _ = batch.reset([0, 1, 2])
    width = max(space.shape[0] for space in batch.action_spaces.values())
    rng = np.random.default_rng(0)
    for _ in range(90):  # into a third episode
        alone = np.stack([observations[agent] for agent in env.possible_agents])
        np.testing.assert_array_equal(many[1], alone)
        assert (batch.day[1], batch.now.hour[1]) == (env.day, env.now.hour)
        actions = rng.uniform(-1, 1, (3, len(env.possible_agents), width)).astype(np.float32)
        many = batch.step(actions).observations
        own = {a: actions[1, k, : env.action_space(a).shape[0]] for k, a in enumerate(env.possible_agents)}
        observations, *_ = env.step(own)
        if not env.agents:
            observations, _ = env.reset()

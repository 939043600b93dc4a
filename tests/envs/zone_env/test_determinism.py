"""Episodes of ZoneEnv repeat bitwise, in copies and processes too; days come from seeded streams."""

import copy
import pickle

import cloudpickle
import numpy as np
import pytest
from common import in_new_process
from episodes import bits, digest, episode, play


def test_episodes_repeat_bitwise(new_env):
    """In another environment, in the same one, and after other episodes, whole or broken off."""
    first, other = new_env(), new_env()
    wanted = episode(first, 5)
    assert len(wanted) == first.task.scenario.steps + 1
    assert episode(other, 5) == wanted
    assert episode(first, 5) == wanted
    episode(first, 6)
    first.reset(seed=7)
    play(first, np.random.default_rng(1), steps=10)
    assert episode(first, 5) == wanted


def test_episodes_repeat_bitwise_in_a_new_process(scenario):
    assert digest(scenario, 5) == in_new_process(f"digest({scenario!r}, 5)", "episodes")


def test_environments_side_by_side_do_not_disturb_each_other(new_env):
    alone = episode(new_env(), 5)
    one, other = new_env(), new_env()
    mine = [bits(*one.reset(seed=5)) + one.state().tobytes()]
    rng = np.random.default_rng(5)
    other.reset(seed=6)
    others = np.random.default_rng(6)
    while one.agents:
        mine += play(one, rng, steps=1)
        play(other, others, steps=1)
    assert mine == alone


def test_a_closed_environment_opens_again(env):
    wanted = episode(env, 5)
    env.close()
    env.close()
    assert episode(env, 5) == wanted


COPIES = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "cloudpickle": lambda x: cloudpickle.loads(cloudpickle.dumps(x)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_plays_the_same_episode(env, way):
    unused = COPIES[way](env)
    wanted = episode(env, 5)
    used = COPIES[way](env)
    for twin in (unused, used):
        assert episode(twin, 5) == wanted
        twin.close()


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_made_within_an_episode_goes_on_like_the_original(env, way):
    env.reset(seed=5)
    play(env, np.random.default_rng(1), steps=20)
    twin = COPIES[way](env)
    assert twin.agents == env.agents
    assert np.array_equal(twin.state(), env.state())
    rest = play(env, np.random.default_rng(2))
    assert len(rest) == env.task.scenario.steps - 20
    assert play(twin, np.random.default_rng(2)) == rest
    following = [bits(*env.reset()) for _ in range(3)]  # the streams of days go on alike
    assert [bits(*twin.reset()) for _ in range(3)] == following
    twin.close()


# --- days ------------------------------------------------------------------------------------------------------------


def days_of(env, count, seed=None):
    return [env.reset(seed=seed if k == 0 else None)[1][env.possible_agents[0]]["day"] for k in range(count)]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_days_come_from_the_split_in_a_seeded_stream(new_env, split):
    one, other = new_env(split=split), new_env(split=split)
    days = days_of(one, 12, seed=1)
    assert days == days_of(other, 12, seed=1)
    assert set(days) <= set(one.task.profiles.days(split))
    assert len(set(days)) > 4
    assert days != days_of(other, 12, seed=2)


def test_without_a_seed_environments_draw_different_days(new_env):
    assert len({tuple(days_of(new_env(), 3)) for _ in range(4)}) > 1


def test_starts_differ_by_day(env):
    starts = {env.reset(seed=seed)[1][env.possible_agents[0]]["day"]: env.state().tobytes() for seed in range(12)}
    assert len(starts) > 4
    assert len(set(starts.values())) == len(starts)


def test_a_chosen_day_is_played_and_leaves_the_stream_alone(new_env):
    one, other = new_env(), new_env()
    assert one.reset(seed=1, options={"day": 17})[1][one.possible_agents[0]]["day"] == 17
    other.reset(seed=1)
    assert days_of(one, 4) == days_of(other, 4)
    agent = one.possible_agents[0]
    assert np.array_equal(one.reset(options={"day": 40})[0][agent], other.reset(options={"day": 40})[0][agent])

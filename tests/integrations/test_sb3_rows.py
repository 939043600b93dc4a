"""Both routes to SB3 give one correct result: rows, streams and ends of episodes."""

from functools import partial

import numpy as np
import pytest
from dummies import Bare, OneDies, Team
from sb3_routes import both_routes, everywhere, in_place, rollout

pytest.importorskip("stable_baselines3")
pytest.importorskip("supersuit")

from dss_marl.integrations.vector import copy_seeds

pytestmark = pytest.mark.usefixtures("one_thread")


@in_place
def test_rows_are_the_agents_of_each_copy_in_order(build, route, num_cpus):
    venv = build(partial(Team, agents=3), n_envs=2, num_cpus=num_cpus, route=route)
    seen, rewards, dones, _ = rollout(venv, 3)
    assert seen.shape == (4, 6, 3) and seen.dtype == np.float32
    assert np.array_equal(seen[:, :, 2], np.tile([0, 1, 2, 0, 1, 2], (4, 1)))
    assert np.array_equal(rewards, seen[1:, :, 0]) and rewards.dtype == np.float32
    assert dones.dtype == bool and not dones.any()


@in_place
def test_copies_have_streams_of_their_own(build, route, num_cpus):
    venv = build(Team, n_envs=4, num_cpus=num_cpus, route=route, seed=0)
    seen, *_ = rollout(venv, 12)
    noise = seen[:, :, 0]
    assert len(np.unique(noise)) == noise.size, "no number comes twice, in any copy, over three episodes"


@both_routes
def test_same_seed_gives_the_same_trajectories_and_another_seed_others(build, route):
    runs = [rollout(build(Team, n_envs=2, route=route, seed=seed), 12)[:3] for seed in (5, 5, 6)]
    assert all(np.array_equal(a, b) for a, b in zip(runs[0], runs[1], strict=True))
    assert not np.array_equal(runs[0][0], runs[2][0])


def test_routes_and_processes_agree_bit_for_bit(build):
    cases = [("native", 0), ("native", 2), ("supersuit", 0), ("supersuit", 2)]
    runs = [rollout(build(Team, n_envs=3, num_cpus=n, route=route, seed=5), 12) for route, n in cases]
    for seen, rewards, dones, infos in runs[1:]:
        assert np.array_equal(seen, runs[0][0])
        assert np.array_equal(rewards, runs[0][1])
        assert np.array_equal(dones, runs[0][2])
        for step, expected in zip(infos, runs[0][3], strict=True):
            for info, other in zip(step, expected, strict=True):
                np.testing.assert_equal(info, other)


@both_routes
def test_only_the_first_reset_is_seeded(build, route):
    venv = build(Team, n_envs=2, route=route, seed=3)
    first, second = rollout(venv, 6)[0], rollout(venv, 6)[0]
    own = copy_seeds(3, 2)
    assert venv.get_attr("seeds", [0, 2]) == [[own[0], None, None, None], [own[1], None, None, None]]
    assert len(np.unique([first[..., 0], second[..., 0]])) == first[..., 0].size * 2
    venv.seed(3)
    assert np.array_equal(rollout(venv, 6)[0], first)
    venv.reset(seed=3)
    assert venv.get_attr("seeds", [2])[0][-1] == own[1]


@both_routes
def test_seed_and_options_reach_the_copies(build, route):
    venv = build(Team, n_envs=3, route=route)
    assert venv.seed(1) == [seed for seed in copy_seeds(1, 3) for _ in range(2)]
    assert copy_seeds(1, 3) == copy_seeds(1, 9)[:3]
    venv.set_options([{"day": 0}] * 2 + [{"day": 1}] * 2 + [{}] * 2)
    venv.reset()
    assert venv.get_attr("options", [0, 2, 4]) == [{"day": 0}, {"day": 1}, None]
    venv.reset()
    assert venv.get_attr("options", [0]) == [None]
    venv.set_options([{"day": 0}, {"day": 1}] * 3)
    with pytest.raises(ValueError, match="rows 0 to 1 are one environment"):
        venv.reset()


def test_the_action_space_given_to_sb3_is_not_the_environments_own(build):
    venv = build(Team)
    own = venv.get_attr("acted")[0]
    assert venv.action_space == own and venv.action_space is not own


@both_routes
def test_actions_are_the_environments_to_keep(build, route):
    venv = build(Team, route=route)
    venv.reset()
    actions = np.zeros((2, 2), np.float32)
    venv.step(actions)
    actions[:] = 1
    assert not any(action.any() for action in venv.get_attr("taken")[0].values())


@pytest.mark.parametrize("num_cpus", [0, 2])
def test_a_reset_drops_a_step_that_was_not_waited_for(build, num_cpus):
    venv = build(Team, n_envs=2, num_cpus=num_cpus)
    venv.reset()
    venv.step_async(np.zeros((4, 2), np.float32))
    assert (venv.reset()[:, 1] == 0).all()
    assert (venv.step(np.zeros((4, 2), np.float32))[0][:, 1] == 0.2).all()


# ends of episodes


@in_place
@pytest.mark.parametrize("ending", ["truncated", "terminated", "both"])
def test_the_end_tells_time_limit_from_termination(build, route, num_cpus, ending):
    venv = build(partial(Team, horizon=3, ending=ending), n_envs=2, num_cpus=num_cpus, route=route)
    seen, _, dones, infos = rollout(venv, 7)
    assert np.array_equal(dones[:, 0], [False, False, True, False, False, True, False])
    assert (dones == dones[:, :1]).all()
    for t, step in enumerate(infos):
        for row, info in enumerate(step):
            assert info["TimeLimit.truncated"] is bool(dones[t, row] and ending == "truncated")
            assert ("terminal_observation" in info) == dones[t, row]
            assert info["steps"] == t % 3 + 1, "the infos are those of the step, not of the reset after it"
            if dones[t, row]:
                last = info["terminal_observation"]
                assert last.dtype == np.float32
                assert np.array_equal(last[1:], [1.0, row % 2]), "the last state, and not the reset written over it"
                assert seen[t + 1, row, 1] == 0.0, "while the step returns the first state of the next episode"


@in_place
def test_terminal_observation_is_the_one_that_was_paid(build, route, num_cpus):
    venv = build(partial(Team, horizon=2), n_envs=2, num_cpus=num_cpus, route=route, seed=0)
    _, rewards, _, infos = rollout(venv, 2)
    assert np.array_equal([info["terminal_observation"][0] for info in infos[-1]], rewards[-1])


@everywhere
def test_reset_infos_are_kept_apart(build, route, num_cpus):
    venv = build(Team, n_envs=3, num_cpus=num_cpus, route=route)
    venv.set_attr("horizon", 2, indices=[4])
    venv.reset()
    assert venv.reset_infos == [{"steps": -1.0, "TimeLimit.truncated": False}] * 6
    for _ in range(2):
        _, _, dones, _ = venv.step(np.zeros((6, 2), np.float32))
    assert dones.tolist() == [False] * 4 + [True] * 2
    assert [info["steps"] for info in venv.reset_infos] == [-1, -1, -1, -1, -2, -2], "only the last copy began again"


@in_place
def test_an_environment_that_says_nothing_gets_the_flag(build, route, num_cpus):
    venv = build(partial(Bare, horizon=2), num_cpus=num_cpus, route=route)
    *_, infos = rollout(venv, 2)
    assert [info["TimeLimit.truncated"] for step in infos for info in step] == [False, False, True, True]


@both_routes
def test_an_agent_that_ends_early_is_an_error_that_names_it(build, route):
    venv = build(OneDies, route=route)
    venv.reset()
    with pytest.raises(RuntimeError, match="'zone_0' ended before the other agents of team_v0"):
        venv.step(np.zeros((2, 2), np.float32))

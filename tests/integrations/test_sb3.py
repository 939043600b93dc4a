"""Both routes to SB3 give one correct result: streams, ends of episodes, attributes, errors, learning."""

import multiprocessing
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from common import ROOT
from dummies import (
    Bare,
    Closing,
    Dying,
    Failing,
    Locked,
    Masked,
    Mixed,
    Modules,
    OddError,
    OneDies,
    Team,
    the_only_team,
)
from pettingzoo.utils import BaseParallelWrapper

pytest.importorskip("stable_baselines3")
pytest.importorskip("supersuit")

import torch
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

import dss_marl
from dss_marl.integrations.sb3 import to_sb3
from dss_marl.integrations.vector import ParallelCopies, WorkerError, copy_seeds

ROUTES = ["native", "supersuit"]
both_routes = pytest.mark.parametrize("route", ROUTES)
places = [("native", 0), ("supersuit", 0), ("supersuit", 2)]
in_place = pytest.mark.parametrize(("route", "num_cpus"), places)
everywhere = pytest.mark.parametrize(("route", "num_cpus"), [*places, ("native", 2)])  # whose workers start slowly


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks are slower on many threads, and much slower beside other processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def build():
    """to_sb3, closed at the end of the test."""
    built = []

    def build(*args, **kwargs):
        built.append(to_sb3(*args, **kwargs))
        return built[-1]

    yield build
    for venv in built:
        venv.close()


def small():
    """Settings of a small seeded model; new ones each time, as SB3 writes into `policy_kwargs`."""
    return {"policy_kwargs": {"net_arch": [16]}, "device": "cpu", "seed": 0}


def rollout(venv, steps):
    """Observations (steps + 1, rows, 3), rewards and dones (steps, rows), infos, under fixed random actions."""
    rng = np.random.default_rng(7)
    seen, rewards, dones, infos = [venv.reset()], [], [], []
    for _ in range(steps):
        step = venv.step(rng.uniform(-1, 1, (venv.num_envs, 2)).astype(np.float32))
        for kept, new in zip((seen, rewards, dones, infos), step, strict=True):
            kept.append(new)
    return np.array(seen), np.array(rewards), np.array(dones), infos


# rows and streams


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


# attributes and methods


@everywhere
def test_rows_reach_the_copy_that_holds_them(build, route, num_cpus):
    venv = build(Team, n_envs=3, num_cpus=num_cpus, route=route)
    assert venv.has_attr("horizon") and not venv.has_attr("nothing")
    assert venv.get_attr("horizon") == [5] * 6
    with pytest.raises(AttributeError, match="nothing"):
        venv.get_attr("nothing")
    venv.set_attr("horizon", 9, indices=[2, 5])
    assert venv.get_attr("horizon") == [5, 5, 9, 9, 9, 9]
    assert venv.get_attr("horizon", indices=-1) == [9] and venv.get_attr("horizon", indices=1) == [5]
    assert venv.env_method("count_up") == [1] * 6, "each copy once, not once per agent"
    assert venv.env_method("count_up", by=5, indices=[4, 0]) == [6, 6]
    assert venv.get_attr("count") == [6, 6, 1, 1, 6, 6]
    with pytest.raises(TypeError, match="amount"):
        venv.env_method("count_up", amount=1)
    assert venv.env_is_wrapped(Monitor) == [False] * 6
    assert venv.get_attr("horizon", indices=[0]) == [5], "still serves after errors"


@both_routes
def test_attributes_pass_through_wrappers(build, route):
    venv = build(lambda: BaseParallelWrapper(BaseParallelWrapper(Team())), route=route)
    assert venv.env_is_wrapped(BaseParallelWrapper, indices=0) == [True]
    assert venv.get_attr("horizon", 0) == [5]
    venv.set_attr("horizon", 2)
    _, _, dones, _ = rollout(venv, 2)
    assert dones[-1].all(), "the environment itself has the new horizon"


@in_place
def test_pictures_are_one_per_copy(build, route, num_cpus):
    venv = build(partial(Team, render_mode="rgb_array"), n_envs=2, num_cpus=num_cpus, route=route)
    venv.reset()
    venv.step(np.zeros((4, 2), np.float32))
    assert venv.render_mode == "rgb_array"
    assert np.array_equal(venv.get_images(), np.ones((2, 4, 4, 3)))
    assert venv.render().shape == (8, 4, 3) or venv.render().shape == (4, 8, 3)


@both_routes
def test_an_environment_without_render_mode_is_fine(build, route, recwarn):
    venv = VecMonitor(build(Bare, route=route))
    assert venv.render_mode is None
    assert not [w for w in recwarn if "render_mode" in str(w.message)]


@everywhere
def test_masks_stand_beside_plain_observations(build, route, num_cpus):
    venv = build(Masked, n_envs=2, num_cpus=num_cpus, route=route)
    assert venv.reset().shape == (4, 3)
    assert venv.has_attr("action_masks") and not build(Team, route=route).has_attr("action_masks")
    for _ in range(5):
        seen, _, dones, infos = venv.step(np.array([0, 1, 2, 0]))
    assert dones.all() and seen.shape == (4, 3)
    masks = venv.env_method("action_masks")
    assert np.array_equal(masks, [[True, False, True]] * 4) and masks[0].dtype == bool
    assert len(venv.env_method("action_masks", indices=[3])) == 1
    assert np.array_equal(infos[3]["terminal_observation"][1:], [1, 1])


# errors


@both_routes
@pytest.mark.parametrize("kind", ["observation", "action"])
def test_different_spaces_are_refused_by_name(route, kind):
    with pytest.raises(ValueError, match=f"one {kind} space, but 'zone_0' has Box.*'zone_1' has Box.*-2.0"):
        to_sb3(partial(Mixed, kind), route=route)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"route": "fast"}, "unknown route 'fast'; known: native, supersuit"),
        ({"n_envs": 0}, "n_envs must be at least 1"),
        ({"num_cpus": -1}, "num_cpus at least 0"),
        ({"make_env": dict}, "must return a PettingZoo ParallelEnv, not dict"),
        ({"make_env": partial(Team, agents=0)}, "no possible_agents"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        to_sb3(**{"make_env": Team, **arguments})


@both_routes
def test_one_environment_for_all_copies_is_refused(route):
    with pytest.raises(ValueError, match="same environment twice"):
        to_sb3(the_only_team, n_envs=2, route=route)


@pytest.mark.parametrize(("route", "num_cpus"), [("native", 1), ("supersuit", 0)])
def test_a_factory_that_cannot_be_pickled_is_explained(route, num_cpus):
    lock = threading.Lock()
    with pytest.raises(ValueError, match=r"make_env cannot be pickled.*lock.*route='native' with num_cpus=0"):
        to_sb3(lambda: (lock, Team())[1], num_cpus=num_cpus, route=route)


@everywhere
def test_the_environment_itself_need_not_be_picklable(build, route, num_cpus):
    venv = build(Locked, n_envs=2, num_cpus=num_cpus, route=route)
    assert rollout(venv, 6)[2][4].all()
    if num_cpus:
        with pytest.raises(TypeError, match="pickle"):
            venv.get_attr("lock")
        assert venv.get_attr("horizon", 0) == [5], "the workers outlive an answer that cannot be sent"


@everywhere
def test_an_error_in_a_step_surfaces(build, route, num_cpus, capfd):
    venv = build(Failing, n_envs=2, num_cpus=num_cpus, route=route)
    venv.reset()
    venv.step(np.zeros((4, 2), np.float32))
    with pytest.raises(ValueError, match="the feeder burnt down") as caught:
        venv.step(np.zeros((4, 2), np.float32))
    if (route, num_cpus) == ("native", 2):
        assert isinstance(caught.value.__cause__, WorkerError)
        assert "dummies.py" in str(caught.value.__cause__) and "raise self.error" in str(caught.value.__cause__)
        assert venv.get_attr("horizon") == [5] * 4, "no stale answer is left in a pipe"


def test_an_error_that_cannot_travel_comes_as_text(build):
    venv = build(lambda: Failing(OddError("83", 2)), num_cpus=1)
    venv.reset()
    venv.step(np.zeros((2, 2), np.float32))
    with pytest.raises(WorkerError, match=r"OddError: no solution at 83\.2"):
        venv.step(np.zeros((2, 2), np.float32))


def test_an_error_while_building_surfaces_and_leaves_no_worker():
    with pytest.raises(ValueError, match="the feeder burnt down"):
        to_sb3(partial(Failing, early=True), n_envs=2, num_cpus=2)
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_is_reported(build):
    venv = build(Dying, n_envs=3, num_cpus=2)
    venv.reset()
    with pytest.raises(WorkerError, match="the worker of copies 0 to 0 ended without an answer, exit code 3"):
        venv.step(np.zeros((6, 2), np.float32))


@everywhere
def test_close_closes_every_copy_and_ends_the_workers(tmp_path, route, num_cpus):
    path = tmp_path / "closed"
    venv = to_sb3(partial(Closing, str(path)), n_envs=3, num_cpus=num_cpus, route=route)
    venv.reset()
    path.write_text("")  # SuperSuit builds and closes one more, as a pattern
    venv.step_async(np.zeros((6, 2), np.float32))
    if route == "supersuit":
        venv.step_wait()
    venv.close()
    venv.close()
    assert path.read_text() == "closed\n" * 3
    assert not multiprocessing.active_children()


def test_workers_end_though_a_forked_process_holds_their_pipes(build):
    venv = build(Team, num_cpus=1)
    (worker,) = multiprocessing.active_children()
    build(Team, n_envs=2, num_cpus=2, route="supersuit")  # forks
    venv.close()
    assert worker.exitcode == 0, "ended by itself, not killed"


def test_a_closed_one_says_so():
    venv = to_sb3(Team)
    venv.close()
    with pytest.raises(RuntimeError, match="closed"):
        venv.reset()


def test_actions_for_other_rows_are_refused():
    copies = ParallelCopies(Team, 2)
    copies.reset([(0, None), (1, None)])
    with pytest.raises(ValueError, match="3 actions for 4 rows"):
        copies.step_async(np.zeros((3, 2), np.float32))


def test_without_sb3_the_cure_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "dss_marl.integrations.sb3.vec_env")
    monkeypatch.setitem(sys.modules, "stable_baselines3.common.vec_env", None)
    with pytest.raises(ImportError, match=r"pip install 'dss_marl\[train\]'"):
        from dss_marl.integrations.sb3 import to_sb3  # noqa: F401
    from dss_marl.integrations.sb3 import SharedPolicy, TrainingSettings

    assert TrainingSettings().algorithm == "ppo" and callable(SharedPolicy.load)


def test_workers_need_neither_torch_nor_sb3(build):
    venv = VecMonitor(build(Modules, num_cpus=1))
    loaded = venv.env_method("modules", indices=0)[0]
    assert "dss_marl.integrations.vector" in loaded
    assert not loaded & {"torch", "stable_baselines3", "supersuit"}


SCRIPT = """
from dss_marl.integrations.vector import ParallelCopies
from dummies import Team

print("the script runs")

class Own(Team):
    pass

copies = ParallelCopies(lambda: Own(agents=3), n_envs=2, num_cpus=2)
copies.reset([(0, None), (1, None)])
print("rows", len(copies.reset_infos))
copies.close()
"""


def test_workers_do_not_run_the_users_script_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    paths = os.pathsep.join(str(folder) for folder in (Path(dss_marl.__file__).parents[1], (ROOT / "tests")))
    run = subprocess.run(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert run.stdout.splitlines() == ["the script runs", "rows 6"], run.stderr


# learning


@both_routes
def test_a_time_limit_is_not_an_end_of_value(build, route):
    """Reward 1 for ever is worth 1 / (1 - 0.9) = 10; were the limit an end, 5.70 at the start and 3.59 on average."""
    venv = build(partial(Bare, reward=1.0, horizon=8), n_envs=4, route=route)
    model = PPO("MlpPolicy", venv, n_steps=8, batch_size=64, n_epochs=20, gamma=0.9, gae_lambda=1.0,
                learning_rate=1e-2, vf_coef=1.0, max_grad_norm=10.0, **small())  # fmt: skip
    model.learn(64 * 25)
    value = model.policy.predict_values(model.policy.obs_to_tensor(np.ones((1, 3), np.float32))[0]).item()
    assert 9 < value < 11


@both_routes
@pytest.mark.parametrize("algorithm", [PPO, A2C, SAC])
def test_algorithms_learn_evaluate_save_and_load(build, tmp_path, route, algorithm):
    venv = VecMonitor(build(Team, n_envs=2, route=route))
    watched = EvalCallback(VecMonitor(build(Team, route=route)), n_eval_episodes=4, eval_freq=25, verbose=0)
    settings = {PPO: {"n_steps": 16, "batch_size": 32}, A2C: {}, SAC: {"learning_starts": 40, "batch_size": 16}}
    model = algorithm("MlpPolicy", venv, **settings[algorithm], **small()).learn(200, callback=watched)
    assert np.isfinite(watched.last_mean_reward)
    assert model.ep_info_buffer[-1]["l"] == 5
    assert np.isfinite(evaluate_policy(model, venv, n_eval_episodes=8)[0])
    model.save(tmp_path / "model")
    again = algorithm.load(tmp_path / "model", env=venv)
    seen = np.random.default_rng(1).uniform(-1, 1, (6, 3)).astype(np.float32)
    assert np.array_equal(model.predict(seen, deterministic=True)[0], again.predict(seen, deterministic=True)[0])
    again.learn(20)


@both_routes
def test_same_seed_trains_the_same_policy(build, route):
    def trained(num_cpus):
        model = PPO(
            "MlpPolicy", build(Team, n_envs=2, num_cpus=num_cpus, route=route), n_steps=16, batch_size=32, **small()
        )
        return [p.detach().numpy() for p in model.learn(128).policy.parameters()]

    assert all(np.array_equal(a, b) for a, b in zip(trained(0), trained(2), strict=True))


@both_routes
def test_normalised_rows_keep_the_terminal_observation(build, tmp_path, route):
    venv = VecNormalize(build(Team, n_envs=2, route=route))
    PPO("MlpPolicy", venv, n_steps=16, batch_size=32, **small()).learn(64)
    venv.save(tmp_path / "scale.pkl")
    venv = VecNormalize.load(tmp_path / "scale.pkl", build(Team, n_envs=2, route=route))
    venv.training = False
    *_, infos = rollout(venv, 5)
    raw = venv.unnormalize_obs(infos[-1][3]["terminal_observation"])
    assert np.allclose(raw[1:], [1, 1], atol=1e-4)


@both_routes
def test_sac_stores_the_terminal_observation_and_the_time_limit(build, route):
    model = SAC("MlpPolicy", build(Team, n_envs=2, route=route), learning_starts=1000, buffer_size=400, **small())
    model.learn(4 * 10)
    buffer = model.replay_buffer
    assert np.array_equal(np.flatnonzero(buffer.dones[:10, 0]), [4, 9])
    assert np.array_equal(buffer.timeouts[:10], buffer.dones[:10])
    assert (buffer.next_observations[4, :, 1] == 1).all() and (buffer.observations[5, :, 1] == 0).all()

"""Algorithms of SB3 learn on both routes, and take a time limit for what it is."""

from functools import partial

import numpy as np
import pytest
from dummies import Bare, Team
from sb3_routes import both_routes, rollout, small

pytest.importorskip("stable_baselines3")
pytest.importorskip("supersuit")

from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

pytestmark = pytest.mark.usefixtures("one_thread")


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

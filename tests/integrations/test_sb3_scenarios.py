"""SB3's algorithms on the shipped scenarios, through both routes."""

import functools

import numpy as np
import pytest

import dss_marl

pytest.importorskip("stable_baselines3")

from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.vec_env import VecMonitor

from dss_marl.integrations.sb3 import to_sb3

SHORT = functools.partial(dss_marl.make, "ieee13_volt_var", steps=12)
ALGORITHMS = {
    "ppo": functools.partial(PPO, n_steps=24, batch_size=72, n_epochs=2),
    "sac": functools.partial(SAC, learning_starts=50, batch_size=32, buffer_size=2_000, train_freq=8),
}


@pytest.mark.parametrize("route", ["native", "supersuit"])
@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_algorithms_train_evaluate_save_and_load(name, route, tmp_path):
    venv = VecMonitor(to_sb3(SHORT, n_envs=2, route=route))
    judge = VecMonitor(to_sb3(functools.partial(SHORT, split="validation"), route=route))
    model = ALGORITHMS[name]("MlpPolicy", venv, seed=0, device="cpu", policy_kwargs={"net_arch": [16]})
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    callback = EvalCallback(judge, eval_freq=36, n_eval_episodes=3, log_path=str(tmp_path), verbose=0)
    model.learn(600, callback=callback)
    assert any(not before[key].equal(value) for key, value in model.policy.state_dict().items())
    episodes = venv.get_attr("day")
    assert len(episodes) == 6
    results = np.load(tmp_path / "evaluations.npz")["results"]
    assert results.size and np.isfinite(results).all() and (results < 0).all()
    model.save(tmp_path / "model")
    observation = judge.reset()
    loaded = type(model).load(tmp_path / "model")
    np.testing.assert_array_equal(
        model.predict(observation, deterministic=True)[0], loaded.predict(observation, deterministic=True)[0]
    )
    venv.close()
    judge.close()


def test_both_routes_give_the_same_day():
    rows = []
    for route in ("native", "supersuit"):
        venv = to_sb3(SHORT, n_envs=2, route=route, seed=5)
        venv.seed(5)
        observations = [venv.reset()]
        rng = np.random.default_rng(0)
        ends = []
        for _ in range(26):
            o, _, d, infos = venv.step(rng.uniform(-1, 1, (6, venv.action_space.shape[0])).astype(np.float32))
            observations.append(o)
            ends.append([(bool(x), info["TimeLimit.truncated"], info["day"]) for x, info in zip(d, infos, strict=True)])
        venv.close()
        rows.append((np.array(observations), ends))
    np.testing.assert_array_equal(rows[0][0], rows[1][0])
    assert rows[0][1] == rows[1][1]
    assert [all(x[1] for x in step) for step in rows[0][1]] == [k in (11, 23) for k in range(26)]
    days = {x[2] for step in rows[0][1] for x in step}
    assert len(days) == 6  # two copies, three days each, drawn apart


def test_masked_ppo_learns_to_switch_without_one_illegal_choice():
    """The switching scenario end to end through the native route; plain PPO on the same rows does choose what is not
    allowed, so that the counter is known to count."""
    from sb3_contrib import MaskablePPO

    class Count(BaseCallback):
        illegal = refused = 0.0

        def _on_step(self):
            self.illegal += sum(info["illegal"] for info in self.locals["infos"])
            self.refused += sum(info["refused"] for info in self.locals["infos"])
            return True

    def learned(algorithm):
        venv = to_sb3(functools.partial(dss_marl.make, "ieee123_switching", agents="device"), n_envs=1, seed=0)
        count = Count()
        model = algorithm("MlpPolicy", venv, n_steps=16, batch_size=46, n_epochs=1, seed=0, device="cpu")
        model.learn(32 * venv.num_envs, callback=count)
        venv.close()
        return count

    masked, plain = learned(MaskablePPO), learned(PPO)
    assert masked.illegal == 0
    assert plain.illegal > 100
    assert masked.refused > 0, "closings that are feasible one by one still exclude each other"

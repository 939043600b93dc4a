"""Train one policy shared by all zones with Stable-Baselines3, in your own script."""

import argparse
import functools

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor

import dss_marl
from dss_marl.integrations.sb3 import to_sb3

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", default="ieee34_volt_var")
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--route", default="native", choices=["native", "supersuit"])
    options = parser.parse_args()

    make_env = functools.partial(dss_marl.make, options.scenario)
    venv = VecMonitor(to_sb3(make_env, n_envs=8, route=options.route))
    # n_steps counts steps of each copy. The default of 2048 would give 100,000 samples per update, and few updates.
    model = PPO("MlpPolicy", venv, n_steps=32, batch_size=256, gamma=0.9, gae_lambda=0.9, learning_rate=1e-3, seed=0)
    model.learn(options.steps)
    model.save("shared_policy")
    venv.close()

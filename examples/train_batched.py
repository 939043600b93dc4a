"""Train one policy shared by all zones on many copies at once, and score it on OpenDSS, in your own script."""

import argparse
import functools

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor

import dss_marl
from dss_marl.experiments import evaluate_all
from dss_marl.integrations.sb3 import SharedPolicy, ValuedTimeLimits, to_sb3
from dss_marl.integrations.vector import EngineChoice

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", default="ieee34_volt_var")
    parser.add_argument("--engine", default="batched")
    parser.add_argument("--copies", type=int, default=256)
    parser.add_argument("--steps", type=int, default=1_200_000)
    options = parser.parse_args()

    torch.set_num_threads(1)  # networks this small are several times slower on many threads
    # spread: copies at all hours, as a rollout of eight steps would else see two hours of the day
    choice = EngineChoice(options.engine, spread=True, lean=True)
    make_env = functools.partial(dss_marl.make, options.scenario)
    venv = ValuedTimeLimits(VecMonitor(to_sb3(make_env, options.copies, engine=choice)))
    n_steps = 8
    batch_size = max(2, options.copies * n_steps // 2)
    settings = {"gamma": 0.9, "gae_lambda": 0.9, "learning_rate": 1e-3, "n_epochs": 5}
    venv.model = model = PPO(
        "MlpPolicy", venv, n_steps=n_steps, batch_size=batch_size, seed=0, device="cpu", **settings
    )
    model.learn(options.steps)
    venv.close()

    scenario = dss_marl.load_scenario(options.scenario)
    print(evaluate_all({"learned": SharedPolicy(model)}, scenario, "test", most_days=2).markdown())

"""10. Training with Stable-Baselines3, through SuperSuit or without: the code of docs/tutorial/10_training.md, written by docs/make_scripts.py."""

# The joint between PettingZoo and SB3

from pathlib import Path

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor

import dss_marl
from dss_marl.controllers import reference
from dss_marl.experiments import evaluate, evaluate_all
from dss_marl.integrations.sb3 import SharedPolicy, to_sb3

torch.set_num_threads(1)  # networks this small run several times slower on many threads

_ = Path("my_volt_var.yaml").write_text("""
feeder: {name: case69}
devices:
  - {kind: inverter, bus: 27, kw: 1000}
  - {kind: inverter, bus: 50, kw: 1500}
  - {kind: inverter, bus: 65, kw: 2500}
zones: {method: balanced, count: 3}
profiles: {kind: synthetic, seed: 69, load_scale: [0.6, 1.0]}
steps: 24
dt_h: 1.0
observations: [zone_voltage, unit_voltage, pv_available, load, time_of_day, identity]
rewards: {voltage_violation: 400, violating_share: 20, loss: 8}
costs: [voltage_violation_sum]
""")
scenario = dss_marl.load_scenario("my_volt_var.yaml")


def make_env():
    """One environment with training days."""
    return dss_marl.make(scenario, split="train")


for route in ("native", "supersuit"):
    venv = to_sb3(make_env, n_envs=4, route=route, seed=0)
    seen = venv.reset()
    print(f"{route:10} {venv.num_envs} rows of {seen.shape[1]} numbers; rows 0 and 3 on the same day: "
          f"{bool(np.allclose(seen[0, :6], seen[3, :6]))}")
    venv.close()

# A learning curve

validation_days = dss_marl.build_task(scenario).profiles.days("validation")[::4]


class OnValidationDays(BaseCallback):
    """Evaluates the policy on validation days at every ``every`` agent-steps, and keeps the best."""

    def __init__(self, every):
        super().__init__()
        self.every, self.curve, self.best = every, [], -np.inf

    def _on_rollout_start(self):  # before a rollout, so that no update is cut in two
        if not self.curve or self.num_timesteps >= self.curve[-1][0] + self.every:
            figures = evaluate(SharedPolicy(self.model), scenario, validation_days, "validation")
            score = float(np.mean([one["team_return"] for one in figures]))
            self.curve.append((self.num_timesteps, score))
            if score > self.best:
                self.best = score
                self.model.save("best")

    def _on_step(self):
        return True


venv = VecMonitor(to_sb3(make_env, n_envs=4, seed=0))
model = PPO(
    "MlpPolicy", venv, n_steps=24, batch_size=96, n_epochs=5, gamma=0.5, gae_lambda=0.9, learning_rate=2e-3,
    policy_kwargs={"net_arch": [64, 64], "log_std_init": -0.5}, seed=0, device="cpu",
)
watching = OnValidationDays(every=1_500)
model.learn(9_000, callback=watching)
for steps, score in watching.curve:
    print(f"{steps:6d} agent-steps: {score:7.2f}")

import matplotlib.pyplot as plt

levels = {
    name: np.mean([one["team_return"] for one in evaluate(reference(name, scenario), scenario, validation_days, "validation")])
    for name in ("no_control", "droop", "linear")
}
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(*zip(*watching.curve, strict=True), marker="o", label="PPO, shared policy, seed 0")
for (name, level), colour in zip(levels.items(), ("0.6", "tab:orange", "tab:green"), strict=True):
    axes.axhline(level, linestyle="--", color=colour, label=name)
axes.set(xlabel="agent-steps", ylabel="team return on validation days", ylim=(1.5 * levels["no_control"], 0))
axes.legend()
plt.close(figure)
figure

# Save, load, continue

model.save("shared_policy")
again = PPO.load("shared_policy", env=venv, device="cpu")
again.learn(1_500, reset_num_timesteps=False)  # goes on counting; optimiser state is in the file
print("continued to", again.num_timesteps, "agent-steps")

best = PPO.load("best", device="cpu")
table = evaluate_all({"no_control": reference("no_control", scenario), "droop": reference("droop", scenario),
                      "linear": reference("linear", scenario), "PPO": SharedPolicy(best)}, scenario, "test", 10)
for name in table.figures:
    print(f"{name:12} {table.column(name, 'team_return').mean():7.2f}, better than droop on "
          f"{table.better_days(name, 'droop'):4.0%} of the days")
venv.close()

# Choices and masks

from sb3_contrib import MaskablePPO


def make_switches():
    """Open points of the 33-bus feeder: an agent for each zone, choices with masks."""
    return dss_marl.make("case33_reconfiguration", split="train", steps=6)


masked = to_sb3(make_switches, n_envs=2, seed=0)
masked.reset()
print("mask of row 0:", masked.env_method("action_masks", indices=[0])[0].astype(int))
chooser = MaskablePPO("MlpPolicy", masked, n_steps=12, batch_size=60, seed=0, device="cpu").learn(120)
print("agent-steps:", chooser.num_timesteps)
masked.close()

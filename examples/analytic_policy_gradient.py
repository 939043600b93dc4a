"""Train a shared policy with the slope of the reward instead of samples of it: analytic policy gradients.

In volt-var control a step's reward depends on that step's actions, so its slope, from ``env.gradient``, is all that
gradient ascent needs; no critic and no exploration. Runs without a GPU in half a minute.
"""

import argparse
import time

import numpy as np
import torch
from torch import nn

import dss_marl
from dss_marl.controllers import NoControl, reference
from dss_marl.experiments import evaluate_all


class Policy(nn.Module):
    """One network for all agents, which tell each other apart by what they observe; a controller as well."""

    def __init__(self, inputs, outputs):
        super().__init__()
        layers = nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs), nn.Tanh()
        self.layers = nn.Sequential(*layers)
        nn.init.zeros_(self.layers[-2].weight)  # starts with no control

    def forward(self, observations):
        return self.layers(observations)

    def reset(self, env):
        """Nothing to prepare."""

    @torch.no_grad()
    def act(self, env, observations):
        rows = self(torch.as_tensor(np.stack([observations[agent] for agent in env.possible_agents])))
        return dict(zip(env.possible_agents, rows.numpy(), strict=True))


def train(env, policy, updates, steps_per_update):
    """Ascend the slope of the mean team reward along the days that the policy itself goes through."""
    optimiser = torch.optim.Adam(policy.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    observations, _ = env.reset(seed=0)
    for update in range(updates):
        optimiser.zero_grad()
        earned = 0.0
        for _ in range(steps_per_update):
            actions = policy(torch.as_tensor(observations))
            taken = actions.detach().numpy()
            slope = torch.as_tensor(np.nan_to_num(env.gradient(taken).by_agent), dtype=torch.float32)
            (-(actions * slope).sum(dim=(1, 2)).mean() / steps_per_update).backward()
            observations = env.step(taken).observations
            earned += env.team_reward.mean() / steps_per_update
        optimiser.step()
        schedule.step()
        if update % 10 == 9:
            print(f"update {update + 1}: mean team reward of a step {earned:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", default="case33_volt_var")
    parser.add_argument("--copies", type=int, default=32)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--steps-per-update", type=int, default=12)
    parser.add_argument("--test-days", type=int, default=10)
    options = parser.parse_args()

    torch.manual_seed(0)
    env = dss_marl.make_batch(options.scenario, copies=options.copies, engine="batched")
    observations, _ = env.reset(seed=0)
    policy = Policy(observations.shape[-1], env.action_rows.shape[-1])
    start = time.perf_counter()
    train(env, policy, options.updates, options.steps_per_update)
    env.close()
    print(f"trained in {time.perf_counter() - start:.0f} s")

    scenario = dss_marl.load_scenario(options.scenario)
    controllers = {"no_control": NoControl(), "tuned_droop": reference("tuned_droop", scenario), "policy": policy}
    table = evaluate_all(controllers, scenario, "test", options.test_days)  # on OpenDSS
    for name in controllers:
        print(f"{name}: team return {table.column(name, 'team_return').mean():.2f}")

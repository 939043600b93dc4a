"""1. The first ten minutes: the code of docs/tutorial/01_first_ten_minutes.md, written by docs/make_scripts.py."""

# Open a task

import dss_marl

env = dss_marl.make("ieee34_volt_var", split="test")
print(env.task.feeder)
for agent in env.possible_agents:
    print(f"{agent}:", *env.labels(agent)["action"], sep="\n    ")

# Look at it

from dss_marl.plots import feeder_figure

feeder_figure(
    env.task, title="ieee34_volt_var: six zones, six inverters, six regulators"
)

# !dss-marl show ieee34_volt_var

# Play a day with a rule

labels = env.labels("zone_2")["observation"]
print("\n".join(f"{k:2d}  {label}" for k, label in enumerate(labels)))

import numpy as np


def rule(observation):
    """One action entry for the inverter, three for the regulators, two for banks."""
    return np.clip([-0.2 * observation[3], *-observation[12:15], 0, 0], -1, 1)


observations, infos = env.reset(seed=0, options={"day": 139})
team_return = 0.0
while env.agents:
    actions = {agent: rule(observations[agent]) for agent in env.agents}
    observations, rewards, terminations, truncations, infos = env.step(actions)
    team_return += rewards[
        "zone_1"
    ]  # the reward is the team's: the same for every agent
print(f"return of the day: {team_return:.2f}")


class Rule:
    """The rule above, as a controller."""

    circuit_controls = False  # True: the circuit's regulators act by themselves

    def reset(self, env):
        """Called at the start of each day; there is nothing to prepare."""

    def act(self, env, observations):
        return {agent: rule(observation) for agent, observation in observations.items()}


names = ("no_control", "opendss_controls", "droop")
recordings = {name: dss_marl.record(env, name, days=139) for name in names}
recordings["rule"] = dss_marl.record(env, Rule(), days=139)
for name, recording in recordings.items():
    day = recording.figures[0]
    print(
        f"{name:16s} return {day['team_return']:7.2f}  "
        f"violation {day['violation_node_h']:6.1f} node h  "
        f"losses {day['loss_kwh']:4.0f} kWh  {day['tap_moves']:3.0f} tap moves"
    )

# Train

from pathlib import Path

from dss_marl.experiments import train

settings = {"agent_steps": 12_000, "evaluations": 3, "evaluation_days": 5}
short = dss_marl.load_scenario("ieee34_volt_var").replace(training=settings)
run = train(short, Path("runs/first"), seed=0, overwrite=True)
for row in run.history:
    print(f"{row['agent_steps']:6.0f} agent-steps: mean return {row['score']:7.2f}")

# Evaluate

from dss_marl.experiments import compare

compare(
    Path("runs/first"), ["no_control", "opendss_controls", "tuned_droop"], most_days=4
)

# See the day

from dss_marl.experiments import load_policy
from dss_marl.plots import voltage_band_figure

recordings["learned"] = dss_marl.record(env, load_policy(Path("runs/first")), days=139)
scored = np.concatenate([zone.scored_nodes for zone in env.task.zones])
bands = {}
for name in ("no_control", "learned", "rule"):
    v_pu = recordings[name]["voltages"].values[:, scored]
    bands[name] = np.stack([v_pu.min(1), v_pu.mean(1), v_pu.max(1)], axis=1)
voltage_band_figure(bands, env.task.scenario.dt_h, "ieee34_volt_var, test day 139")

# Where the results lie

for path in sorted(Path("runs/first").rglob("*")):
    if path.is_file():
        print(path)

folder = recordings["rule"].to_csv("day139")
print(*sorted(path.name for path in folder.iterdir()))
env.close()

"""3. The game: the code of docs/tutorial/03_the_game.md, written by docs/make_scripts.py."""

# One step

import numpy as np

import dss_marl

env = dss_marl.make("ieee13_volt_var", split="test")
observations, infos = env.reset(seed=0, options={"day": 139})
seen = env.now
neutral = env.task.encoding.encode(
    env.task.default_action
)  # no kvar, no tap move, banks as they are
observations, rewards, terminations, truncations, infos = env.step(neutral)
print(
    "observed, then operated: the same voltages:",
    np.allclose(seen.solution.v_pu, env.after.solution.v_pu, atol=1e-6),
)
print(
    "operated interval",
    env.after.step,
    "observed interval",
    env.now.step,
    f"at {env.now.hour:.2f} h",
)

# Observations

agent = "zone_2"
labels = env.labels(agent)["observation"]
rows = zip(labels, observations[agent], strict=True)
print("\n".join(f"{value:8.3f}  {label}" for label, value in rows if label != "-"))

# Actions

for name in env.possible_agents:
    print(name, env.action_space(name), *env.labels(name)["action"], sep="\n    ")

actions = env.task.encoding.encode(env.task.default_action)
actions["zone_1"][3] = 1.0  # reg1: tap moves; at most two a step
for _ in range(7):
    tap = env.now.setpoints.tap[0]
    *_, infos = env.step(actions)
    limited = infos["zone_1"]["limited"]
    print(f"tap {tap} -> {env.after.setpoints.tap[0]}, limited: {limited:.0f}")

try:
    env.step({**actions, "zone_1": np.array([0.0, np.nan, 0, 0, 0, 0, 0], np.float32)})
except ValueError as error:
    print("ValueError:", error)

# Rewards

for name, (weight, term) in env.task.rewards.items():
    print(f"{weight:6.2f}  {name}: {term.__doc__.strip().splitlines()[0]}")

observations, rewards, terminations, truncations, infos = env.step(neutral)
total = 0.0
for agent, info in infos.items():
    own = {
        key: value
        for key, value in info.items()
        if key.startswith("reward/") and value != 0
    }
    total += sum(own.values())
    print(agent, {key: round(value, 4) for key, value in own.items()})
print(f"sum {total:.4f}, reward of each agent {rewards['zone_1']:.4f}")

# Costs and other infos

for key, value in infos["zone_1"].items():
    if not key.startswith("reward/"):
        print(f"{key:28s} {value}")

# Choices and masks

devices = [
    {**spec, "discharge_h": 1.0} if spec["kind"] == "capacitor" else spec
    for spec in env.task.scenario.devices
]
chosen = dss_marl.make(
    "ieee13_volt_var",
    agents="device",
    actions="multidiscrete",
    levels=5,
    devices=devices,
)
observations, infos = chosen.reset(seed=0)
print(len(chosen.agents), "agents:", *chosen.agents)
for agent in ("inverter_1", "regulator_1", "capacitor_1"):
    print(agent, chosen.action_space(agent), observations[agent]["action_mask"])

hold = chosen.task.encoding.encode(chosen.task.default_action)
observations, *_ = chosen.step(
    {**hold, "capacitor_1": np.zeros_like(hold["capacitor_1"])}
)
print("after opening", observations["capacitor_1"]["action_mask"])
observations, *_, infos = chosen.step(
    {**hold, "capacitor_1": np.full_like(hold["capacitor_1"], 2)}
)
print("illegal:", infos["capacitor_1"]["illegal"])
chosen.close()

# The end of an episode

while env.agents:
    observations, rewards, terminations, truncations, infos = env.step(neutral)
print(terminations, truncations, sep="\n")

# The other two views

turns = dss_marl.env("ieee13_volt_var", max_cycles=2)
turns.reset(seed=0)
for agent in turns.agent_iter():
    observation, reward, termination, truncation, info = turns.last()
    action = None if termination or truncation else turns.action_space(agent).sample()
    turns.step(action)
    print(agent, "is done" if action is None else "has acted")
turns.close()

central = dss_marl.gym_env("ieee13_volt_var")
observation, info = central.reset(seed=0)
print(central.observation_space.shape, central.action_space.shape)
observation, reward, terminated, truncated, info = central.step(
    central.action_space.sample()
)
print(
    "\n".join(f"{k:2d}  {label}" for k, label in enumerate(central.labels()["action"]))
)
central.close()

# The state, and branching an episode

env.reset(seed=0, options={"day": 139})
for _ in range(48):
    env.step(neutral)
noon = env.save_state()


def rest_of_the_day(share):
    """Return from noon on if every inverter keeps this share of its reactive power."""
    env.load_state(noon)
    actions = env.task.encoding.encode(env.task.default_action)
    for agent in actions:
        entries = [
            k
            for k, label in enumerate(env.labels(agent)["action"])
            if label.startswith("inverter")
        ]
        actions[agent][entries] = share
    total = 0.0
    while env.agents:
        total += env.step(actions)[1]["zone_1"]
    return total


for share in (0.0, -0.3, -0.3):
    print(f"share {share:4.1f}: {rest_of_the_day(share)}")
env.close()

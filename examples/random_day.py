"""A day with random actions: the plain PettingZoo loop."""

import dss_marl

env = dss_marl.make("ieee34_volt_var", split="test")
observations, infos = env.reset(seed=0)
for agent in env.agents:
    env.action_space(agent).seed(0)
total = 0.0
while env.agents:
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}
    observations, rewards, terminations, truncations, infos = env.step(actions)
    total += rewards["zone_1"]
print(f"team return of a random day: {total:.1f}")
for entry, value in zip(env.labels("zone_2")["observation"], observations["zone_2"], strict=True):
    print(f"{value:8.3f}  {entry}")
env.close()

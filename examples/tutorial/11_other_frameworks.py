"""11. Other frameworks: the code of docs/tutorial/11_other_frameworks.md, written by docs/make_scripts.py."""

# 11. Other frameworks

import numpy as np

import dss_marl

# PettingZoo, parallel

env = dss_marl.make("ieee13_volt_var", steps=8)
observations, infos = env.reset(seed=0)
while env.agents:
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}
    observations, rewards, terminations, truncations, infos = env.step(actions)
print(rewards, truncations, env.state().shape)
env.close()

import pettingzoo

env = pettingzoo.make("parallel", "dss_marl/ieee13_volt_var-v1")
print(env.possible_agents)
env.close()

# PettingZoo, agents in turn

turns = dss_marl.env("ieee13_volt_var", steps=2)
turns.reset(seed=0)
for agent in turns.agent_iter():
    observation, reward, termination, truncation, info = turns.last()
    turns.step(None if termination or truncation else turns.action_space(agent).sample())
print("the last agent's turn steps the circuit; cumulative reward has been given to each")
turns.close()

# Gymnasium, one central agent

import gymnasium
from stable_baselines3 import SAC

central = dss_marl.gym_env("ieee13_volt_var", steps=8)
print(central.observation_space.shape, central.action_space.shape)
SAC("MlpPolicy", central, learning_starts=16, seed=0, device="cpu").learn(32)
central.close()
print(gymnasium.make("dss_marl/ieee13_volt_var-v1").unwrapped)

# SuperSuit's vector environments

import supersuit

vector = supersuit.pettingzoo_env_to_vec_env_v1(dss_marl.make("ieee13_volt_var", steps=8))
rows = supersuit.concat_vec_envs_v1(vector, 2, num_cpus=0, base_class="gymnasium")
seen, _ = rows.reset()
seen, rewards, ended, cut, _ = rows.step(np.stack([vector.action_space.sample() for _ in range(rows.num_envs)]))
print(seen.shape, rewards.shape)
rows.close()

# Offline, from logged days

import os

import minari
from dss_marl.controllers import reference
from dss_marl.integrations.minari_datasets import write_datasets

os.environ["MINARI_DATASETS_PATH"] = os.path.abspath("datasets")
env = dss_marl.make("ieee34_var", split="train", circuit_controls=True, steps=24)
names = write_datasets(env, reference("tuned_droop", env.task.scenario), env.days[:2], "grid/droop")
env.close()
dataset = minari.load_dataset(names[1])
episode = next(iter(dataset.iterate_episodes()))
print(names[1], episode.observations.shape, episode.actions.shape)

# Check your own wrapper

import warnings

from pettingzoo.test import parallel_api_test

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the test passes an option that this environment does not know
    parallel_api_test(dss_marl.make("ieee13_volt_var", steps=8), num_cycles=20)

days = []
for _ in range(2):
    env = dss_marl.make("ieee13_volt_var", steps=8)
    env.reset(seed=3)
    total = 0.0
    while env.agents:
        _, rewards, *_ = env.step({agent: np.zeros(env.action_space(agent).shape, np.float32) for agent in env.agents})
        total += rewards["zone_1"]
    days.append(total)
    env.close()
print("the same seed, the same return to the last bit:", days[0] == days[1])

"""13. Coming from DSS-Gymnasium, PowerGym, MAPDN or PowerZoo: the code of docs/tutorial/13_coming_from.md, written by docs/make_scripts.py."""

# 13. Coming from DSS-Gymnasium, PowerGym, MAPDN or PowerZoo

import numpy as np

import dss_marl
from dss_marl.controllers import reference
from dss_marl.experiments import evaluate


def compared(scenario, names, days=3):
    """Prints the mean return, and the share of steps in band, of reference controllers on the first test days."""
    chosen = dss_marl.build_task(scenario).profiles.days("test")[:days]
    for name in names:
        figures = evaluate(reference(name, scenario), scenario, chosen)
        mean = {key: np.mean([day[key] for day in figures]) for key in ("team_return", "controllable_rate")}
        print(f"{name:17} return {mean['team_return']:8.2f}, in band {mean['controllable_rate']:4.0%}")


# DSS-Gymnasium

env = dss_marl.gym_env("ieee34_local_pv", split="test")
print(env.action_space, env.observation_space.shape)
env.close()
compared(dss_marl.load_scenario("ieee34_local_pv"), ["no_control", "greedy"], days=1)

# PowerGym

powergym = dss_marl.load_scenario("powergym_13")
env = dss_marl.gym_env(powergym, split="test")
print(env.action_space)
env.close()
compared(powergym, ["no_control", "random", "opendss_controls"])

env = dss_marl.gym_env(powergym, split="test", render_mode="rgb_array")
observation, info = env.reset(seed=0)
total, ended = 0.0, False
while not ended:
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    total, ended = total + reward, terminated or truncated
print(f"return {total:.1f}, masks for {info['action_mask'].shape[0]} choices, a frame of {env.render().shape}")
env.close()

# MAPDN

mapdn = dss_marl.load_scenario("mapdn_33").replace(
    name="mapdn_33_mornings",
    steps=240,
    start_hour=6.0,
    rewards={"bowl": 1, "reactive_power": 0.1 / 6},
    tuned_droop={},
)
env = dss_marl.make(mapdn)
print(env.possible_agents, env.action_space("inverter_1").shape)
env.close()
compared(mapdn, ["no_control", "droop"], days=2)

# PowerZoo

xjtu = dss_marl.load_scenario("ieee13_legacy").replace(name="as_powerzoo_13", agents="device", actions="multidiscrete", levels=33)
env = dss_marl.make(xjtu)
print(len(env.possible_agents), "agents:", ", ".join(env.possible_agents))
print(f"an agent sees {env.observation_space(env.possible_agents[0])['observation'].shape[0]} numbers, "
      f"the state has {env.state().shape[0]}" if env.reset(seed=0) else "")
env.close()

buses = {"inverter": (41, 98, 116, 130), "battery": (53, 107, 80, 141)}
ders = dss_marl.load_scenario("case141_volt_var").replace(
    name="as_powerzoo_ders",
    devices=[{"kind": "inverter", "bus": bus, "kw": 200, "curtail": True} for bus in buses["inverter"]]
    + [{"kind": "battery", "bus": bus, "kw": 200, "kwh": 800, "reactive": True} for bus in buses["battery"]]
    + [{"kind": "flexible_load", "names": [load]} for load in ("s59", "s75", "s44", "s68")],
    agents="device", dt_h=0.5, steps=48, horizon=4,
    observations=["zone_voltage", "unit_voltage", "pv_available", "load", "telemetry", "price_forecast", "time_of_day", "has_action"],
    rewards={"loss": 2, "unserved": 10, "stored_energy": 3, "voltage_violation": 100},
    costs=["voltage_violation_sum", "unserved_kwh", "curtailed_kwh"],
    tuned_droop={},
)
env = dss_marl.make(ders)
print(len(env.possible_agents), "agents")
env.close()
compared(ders, ["no_control", "linear"], days=2)

"""13. Coming from DSS-Gymnasium, PowerGym, MAPDN or PowerZoo: the code of docs/tutorial/13_coming_from.md, written by docs/make_scripts.py."""

# 13. Coming from DSS-Gymnasium, PowerGym, MAPDN or PowerZoo

from pathlib import Path

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

_ = Path("powergym_terms.py").write_text('''
import numpy as np

import dss_marl

FEEDER = "ieee13"  # that of the scenario: the rows below are those of its nodes
BUS_OF = dss_marl.read_feeder(FEEDER).node_bus  # (N) index of each node's bus


def worst_phases(zone, before, after):
    """Sum over the zone's buses of the excursions of the highest and the lowest phase, negated [pu]."""
    off_high, off_low = np.zeros(BUS_OF.max() + 1), np.zeros(BUS_OF.max() + 1)
    volts, buses = after.solution.v_alive[zone.scored_nodes], BUS_OF[zone.scored_nodes]
    np.maximum.at(off_high, buses, volts - 1.05)
    np.maximum.at(off_low, buses, 0.95 - volts)
    return -float(off_high.sum() + off_low.sum())


def loss_ratio(zone, before, after):
    """Losses over the power drawn from the source, at most 1, negated and split over zones."""
    drawn_kw = max(abs(float(after.solution.source_kw)), 1e-9)
    return -min(float(after.solution.loss_kw) / drawn_kw, 1.0) / zone.count


def discharging(zone, before, after):
    """Discharging power of the zone's batteries over their rating, negated."""
    return -float(np.maximum(after.setpoints.kw[zone.units] / zone.unit_kw, 0.0).sum())
''')
legacy = dss_marl.load_scenario("ieee13_legacy")
taps, *others = legacy.devices
powergym = legacy.replace(
    name="as_powergym_13",
    devices=[{**taps, "absolute": True, "moves": 32}, *others],
    actions="multidiscrete",
    levels=33,
    rewards={"powergym_terms:worst_phases": 1, "powergym_terms:loss_ratio": 10, "tap_moves": 1 / 33,
             "capacitor_moves": 1 / 33, "powergym_terms:discharging": 6 / 33},
    tuned_droop={},
)
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

xjtu = legacy.replace(name="as_powerzoo_13", agents="device", actions="multidiscrete", levels=33)
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

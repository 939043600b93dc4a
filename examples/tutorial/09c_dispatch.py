"""9c. Dispatch of batteries, from an empty file: the code of docs/tutorial/09c_dispatch.md, written by docs/make_scripts.py."""

# First try

from pathlib import Path

_ = Path("first_dispatch.yaml").write_text("""
feeder: {name: ieee13, load_v_pu: [0.8, 1.2]}
circuit_controls: true       # the circuit's own regulators act; they are no agents
devices:
  - {kind: inverter, bus: 680, kw: 1200, curtail: true}
  - {kind: inverter, bus: 634, kw: 500, curtail: true}
  - {kind: battery, bus: 675, kw: 400, kwh: 1600}
  - {kind: battery, bus: 671, kw: 400, kwh: 1600}
zones: {method: cut, kinds: [switch], branches: ["670671"]}
profiles: {kind: synthetic, seed: 13, load_scale: [0.5, 0.9]}
steps: 24
dt_h: 1.0
horizon: 12                  # hours of forecast, the coming one included
observations: [unit_power, pv_available, load, load_forecast, price_forecast, telemetry, time_of_day, identity, has_action]
rewards: {energy_cost: 0.1}  # 1 = 10 $
""")

import dss_marl
from dss_marl.controllers import reference
from dss_marl.experiments import evaluate_all, prove, solve


class AlwaysDischarge:
    """Both batteries at full discharge from midnight on, all PV fed in."""

    circuit_controls = True

    def reset(self, env):
        """Nothing to prepare."""

    def act(self, env, observations):
        action = env.task.default_action.copy()
        for group, part in zip(env.task.device_groups, env.task.agents.action_layout.by_group(action), strict=True):
            if type(group).__name__ == "Batteries":
                part[:] = 1.0  # a view of the joint action
        return env.task.encoding.encode(action)


def compared(scenario, controllers, days=6):
    """Prints the mean return of controllers on the same test days."""
    table = evaluate_all(controllers, scenario, "test", days)
    for name in controllers:
        print(f"{name:18} return {table.column(name, 'team_return').mean():8.2f}, "
              f"bill {table.column(name, 'energy_cost').mean():6.0f} $")


first = dss_marl.load_scenario("first_dispatch.yaml")
rules = {"no_control": reference("no_control", first), "time_of_use": reference("time_of_use", first)}
compared(first, {**rules, "always discharge": AlwaysDischarge()})

# Mending it

_ = Path("my_dispatch.yaml").write_text("""
base: first_dispatch.yaml
feeder: {import_limit_kw: 2400}
rewards:                     # 1 = 10 $
  excess_cost: 0.1           # the bill beyond that of the loads at 1 pu and of full PV, which no control changes
  import_excess: 100         # MWh above the limit, at 1 $/kWh
  stored_energy: 8           # MWh, at 80 $/MWh, about the mean price: what midnight leaves behind
  battery_use: 2.5           # MWh in or out, 25 $ of wear per MWh
costs: [thermal_overload, curtailed_kwh]
training: {gamma: 0.98}
""")
second = dss_marl.load_scenario("my_dispatch.yaml")
compared(second, {**rules, "always discharge": AlwaysDischarge()})

# What validate says

print("returns of the plans:", {day: round(value, 2) for day, value in solve(second, days=3).items()})
proof = prove(second, most_days=3)
print(proof)
for name in ("no_control", "time_of_use", "greedy", "best_known"):
    print(f"{name:12} score {proof.table.score(name)[0]:6.2f}")

# A term of your own

_ = Path("my_terms.py").write_text('''
def import_ramp(zone, before, after):
    """Change of the feeder's import since the last interval, negated and split evenly over zones [MW]."""
    change_kw = after.solution.source_kw - before.solution.source_kw
    return -abs(change_kw) / 1000 / zone.count
''')
_ = Path("ramp.yaml").write_text("""
base: my_dispatch.yaml
rewards: {excess_cost: 0.1, stored_energy: 8, battery_use: 2.5, "my_terms:import_ramp": 2}
""")
ramp = dss_marl.load_scenario("ramp.yaml")
compared(ramp, rules, days=4)

env = dss_marl.make(ramp, split="test")
day = dss_marl.record(env, "no_control", days=4)
import_kw = day["system"]["source_kw"]
terms = [name for name in day["rewards"].names if "import_ramp" in name]
print("ramp of the import over the day:", round(abs(import_kw[1:] - import_kw[:-1]).sum() / 1000, 2), "MW")
print("what the term saw:", round(-sum(day["rewards"][name].sum() for name in terms) / 2, 2), "MW")
env.close()

# A day, looked at

import matplotlib.pyplot as plt

figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 4.5), sharex=True, layout="constrained")
for name in ("time_of_use", "best_known"):
    env = dss_marl.make(second, split="test")
    played = dss_marl.record(env, name, days=4)
    top.step(range(24), played["stored_kwh"].values.sum(axis=1), where="post", label=name)
    bottom.step(range(24), played["system"]["source_kw"], where="post")
    env.close()
bottom.axhline(2400, color="tab:red", linewidth=1)
top.set(ylabel="energy in the batteries [kWh]", title="my_dispatch, test day 4")
top.legend()
bottom.set(xlabel="hour of the day", ylabel="import [kW]", xlim=(0, 23), xticks=range(0, 24, 6))
price = bottom.twinx()
price.step(range(24), 1000 * played["system"]["price"], where="post", color="0.6", linestyle="--")
price.set_ylabel("price [$/MWh], dashed")
plt.close(figure)
figure

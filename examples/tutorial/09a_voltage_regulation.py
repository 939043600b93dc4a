"""9a. Voltage regulation, from an empty file: the code of docs/tutorial/09a_voltage_regulation.md, written by docs/make_scripts.py."""

# The file, key by key

from pathlib import Path

task_file = Path("first_try.yaml")
_ = task_file.write_text("""
feeder: {name: case69}
""")

with task_file.open("a") as lines:
    lines.write("""
devices:
  - {kind: inverter, bus: 27, kw: 300}
  - {kind: inverter, bus: 50, kw: 600}
  - {kind: inverter, bus: 65, kw: 600}
""")

with task_file.open("a") as lines:
    lines.write("""
zones: {method: balanced, count: 3}
""")

with task_file.open("a") as lines:
    lines.write("""
profiles: {kind: synthetic, seed: 69, load_scale: [0.4, 0.7]}
steps: 24
dt_h: 1.0
""")

with task_file.open("a") as lines:
    lines.write("""
observations: [zone_voltage, unit_voltage, pv_available, load, time_of_day, identity]
rewards: {voltage_violation: 100}
""")

# Does it run, and what does an agent see?

import dss_marl

env = dss_marl.make(task_file, split="test")
observations, infos = env.reset(seed=0)
for label, value in zip(env.labels("zone_3")["observation"], observations["zone_3"], strict=True):
    print(f"{value:7.3f}  {label}")
print(env.labels("zone_3")["action"])
env.close()

# Doing nothing against a rule

from dss_marl.controllers import reference
from dss_marl.experiments import evaluate_all


def compared(scenario, names=("no_control", "droop"), days=6):
    """Prints return, share of hours in band and losses of controllers on the same test days."""
    table = evaluate_all({name: reference(name, scenario) for name in names}, scenario, "test", days)
    for name in names:
        mean = {figure: table.column(name, figure).mean() for figure in ("team_return", "controllable_rate", "loss_kwh")}
        print(f"{name:12} return {mean['team_return']:8.3f}, in band {mean['controllable_rate']:5.1%}, "
              f"losses {mean['loss_kwh']:5.0f} kWh")


first = dss_marl.load_scenario(task_file)
compared(first)

# What validate says

from dss_marl.experiments import prove, solve

print("returns of the plans:", {day: round(value, 2) for day, value in solve(first, days=2).items()})
print(prove(first, quick=True))

# Mending it

_ = Path("my_volt_var.yaml").write_text("""
base: first_try.yaml
devices:
  - {kind: inverter, bus: 27, kw: 1000}
  - {kind: inverter, bus: 50, kw: 1500}
  - {kind: inverter, bus: 65, kw: 2500}
profiles: {load_scale: [0.6, 1.0]}
rewards:                     # 1 = 10 $
  voltage_violation: 400     # mean pu outside the band for an hour
  violating_share: 20        # share of nodes outside
  loss: 8                    # MW for an hour, at 80 $/MWh
  converter_loss: 8          # MW, likewise: reactive power heats the inverters that supply it
costs: [voltage_violation_sum]
""")
second = dss_marl.load_scenario("my_volt_var.yaml")
compared(second)

print("returns of the plans:", {day: round(value, 2) for day, value in solve(second, days=3).items()})
proof = prove(second, most_days=3)
print(proof)

for name in proof.table.figures:
    score, low, high = proof.table.score(name)
    print(f"{name:18} {score:6.2f}")

# A day, looked at

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
for name, colour in (("no_control", "0.5"), ("best_known", "tab:blue")):
    env = dss_marl.make(second, split="test")
    volts = dss_marl.record(env, name, days=4)["voltages"].values
    axes.fill_between(range(24), volts.min(axis=1), volts.max(axis=1), step="post", alpha=0.4, color=colour, label=name)
    env.close()
for limit in (0.95, 1.05):
    axes.axhline(limit, color="tab:red", linewidth=1)
axes.set(xlabel="hour of the day", ylabel="range of all voltages [pu]", xlim=(0, 23), xticks=range(0, 24, 6), title="my_volt_var, test day 4")
axes.legend()
plt.close(figure)  # else it appears twice
figure

"""9. A task of your own: from a problem statement to a decision process: the code of docs/tutorial/09_own_task.md, written by docs/make_scripts.py."""

# The way of working

from pathlib import Path

import dss_marl

task_file = Path("my_task.yaml")
_ = task_file.write_text("")
try:
    dss_marl.load_scenario(task_file)
except ValueError as error:
    print(error)

_ = task_file.write_text("""
feeder: {name: case33}
devices:
  - {kind: inverter, bus: 18, kw: 600}
zones: {method: balanced, count: 1}
profiles: {kind: synthetic, seed: 1}
observations: [unit_voltage, pv_available, time_of_day]
rewards: {voltage_violation: 100, loss: 2}
""")
env = dss_marl.make(task_file, split="test")
recording = dss_marl.record(env, "no_control", days=4)
for term, value in zip(recording["rewards"].names, recording["rewards"].values.sum(axis=0), strict=True):
    print(f"{term}: {value:.2f} over the day")
env.close()

try:
    dss_marl.make(task_file, obervations=["unit_voltage"])
except ValueError as error:
    print(str(error)[:120], "...")
try:
    dss_marl.make(task_file, devices=[{"kind": "inverter", "bus": "99", "kw": 600}])
except ValueError as error:
    print(str(error)[:160], "...")

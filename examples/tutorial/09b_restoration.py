"""9b. Restoration after a fault, from an empty file: the code of docs/tutorial/09b_restoration.md, written by docs/make_scripts.py."""

# The circuit

from pathlib import Path

_ = Path("village.dss").write_text("""
Clear
New Circuit.village bus1=head basekv=12.47 pu=1.02 MVAsc3=200 MVAsc1=200
New Linecode.overhead nphases=3 units=km r1=0.30 x1=0.40 r0=0.60 x0=1.20 c1=0 c0=0 normamps=300

New Line.station bus1=head bus2=s  linecode=overhead length=0.5 units=km
New Line.breaker bus1=s    bus2=a1 switch=yes
New Line.a       bus1=a1   bus2=a2 linecode=overhead length=2 units=km
New Line.ab      bus1=a2   bus2=b1 switch=yes
New Line.b       bus1=b1   bus2=b2 linecode=overhead length=2 units=km
New Line.bc      bus1=b2   bus2=c1 switch=yes
New Line.c       bus1=c1   bus2=c2 linecode=overhead length=2 units=km
New Line.cd      bus1=c2   bus2=d1 switch=yes
New Line.d       bus1=d1   bus2=d2 linecode=overhead length=2 units=km
New Line.be      bus1=b2   bus2=e1 switch=yes
New Line.e       bus1=e1   bus2=e2 linecode=overhead length=2 units=km

New Load.a_homes  bus1=a2 kv=12.47 kw=500 kvar=150
New Load.b_homes  bus1=b2 kv=12.47 kw=350 kvar=100
New Load.b_clinic bus1=b2 kv=12.47 kw=150 kvar=50
New Load.c_homes  bus1=c2 kv=12.47 kw=450 kvar=150
New Load.c_water  bus1=c2 kv=12.47 kw=100 kvar=40
New Load.d_homes  bus1=d2 kv=12.47 kw=500 kvar=150
New Load.e_homes  bus1=e2 kv=12.47 kw=300 kvar=100
New Load.e_school bus1=e2 kv=12.47 kw=150 kvar=50
Set VoltageBases=[12.47]
CalcVoltageBases
""")

# First try: a tie that can do everything

_ = Path("first_restoration.yaml").write_text("""
feeder: {name: village.dss}          # beside this file
devices:
  - {kind: switch, names: [breaker, ab, bc, cd, be]}
  - {kind: feeder_tie, bus: d2, kva: 5000}
faults: [a, b, c]                    # one of these lines, drawn at each reset
zones: {method: mapping, zones: {west: [head, s, a1, a2, b1, b2, e1, e2], east: [c1, c2, d1, d2]}}
actions: multidiscrete               # open, hold, close
steps: 12                            # three hours
start_hour: 17
profiles: {kind: synthetic, seed: 5, load_scale: [0.7, 1.0]}
observations: [zone_power, energised_share, switch_closed, identity]
rewards: {unserved: 10}              # MWh; 1 = 100 $
""")

import numpy as np

import dss_marl
from dss_marl.controllers import NoControl, reference
from dss_marl.experiments import evaluate

DAYS = [4, 121, 310]  # test days; the day is also the seed that draws the fault


class CloseTheTie:
    """Always the same request: the tie closes, all else holds."""

    circuit_controls = False

    def reset(self, env):
        """Nothing to prepare."""

    def act(self, env, observations):
        action = env.task.default_action.copy()
        kinds = [type(group).__name__ for group in env.task.device_groups]
        entries = dict(zip(kinds, env.task.agents.action_layout.by_group(action), strict=True))  # views
        entries["FeederTies"][:] = 1.0
        return env.task.encoding.encode(action)


def compared(scenario, controllers, days=DAYS):
    """Prints the return of each controller on each day."""
    for name, controller in controllers.items():
        returns = [figures["team_return"] for figures in evaluate(controller, scenario, days)]
        print(f"{name:22}", "  ".join(f"{value:7.2f}" for value in returns), f"   mean {np.mean(returns):7.2f}")


first = dss_marl.load_scenario("first_restoration.yaml")
compared(first, {"no_control": NoControl(), "nearest_tie": reference("nearest_tie", first),
                 "greedy": reference("greedy", first), "always close the tie": CloseTheTie()})

# Second try: scarcity

text = """
base: first_restoration.yaml
feeder: {load_v_pu: [0.6, 1.2]}      # loads keep their power down to 0.6 pu: no relief from low voltage
devices:
  - {kind: switch, names: [breaker, ab, bc, cd, be]}
  - {kind: feeder_tie, bus: d2, kva: 1000}
  - {kind: generator, bus: e2, kw: 400, forming: true}     # can hold an island alone
  - {kind: load_shedder}                                   # one for each section
faults: [a, b]                       # with c only d is dark, and the tie carries that: nothing to decide
priorities:
  critical: {weight: 10, share: 0, loads: [b_clinic, c_water]}
  important: {weight: 3, share: 0, loads: [e_school]}
cold_load: {factor: 2.0, before_h: 1.0}                    # twice the usual power after an hour in the dark
observations: [zone_power, load, energised_share, switch_closed, telemetry, last_action, time_of_day, identity]
messages: {hops: all, share: [zone_power, energised_share]}
rewards:                             # 1 = 100 $
  unserved: 10                       # MWh, times priority
  generation: 2                      # MWh from diesel and tie, at 0.20 $/kWh
  switch_moves: 0.02                 # 2 $ an operation
costs: [unserved_kwh, operations]
"""
_ = Path("second_restoration.yaml").write_text(text)
second = dss_marl.load_scenario("second_restoration.yaml")


class Staged:
    """Sheds normal loads in dark sections, closes the tie, starts the diesel, and picks sections up later.

    Args:
        pick_up: section to the step from which its normal loads are served; the others stay shed.
    """

    circuit_controls = False

    def __init__(self, **pick_up):
        self.pick_up = pick_up

    def reset(self, env):
        alive = dict(zip(env.task.feeder.nodes, env.now.solution.energised, strict=True))
        kinds = [type(group).__name__ for group in env.task.device_groups]
        self.shedders = env.task.device_groups[kinds.index("LoadShedders")]
        self.kinds, self.dark = kinds, [not alive[f"{bus}.1"] for bus in self.shedders.buses]

    def act(self, env, observations):
        action = env.task.default_action.copy()
        entries = dict(zip(self.kinds, env.task.agents.action_layout.by_group(action), strict=True))
        entries["FeederTies"][:] = 1.0
        entries["Generators"][:, 0] = 1.0
        for row, (name, dark) in enumerate(zip(self.shedders.names, self.dark, strict=True)):
            waiting = dark and env.now.step < self.pick_up.get(name, env.task.scenario.steps)
            entries["LoadShedders"][row] = 0.0 if waiting else -1.0  # 0 sheds the normal loads, -1 serves all
        return env.task.encoding.encode(action)


compared(second, {"no_control": NoControl(), "nearest_tie": reference("nearest_tie", second),
                  "always close the tie": CloseTheTie(), "all at once": Staged(section_d1=0, section_c1=0),
                  "d at once, c never": Staged(section_d1=0),
                  "d at once, c after 1 h": Staged(section_d1=0, section_c1=4)})

# Third try: when, not only what

_ = Path("my_restoration.yaml").write_text(text.replace("kva: 1000", "kva: 1300"))
third = dss_marl.load_scenario("my_restoration.yaml")
waits = {f"c after {15 * wait} min": Staged(section_d1=0, section_c1=wait) for wait in (1, 2, 3, 5, 6)}
compared(third, {"no_control": NoControl(), "greedy": reference("greedy", third), **waits,
                 "c never": Staged(section_d1=0)})

best = [max(evaluate(Staged(section_d1=0, section_c1=wait), third, [day])[0]["team_return"] for wait in range(1, 12))
        for day in DAYS]
print("best wait in hindsight, by day:", np.round(best, 2), "mean", round(float(np.mean(best)), 2))

# A day, looked at

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
hours = 17 + 0.25 * np.arange(12)
for label, controller in (("c after 30 min: trips", Staged(section_d1=0, section_c1=2)),
                          ("c after 45 min", Staged(section_d1=0, section_c1=3)), ("c never", Staged(section_d1=0))):
    env = dss_marl.make(third, split="test")
    day = dss_marl.record(env, controller, days=310)
    served_kw = -day["kw_served"].values[:, [k for k, c in enumerate(day["kw_served"].columns) if c.kind == "load"]].sum(axis=1)
    axes.step(hours, served_kw, where="post", label=label)
    env.close()
axes.set(xlabel="hour of the day", ylabel="load served [kW]", title="my_restoration, test day 310", xticks=range(17, 21))
axes.legend()
plt.close(figure)
figure

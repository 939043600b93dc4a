"""2. Power systems for RL people, RL for power engineers: the code of docs/tutorial/02_power_and_learning.md, written by docs/make_scripts.py."""

# For RL people: a feeder in eight experiments

import numpy as np

import dss_marl

task = dss_marl.build_task(dss_marl.load_scenario("ieee13_volt_var"))
feeder, engine = task.feeder, dss_marl.open_engine(task.feeder)
print(feeder)

setpoints = task.start.copy()  # kw, kvar, taps, switches; loads nominal, units at 0


def show(title, setpoints):
    """Solve, and print the voltages at the feeder's head and end, phase by phase."""
    solution = engine.solve(setpoints)
    for bus in ("rg60", "675"):
        volts = [
            solution.v_pu[feeder.node_index[f"{bus}.{phase}"]] for phase in (1, 2, 3)
        ]
        title += f"  {bus} " + " ".join(f"{v:.3f}" for v in volts)
    print(f"{title}  loss {solution.loss_kw:3.0f}, import {solution.source_kw:4.0f} kW")


show("nominal load ", setpoints)

# 1. Less load, less drop

light = setpoints.copy()
light.kw = 0.3 * setpoints.kw  # of loads negative: + is into the grid
light.kvar = 0.3 * setpoints.kvar
show("nominal load    ", setpoints)
show("30 % of the load", light)

# 2. PV raises the voltage

inverter = [row.name for row in feeder.injections].index("generator.inverter_675")
sunny = light.copy()
sunny.kw[inverter] = 1500
show("30 % of the load", light)
show("and 1500 kW PV  ", sunny)

import networkx as nx

graph = feeder.graph()
path = nx.shortest_path(graph, "rg60", "675")
sections = [graph.edges[ends] for ends in zip(path, path[1:])]
r_ohm = sum(edge["r_ohm"] for edge in sections)
x_ohm = sum(edge["x_ohm"] for edge in sections)
kv = feeder.bus("675").kv_base * 3**0.5  # line to line
print(f"R = {r_ohm:.2f} ohm, X = {x_ohm:.2f} ohm over {len(sections)} sections")
print(f"1.5 MW raise the voltage by about {r_ohm * 1.5 / kv**2:.3f} pu, by hand")

# 3. Reactive power moves it too

for kvar in (-600, 600):
    changed = sunny.copy()
    changed.kvar[inverter] = kvar
    show(f"{kvar:+d} kvar at 675", changed)
print(f"600 kvar should move it by about {x_ohm * 0.6 / kv**2:.3f} pu")

# 4. How much Q an inverter has: q = a min(√(S² − P²), 0.44 S)

for rating_kva in (1800, 1550):  # by default 1.2 times the peak power of 1500 kW; and a smaller inverter
    for kw in (0, 1500):
        kvar = -min(np.sqrt(rating_kva**2 - kw**2), 0.44 * rating_kva)
        print(f"S = {rating_kva} kVA, P = {kw:4d} kW: a = -1 gives {kvar:5.0f} kvar, a = -0.5 half of it")

# 5. A regulator's tap

tapped = setpoints.copy()
tapped.tap[:] = 0
show(f"taps {setpoints.tap}  ", setpoints)
show(f"taps {tapped.tap}  ", tapped)
tapped.tap[:] = [16, 0, 0]
show(f"taps {tapped.tap}", tapped)

# 6. A capacitor bank

for row in feeder.switches:
    print(row.name, row.kind, f"{row.kvar:.0f} kvar")
without = setpoints.copy()
without.closed[[row.kind == "capacitor" for row in feeder.switches]] = False
show("banks closed", setpoints)
show("banks open  ", without)

# 7. The controls that the circuit brings

settled = engine.solve(tapped, controls=True)
print("taps", tapped.tap, "->", settled.tap)

# 8. Switches, and voltages of 0

opened = setpoints.copy()
opened.closed[[row.kind == "switch" for row in feeder.switches]] = False
dark = engine.solve(opened)
print("de-energised:", [feeder.nodes[n] for n in np.flatnonzero(~dark.energised)])

for zone in task.zones:
    scored, nodes = len(zone.scored_nodes), len(zone.nodes)
    print(f"{zone.name}: {len(zone.buses)} buses, {scored} of {nodes} nodes scored")
engine.close()

# For power engineers: learning in one table

env = dss_marl.make("ieee13_volt_var", split="test")
env.reset(seed=0, options={"day": 139})
for _ in range(48):  # until noon, without control
    env.step({agent: np.zeros(7, np.float32) for agent in env.agents})
row = env.task.feeder.node_index["675.1"]
for share in (-0.5, 0.0, 0.5):
    actions = {agent: np.zeros(7, np.float32) for agent in env.agents}
    actions["zone_3"][0] = share  # inverter_675: share of available reactive power
    state = env.what_if(actions)  # solved, but not played
    kw, kvar = state.setpoints.kw[inverter], state.setpoints.kvar[inverter]
    v_pu = state.solution.v_pu[row]
    print(f"a = {share:4.1f}: {kw:.0f} kW, {kvar:6.0f} kvar, 675.1 at {v_pu:.3f} pu")
env.close()

"""5. Your own feeder: the code of docs/tutorial/05_own_feeder.md, written by docs/make_scripts.py."""

# A circuit

from pathlib import Path

text = """
Clear
New Circuit.village bus1=sub basekv=33 pu=1.02 mvasc3=200
New Transformer.main phases=3 buses=(sub, head) conns=(delta, wye) kvs=(33, 11)
~ kvas=(5000, 5000) xhl=8
New RegControl.main transformer=main winding=2 vreg=106 band=2 ptratio=61.1
New LineCode.overhead nphases=3 r1=0.35 x1=0.33 r0=0.7 x0=1.2 c1=10 c0=4 units=km
~ normamps=300
New LineCode.cable nphases=3 r1=0.32 x1=0.08 r0=0.6 x0=0.2 c1=0 c0=0 units=km
~ normamps=250
"""
for k in range(1, 9):  # a section of the overhead line, its transformer, its street
    before = "head" if k == 1 else f"m{k - 1}"
    text += f"""
New Line.m{k} bus1={before} bus2=m{k} linecode=overhead length=1.2 units=km
New Transformer.t{k} phases=3 buses=(m{k}, s{k}_0) conns=(delta, wye) kvs=(11, 0.4)
~ kvas=(250, 250) xhl=4
"""
    for j in range(1, 5):
        phase = (k + j) % 3 + 1
        text += f"""
New Line.s{k}_{j} bus1=s{k}_{j - 1} bus2=s{k}_{j} linecode=cable length=0.1 units=km
New Load.h{k}_{j} bus1=s{k}_{j}.{phase} phases=1 kv=0.23 kw=18 pf=0.97
"""
text += """
New LoadShape.mill npts=12 interval=2 mult=(.2 .2 .2 .5 1 1 .9 1 .8 .3 .2 .2)
New Load.mill bus1=m5 phases=3 kv=11 kw=400 pf=0.92 daily=mill
New PVSystem.farm   bus1=m8   phases=3 kv=11  kva=2400 pmpp=2000
New PVSystem.school bus1=s3_2 phases=3 kv=0.4 kva=100 pmpp=90
New XYCurve.vv npts=4 xarray=(0.92 0.98 1.02 1.08) yarray=(0.44 0 0 -0.44)
New InvControl.school DERList=(PVSystem.school) mode=VOLTVAR vvc_curve1=vv
New Storage.depot bus1=m4 phases=3 kv=11 kva=220 kwrated=200 kwhrated=400 %stored=50
New Capacitor.bank bus1=m6 phases=3 kv=11 kvar=300
New CapControl.bank element=Line.m6 capacitor=bank type=voltage
~ onsetting=102 offsetting=107 ptratio=61.1
Set VoltageBases=[33 11 0.4]
CalcVoltageBases
Solve mode=daily number=24
"""
master = Path("village") / "Master.dss"
master.parent.mkdir(exist_ok=True)
master.write_text(text)
print(len(text.split()), "words of OpenDSS")

# Read it, and read the report

import dss_marl

feeder = dss_marl.read_feeder(master)
print(dss_marl.feeder_report(feeder))

engine = dss_marl.open_engine(feeder)
for controls in (False, True):
    solution = engine.solve(feeder.setpoints(), controls=controls)
    row = feeder.node_index["s8_4.1"]
    bank = "in" if solution.closed[0] else "out"
    print(f"controls {controls}: tap {solution.tap[0]}, bank {bank}, ", end="")
    print(f"losses {solution.loss_kw:.1f} kW, s8_4.1 at {solution.v_pu[row]:.4f} pu")
engine.close()

# What acts, and what stays

grown = dss_marl.read_feeder(master, ["set %growth=2", "set year=5"])
for one in (feeder, grown):
    print(f"{-one.nominal_kw[one.loads].sum():.0f} kW of load")

# A task on it

rest = {
    "devices": [
        {"kind": "inverter", "names": "circuit"},
        {"kind": "battery", "names": "circuit"},
        {"kind": "regulator", "names": "all", "moves": 2},
        {"kind": "capacitor", "names": "all"},
    ],
    "profiles": {"kind": "synthetic", "seed": 1, "latitude": 50},
    "observations": [
        "zone_voltage",
        "unit_voltage",
        "pv_available",
        "load",
        "time_of_day",
        "tap_position",
        "capacitor_closed",
        "telemetry",
        "identity",
        "has_action",
    ],
    "rewards": {
        "voltage_violation": 100,
        "violating_share": 5,
        "loss": 1,
        "tap_moves": 0.01,
        "capacitor_moves": 0.05,
    },
    "training": {"agent_steps": 200_000, "ignore_padding": True},
}
try:
    dss_marl.make(
        dss_marl.Scenario(
            name="village",
            feeder={"name": str(master)},
            zones={"method": "balanced", "count": 3},
            **rest,
        )
    )
except ValueError as error:
    print("ValueError:", error)

from dss_marl.plots import feeder_figure

scenario = dss_marl.Scenario(
    name="village",
    feeder={"name": str(master)},
    zones={"method": "cut", "branches": ["m3", "m6"]},
    **rest,
)
env = dss_marl.make(scenario, split="test")
for zone in env.task.zones:
    used = [label for label in env.labels(zone.name)["action"] if label != "-"]
    print(f"{zone.name}: {len(zone.buses)} buses", *used, sep="\n    ")
feeder_figure(env.task, title="village")

print(dss_marl.feeder_report(env.task.feeder))

# A day under the circuit's own controls, and one bus as CSV

import csv

recording = dss_marl.record(env, "opendss_controls", days=139)
house = recording["voltages"].at_bus("S8_4")
with open("s8_4.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["hour [h]", *(column.heading for column in house.columns)])
    writer.writerows(zip(recording.hour, *house.values.T.round(5)))
print("\n".join(Path("s8_4.csv").read_text().splitlines()[:4]))

for name in ("no_control", "opendss_controls", "droop"):
    day = dss_marl.record(env, name, days=139).figures[0]
    print(
        f"{name:16s} return {day['team_return']:6.2f}  "
        f"violation {day['violation_node_h']:5.1f} node h  "
        f"losses {day['loss_kwh']:.0f} kWh  "
        f"{day['capacitor_moves'] + day['tap_moves']:.0f} operations"
    )
env.close()

# The file

import yaml

data = {
    "title": "A village with a solar farm",
    "feeder": {"name": "Master.dss"},
    "zones": dict(scenario.zones),
    **rest,
}
Path("village/village.yaml").write_text(
    yaml.safe_dump(data, sort_keys=False, width=100)
)
again = dss_marl.make("village/village.yaml", split="test", steps=4)
again.reset(seed=0)
print(again.possible_agents)
again.close()

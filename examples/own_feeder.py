"""Your own feeder: an environment with any number of zones from any OpenDSS master file."""

import tempfile
from pathlib import Path

import dss_marl

# A placeholder for your file: two line sections with a load at the end of each.
master = Path(tempfile.mkdtemp()) / "Master.dss"
master.write_text(
    """
Clear
New Circuit.street bus1=head basekv=12.47 pu=1.03
New Line.main  bus1=head bus2=middle phases=3 r1=0.3 x1=0.4 length=4 units=km
New Line.spur  bus1=middle bus2=end  phases=3 r1=0.5 x1=0.4 length=6 units=km
New Load.shop  bus1=middle phases=3 kv=12.47 kw=800  kvar=300
New Load.homes bus1=end    phases=3 kv=12.47 kw=1500 kvar=500
Set VoltageBases=[12.47]
CalcVoltageBases
"""
)

scenario = dss_marl.load_scenario("ieee34_volt_var").replace(
    name="street",
    feeder={"name": str(master), "source_pu": 1.03},
    devices=[{"kind": "inverter", "bus": "middle", "kw": 1000}, {"kind": "inverter", "bus": "end", "kw": 2500}],
    zones={"method": "balanced", "count": 2},
    rewards={"voltage_violation": 100, "violating_share": 5, "loss": 1},
)
env = dss_marl.make(scenario)
env.reset(seed=0)
for zone in env.task.zones:
    print(zone.name, zone.buses)
observations, rewards, *_ = env.step({agent: env.action_space(agent).sample() for agent in env.agents})
print(rewards)
env.close()

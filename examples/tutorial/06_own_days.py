"""6. Your own days: the code of docs/tutorial/06_own_days.md, written by docs/make_scripts.py."""

# What a day is

import dss_marl

env = dss_marl.make("ieee13_volt_var")
profiles = env.task.profiles
day = profiles.day(17)
print(day.kw.shape, "intervals (and one more, of the next day), injections")
noon_kw = -day.kw[48, env.task.feeder.loads].sum()
print(f"load at noon {noon_kw:.0f} kW, {day.temperature_c[48]:.1f} degrees C")
print(
    {
        split: len(profiles.days(split))
        for split in ("train", "validation", "test", "sunny_low_load")
    }
)

from dss_marl.plots import days_figure
from dss_marl.profiles import day_statistics

days_figure(
    day_statistics(profiles, [10, 190, 100, 280]),
    "ieee13_volt_var: four days, and statistics over them",
)

# A table of your own

from pathlib import Path

import numpy as np

loads = [env.task.feeder.injections[j] for j in env.task.feeder.loads]
env.close()
rng = np.random.default_rng(0)
steps = np.arange(21 * 96)
times = np.datetime64("2026-05-04T00:00") + np.timedelta64(15, "m") * steps
hour = steps * 0.25 % 24
morning, evening = np.exp(-((hour - 8) ** 2) / 8), np.exp(-((hour - 19) ** 2) / 6)
shape = 0.35 + 0.15 * morning + 0.45 * evening
noise = rng.lognormal(0, 0.15, (len(steps), len(loads)))
kw = np.array([-load.kw for load in loads]) * shape[:, None] * noise
arc = np.clip(np.cos((hour - 12.5) / 24 * 2 * np.pi), 0, None) ** 1.5
pv_kw = (
    2000 * arc * rng.uniform(0.3, 1, 21).repeat(96)
)  # clouds: one factor for each day

names = [load.name.split(".")[1] for load in loads]
lines = [",".join(["time", *names, "inverter_675", "price"])]
for t in steps:
    if not 38 <= t - 6 * 96 < 42:  # an hour without data
        row = ",".join(f"{x:.2f}" for x in kw[t])
        lines.append(f"{times[t]},{row},{pv_kw[t]:.1f},0.12")
Path("meters.csv").write_text("\n".join(lines))
print("\n".join(line[:76] + " ..." for line in lines[:3]))

measured = {
    "kind": "csv",
    "path": "meters.csv",
    "unit": "kW",
    "weather": {"seed": 1, "latitude": 50},
}
try:
    dss_marl.make("ieee13_volt_var", profiles=measured)
except ValueError as error:
    print("ValueError:", error)

measured["fill_h"] = 1.0
env = dss_marl.make("ieee13_volt_var", profiles=measured, split="test")
profiles = env.task.profiles
print(profiles.calendar.text(profiles.days_in_all))
print({split: profiles.days(split) for split in ("train", "validation", "test")})

# Which days for what

env.close()
measured["splits"] = {
    "train": range(14),
    "validation": range(14, 17),
    "test": range(17, 21),
}
env = dss_marl.make("ieee13_volt_var", profiles=measured, split="test")
print(env.days)
for name in ("no_control", "droop"):
    days = dss_marl.record(env, name, days=env.days).figures
    print(f"{name:12s}", [round(day["team_return"], 2) for day in days])

found = day_statistics(env.task.profiles, env.days)
for figure in (
    "peak load",
    "peak load over nominal",
    "load factor",
    "coincidence factor",
    "PV capacity factor",
):
    value, unit = found.figures()[figure]
    print(f"{figure:24s} {value:8.3f} {unit}")
days_figure(found, "meters.csv: the test days")

# Forecasts

env.close()
ahead = dss_marl.make(
    "ieee13_volt_var",
    profiles=measured,
    split="test",
    horizon=8,
    observations=["pv_forecast", "load_forecast", "identity"],
)
observations, _ = ahead.reset(seed=0, options={"day": 18})
for label, value in list(
    zip(ahead.labels("zone_3")["observation"], observations["zone_3"])
)[8:16]:
    print(f"{value:6.3f}  {label}")
forecast = ahead.task.profiles.forecast(18, 8)
true = ahead.task.profiles.day(18, 8).kw
loads = ahead.task.feeder.loads
print(
    "forecast over truth, whole feeder:",
    np.round(forecast.kw(30)[:, loads].sum(1) / true[30:38, loads].sum(1), 3),
)
ahead.close()

# The circuit's LoadShapes

import warnings

Path("shaped.dss").write_text("""
clear
new circuit.shaped basekv=12.47 pu=1.03 bus1=a
new line.ab bus1=a bus2=b r1=0.3 x1=0.4 length=4 units=km
new loadshape.house npts=12 interval=2 mult=(.4 .4 .4 .7 .6 .5 .6 .5 .7 1 .9 .5)
new loadshape.works npts=12 interval=2 mult=(.2 .2 .2 .6 1 1 .8 1 .8 .3 .2 .2)
new load.homes bus1=b kv=12.47 kw=900 kvar=300 daily=house
new load.works bus1=b kv=12.47 kw=600 kvar=300 daily=works
set voltagebases=[12.47]
calcvoltagebases
""")
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    shaped = dss_marl.make(
        "ieee13_volt_var",
        name="shaped",
        feeder={"name": "shaped.dss"},
        devices=[{"kind": "inverter", "bus": "b", "kw": 1500}],
        zones={"method": "balanced", "count": 1},
        profiles={
            "kind": "loadshapes",
            "begins": "2026-06-20",
            "weather": {"seed": 1, "latitude": 50},
        },
        observations=["zone_voltage", "load"],
        rewards={"voltage_violation": 100, "loss": 1},
    )
print("Warning:", told[0].message)
day = shaped.task.profiles.day(0)
print("load at noon and at 19:00:", -day.kw[[48, 76]][:, shaped.task.feeder.loads])
shaped.close()

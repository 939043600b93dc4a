"""12. Evaluating honestly: the code of docs/tutorial/12_evaluating.md, written by docs/make_scripts.py."""

# Splits, and why there are three

from pathlib import Path

import numpy as np

import dss_marl
from dss_marl.controllers import reference
from dss_marl.experiments import evaluate_all

_ = Path("my_volt_var.yaml").write_text("""
feeder: {name: case69}
devices:
  - {kind: inverter, bus: 27, kw: 1000}
  - {kind: inverter, bus: 50, kw: 1500}
  - {kind: inverter, bus: 65, kw: 2500}
zones: {method: balanced, count: 3}
profiles: {kind: synthetic, seed: 69, load_scale: [0.6, 1.0]}
steps: 24
dt_h: 1.0
observations: [zone_voltage, unit_voltage, pv_available, load, time_of_day, identity]
rewards: {voltage_violation: 400, violating_share: 20, loss: 8}
costs: [voltage_violation_sum]
reference_controller: linear       # scores 1; a plan with full foresight (best_known) would need `dss-marl solve`
""")
scenario = dss_marl.load_scenario("my_volt_var.yaml")
profiles = dss_marl.build_task(scenario).profiles
print({split: len(profiles.days(split)) for split in ("train", "validation", "test", "more_pv")})

# The same days for everyone

names = ["no_control", "droop", "linear"]
table = evaluate_all({name: reference(name, scenario) for name in names}, scenario, "test")
returns = {name: table.column(name, "team_return") for name in names}
for name in names:
    print(f"{name:11} mean {returns[name].mean():7.2f}, standard deviation over days {returns[name].std():6.2f}")

from dss_marl.experiments import mean_interval

few = np.arange(2, 41, 5)
for name in names:
    mean, low, high = mean_interval(returns[name][few])
    print(f"{name:11} {mean:7.2f} ({low:.2f} to {high:.2f})")

gain = returns["droop"] - returns["no_control"]
print("droop minus no control, day by day: %.2f (%.2f to %.2f)" % mean_interval(gain[few]))
print("and on all test days: %.2f (%.2f to %.2f)" % mean_interval(gain), f"better on {int((gain > 0).sum())} of {len(gain)} days")

# The score

for name in names:
    print("%-11s %.2f (%.2f to %.2f)" % (name, *table.score(name)))

# Several figures, since one hides

from IPython.display import Markdown

shown = ("controllable_rate", "violation_node_h", "worst_pu", "loss_kwh")
rows = ["| controller | " + " | ".join(shown) + " |", "| --- " * (len(shown) + 1) + "|"]
rows += [f"| {name} | " + " | ".join(f"{table.column(name, figure).mean():.3g}" for figure in shown) + " |" for name in names]
Markdown("\n".join(rows))

# Seeds: the interquartile mean

from scipy.stats import bootstrap, trim_mean

seeds = np.array([-3.68, -3.48, -3.93, -4.02, -3.73])
tuned_droop = -3.68


def iqm(values, axis=-1):
    """Mean of the middle half: robust to one odd run, and less wasteful than the median."""
    return trim_mean(values, 0.25, axis=axis)


interval = bootstrap((seeds,), iqm, method="percentile", n_resamples=5_000, rng=np.random.default_rng(0)).confidence_interval
print(f"interquartile mean {iqm(seeds):.2f}, 95 % interval {interval.low:.2f} to {interval.high:.2f}")
print(f"best seed {seeds.max():.2f}; seeds better than the tuned droop: {int((seeds > tuned_droop).sum())} of {len(seeds)}")

rng = np.random.default_rng(0)
runs = returns["linear"] + rng.normal(0, 0.3, (5, len(gain)))  # stand-ins for five trained policies on the test days


def mean_of_resample():
    """Mean over resampled seeds and, the same for all seeds, resampled days."""
    chosen = rng.integers(0, 5, 5), rng.integers(0, len(gain), len(gain))
    return runs[np.ix_(*chosen)].mean()


drawn = [mean_of_resample() for _ in range(2_000)]
print("over seeds and days: %.2f (%.2f to %.2f)" % (runs.mean(), *np.quantile(drawn, [0.025, 0.975])))

# Out of distribution

stressed = {}
for split in ("test", "more_pv", "cold_evening"):
    one = evaluate_all({name: reference(name, scenario) for name in names}, scenario, split, 12)
    stressed[split] = {name: one.column(name, "team_return").mean() for name in names}
    print(f"{split:13}", "  ".join(f"{name} {value:7.2f}" for name, value in stressed[split].items()))

# A picture that shows all of it

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
order = np.argsort(returns["no_control"])
for name, marker in zip(names, "sov", strict=True):
    axes.plot(np.arange(len(order)), returns[name][order], marker, markersize=4, label=name)
axes.set(xlabel="test days, the hardest without control first", ylabel="team return of the day")
axes.legend()
plt.close(figure)
figure

# The series behind a figure

env = dss_marl.make(scenario, split="test")
day = dss_marl.record(env, "droop", days=table.days[int(order[0])])
volts = day["voltages"]
worst = np.unravel_index(np.argmin(volts.values), volts.values.shape)
print(f"hardest day {table.days[int(order[0])]}: lowest voltage {volts.values[worst]:.3f} pu at node {volts.names[worst[1]]}, hour {worst[0]}")
env.close()

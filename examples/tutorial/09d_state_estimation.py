"""9d. State estimation, from an empty file: the code of docs/tutorial/09d_state_estimation.md, written by docs/make_scripts.py."""

# First try

from pathlib import Path

_ = Path("first_estimate.yaml").write_text("""
feeder: {name: ieee13, load_v_pu: [0.8, 1.2], taps: {reg1: 8, reg2: 5, reg3: 8}}
devices:
  - {kind: estimator, meters: [rg60, 671], nodes: loads, span_pu: 0.08}
zones: {method: balanced, count: 2}
profiles: {kind: synthetic, seed: 13, load_scale: [0.5, 1.0]}
steps: 24
dt_h: 1.0
observations: [meters, zone_power, time_of_day, identity, has_action]
rewards: {estimation_error: 100}     # 1 = 0.01 pu at every estimated node
reference_controller: wls            # a plan with full foresight would replay the truth
""")

import numpy as np

import dss_marl
from dss_marl.controllers import reference
from dss_marl.experiments import evaluate_all, prove

RIVALS = ["no_control", "nearest_meter", "typical_loads", "local_wls", "wls"]


def compared(scenario, controllers, days=4):
    """Prints the mean return, and root mean square and worst error, of estimators on the same test days."""
    table = evaluate_all(controllers, scenario, "test", days)
    for name in controllers:
        rms, worst = (1000 * table.column(name, key).mean() for key in ("estimation_error_pu", "estimation_worst_pu"))
        print(f"{name:16} return {table.column(name, 'team_return').mean():7.2f}, error {rms:5.2f} mpu, worst {worst:5.1f} mpu")


first = dss_marl.load_scenario("first_estimate.yaml")
compared(first, {name: reference(name, first) for name in RIVALS})
print(prove(first, quick=True))

# Mending it

_ = Path("my_costs.py").write_text('''
def off_by_half_a_percent(zone, before, after):
    """Number of the zone's nodes whose estimate is off by more than 0.005 pu."""
    error = after.device_state[zone.estimates] - before.solution.v_pu[zone.estimated]
    return float((abs(error) > 0.005).sum())
''')
_ = Path("my_estimate.yaml").write_text("""
base: first_estimate.yaml
devices:
  - {kind: estimator, meters: [rg60, 671], nodes: loads, span_pu: 0.08}
  - {kind: pv, bus: 675, kw: 900}                   # not metered: it moves voltages unseen
  - {kind: pv, bus: 645, phases: [2], kw: 300}
sensing: {noise_v_pu: 0.002, noise_power: 0.03}     # a class 0.5 voltmeter; 3 % on powers
costs: [estimation_worst, misclassified_nodes, "my_costs:off_by_half_a_percent"]
reward_sharing: zone                                # a zone's estimates do not affect the other's error
training: {gamma: 0.0, log_std_init: -2, ignore_padding: true}
""")
second = dss_marl.load_scenario("my_estimate.yaml")
proof = prove(second, quick=True)
print(proof)


# The rival: regression

class LinearFit:
    """Least squares from an agent's observation to the voltages that it estimates, one map for each agent."""

    circuit_controls = False

    def __init__(self, scenario, days):
        env = dss_marl.make(scenario, split="train")
        layout, group = env.task.agents.action_layout, env.task.device_groups[0]
        day = dss_marl.record(env, "no_control", days=days)
        seen, truth = day["observations"], day["voltages"].values[:, group.nodes]
        self.maps, self.columns = {}, {}
        for agent in env.possible_agents:
            mine = [k for k, column in enumerate(seen.columns) if column.name.startswith(f"{agent}/")]
            x = np.column_stack([seen.values[:, mine], np.ones(len(seen.values))])
            # the recording has no padding; the agent's array has: match the two by label
            labels = env.labels(agent)["observation"]
            self.columns[agent] = [k for k, label in enumerate(labels) if label != "-"]
            self.maps[agent] = np.linalg.lstsq(x, truth, rcond=None)[0]
        self.zone_of = [next(z for z, zone in enumerate(env.task.zones) if bus in zone.buses) for bus in group.buses]
        env.close()

    def reset(self, env):
        """Nothing to prepare."""

    def act(self, env, observations):
        estimates = [np.append(observations[agent][self.columns[agent]], 1.0) @ self.maps[agent] for agent in env.agents]
        own = np.array([estimates[zone][node] for node, zone in enumerate(self.zone_of)])
        return env.task.encoding.encode(env.task.device_groups[0].entries(own))


days = dss_marl.build_task(second).profiles.days("train")[::7]
controllers = {name: reference(name, second) for name in RIVALS} | {"linear fit": LinearFit(second, days)}
compared(second, controllers)

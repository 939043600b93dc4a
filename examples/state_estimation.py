"""State estimation: your own estimator, compared with the nearest meter and weighted least squares on one day."""

import numpy as np

import dss_marl
from dss_marl.controllers import reference
from dss_marl.experiments import run_day


class ZoneMean:
    """Estimates every voltage of a zone by the mean of its meters."""

    circuit_controls = False  # whether the circuit's own regulators act is up to the scenario

    def reset(self, env):
        self.span_pu = env.task.device_groups[0].span_pu[0]  # an action entry of 1 is the estimate 1 + span_pu

    def act(self, env, observations):
        actions = {}
        for agent in env.agents:
            labels = env.labels(agent)["observation"]
            meters = [k for k, label in enumerate(labels) if label.startswith("metered voltage")]
            off_pu = observations[agent][meters].mean() / 20  # the feature is (v_pu - 1) * 20
            actions[agent] = np.full(env.action_space(agent).shape, off_pu / self.span_pu, np.float32)
        return actions


if __name__ == "__main__":
    env = dss_marl.make("ieee123_state_estimation", split="test", start_hour=9, steps=12)
    scenario = env.task.scenario
    estimators = {"zone_mean": ZoneMean()} | {name: reference(name, scenario) for name in ("nearest_meter", "wls")}
    for name, estimator in estimators.items():
        figures = run_day(env, estimator, env.days[0])
        rms, worst = 1000 * figures["estimation_error_pu"], 1000 * figures["estimation_worst_pu"]
        print(f"{name:14} error {rms:5.2f} mpu, worst {worst:5.1f} mpu")
    env.close()

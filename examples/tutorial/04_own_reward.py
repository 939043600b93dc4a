"""4. Your own reward, cost and observation: the code of docs/tutorial/04_own_reward.md, written by docs/make_scripts.py."""

# A reward term

import numpy as np

import dss_marl


def reverse_flow(zone, before, after):
    """Power fed back into the transmission grid, negated, split over zones [MW]."""
    return np.minimum(after.solution.source_kw, 0) / 1000 / zone.count


# A cost

def near_limit(zone, before, after):
    """Cost: number of the zone's scored nodes less than 0.01 pu from a limit, >= 0."""
    v_pu = after.solution.v_alive[
        ..., zone.scored_nodes
    ]  # de-energised nodes count as 1 pu
    return ((v_pu < 0.96) | (v_pu > 1.04)).sum(axis=-1)


# An observation

@dss_marl.feature(
    ["room to the upper limit", "room to the lower limit"], "pu * 20", -5, 5
)
def room(zone, state):
    """(..., 2) distance of the zone's highest and lowest voltage from the limits."""
    v_pu = state.solution.v_alive[..., zone.scored_nodes]
    return 20 * np.stack([1.05 - v_pu.max(axis=-1), v_pu.min(axis=-1) - 0.95], axis=-1)


@dss_marl.feature(["export of the feeder"], "MW", 0, 10)
def export(zone, state):
    """(..., 1) power that the feeder feeds back."""
    return np.maximum(-state.solution.source_kw, 0)[..., None] / 1000


# Put them in

here = __name__  # in a file: "my_terms"
scenario = dss_marl.load_scenario("ieee13_volt_var")
own = scenario.replace(
    name="ieee13_no_export",
    rewards={**scenario.rewards, f"{here}:reverse_flow": 1.0},
    costs=[*scenario.costs, f"{here}:near_limit"],
    observations=[*scenario.observations, f"{here}:room", f"{here}:export"],
)
env = dss_marl.make(own, split="test")
observations, infos = env.reset(seed=0, options={"day": 139})
for label, value in zip(env.labels("zone_3")["observation"], observations["zone_3"]):
    if "room" in label or "export" in label:
        print(f"{value:6.3f}  {label}")

while env.now.hour < 12:
    actions = env.task.encoding.encode(env.task.default_action)
    observations, rewards, *_, infos = env.step(actions)
for key in ("reward/reverse_flow", "cost/near_limit"):
    print(f"{key}: {infos['zone_3'][key]:.3f}")

# Is it right? Three checks

source_mw = env.after.solution.source_kw / 1000
total = sum(info["reward/reverse_flow"] for info in infos.values())
print(f"import {source_mw:.3f} MW, sum of the zones' terms {total:.3f}")

from dataclasses import replace

pair = [env.before, env.after]
solution = replace(
    env.after.solution,
    v_pu=np.stack([state.solution.v_pu for state in pair]),
    energised=np.stack([state.solution.energised for state in pair]),
    source_kw=np.stack([state.solution.source_kw for state in pair]),
)
both = env.after.replace(solution=solution)
zone = env.task.zones[2]
assert np.allclose(
    near_limit(zone, None, both), [near_limit(zone, None, state) for state in pair]
)
assert np.allclose(
    reverse_flow(zone, None, both), [reverse_flow(zone, None, state) for state in pair]
)
for feature in (room, export):
    assert np.allclose(feature(zone, both), [feature(zone, state) for state in pair])
    print(feature.__name__, feature(zone, both).shape)


class Constant:
    """Every inverter entry at one value, all else holds."""

    circuit_controls = False

    def __init__(self, word, value):
        self.word, self.value = word, value

    def reset(self, env):
        """Nothing to prepare."""

    def act(self, env, observations):
        actions = env.task.encoding.encode(env.task.default_action)
        for agent, action in actions.items():
            mine = [self.word in label for label in env.labels(agent)["action"]]
            action[mine] = self.value
        return actions


def sums(env, controllers):
    """Sum of each of our terms over a day, by controller."""
    for name, controller in controllers.items():
        recording = dss_marl.record(env, controller, days=139)
        flow, near = (
            sum(table[name].sum() for name in table.names if name.endswith(term))
            for table, term in (
                (recording["rewards"], "reverse_flow"),
                (recording["costs"], "near_limit"),
            )
        )
        print(f"{name:30s} reverse_flow {flow:7.2f}   near_limit {near:5.0f}")


sums(
    env,
    {
        "no_control": "no_control",
        "draw all reactive power": Constant("reactive", -1.0),
        "feed in a third of it": Constant("reactive", 0.3),
    },
)
env.close()

devices = [
    {**spec, "curtail": True} if spec["kind"] == "inverter" else spec
    for spec in own.devices
]
fixed = own.replace(devices=devices, rewards={**own.rewards, "curtailment": 1.0})
env = dss_marl.make(fixed, split="test")
print([label for label in env.labels("zone_3")["action"] if label != "-"])
sums(
    env,
    {
        "no_control": "no_control",
        "half of the PV": Constant("curtailed", -0.5),
        "none of the PV": Constant("curtailed", -1.0),
    },
)
env.close()

# The scenario as a file

import yaml

print(
    yaml.safe_dump(
        {
            "base": "ieee13_volt_var",
            "title": "Avoid reverse flow on the IEEE 13-bus feeder",
            "rewards": {
                "voltage_violation": 100,
                "violating_share": 5,
                "loss": 1,
                "curtailment": 1,
                "my_terms:reverse_flow": 1,
            },
            "costs": ["voltage_violation_sum", "my_terms:near_limit"],
            "observations": [
                *scenario.observations,
                "my_terms:room",
                "my_terms:export",
            ],
        },
        sort_keys=False,
        width=100,
    )
)
